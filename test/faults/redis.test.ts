import { createSessions } from "coatcheck";
import { type RedisClient, redisStore } from "coatcheck/redis";
import type { SessionStore } from "coatcheck/stores";
import { Redis } from "ioredis";
import { createSentinel } from "redis";
import { describe, expect, it, onTestFinished } from "vitest";
import { untilItHolds } from "../services/processes.ts";
import { askRedis, type OwnRedis, startRedis } from "../services/redis.ts";
import { startRedisCluster } from "../services/redis-cluster.ts";
import { startRedisSentinel } from "../services/redis-sentinel.ts";
import { describeWithService } from "../services/services.ts";
import { startTcpProxy } from "../services/tcp-proxy.ts";
import { drivers } from "../stores/redis/clients.ts";
import { type Cart, type Load, startLoad, UNHARMED } from "./load.ts";

/** Everything that Redis has acknowledged is on its disk. */
const durable = ["--appendonly", "yes", "--appendfsync", "always"];

const newest = drivers.filter(({ name }) => name.endsWith("6"));

/** The ways to reach one server. */
const ways = [
  { name: "a URL", connect: async (url: string) => ({ target: url as string | RedisClient, end: () => {} }) },
  ...newest.map(({ name, single }) => ({
    name: `a client of ${name}`,
    async connect(url: string) {
      const { client, end } = await single(url);
      return { target: client as string | RedisClient, end };
    },
  })),
];

/**
 * An application under load. Its store may take `storeTimeout` milliseconds; a turn that nobody gave back, because the
 * store was down, counts for 200.
 */
async function application(store: SessionStore, storeTimeout = 500) {
  const sessions = createSessions<Cart>({ store, storeTimeout, turns: { wait: 200 } });
  onTestFinished(() => sessions.close());
  return startLoad(sessions);
}

async function connected(way: (typeof ways)[number], url: string): Promise<SessionStore> {
  const { target, end } = await way.connect(url);
  onTestFinished(end);
  return redisStore(target);
}

async function ownRedis(settings: readonly string[] = []): Promise<OwnRedis> {
  const server = await startRedis(settings);
  onTestFinished(() => server.stop());
  return server;
}

describeWithService("redis", () => {
  describe.each(ways)("SC-06: through $name", (way) => {
    it("a server that is killed and started again costs no acknowledged write and logs nobody out", async () => {
      const server = await ownRedis(durable);
      const load = await application(await connected(way, server.url));
      for (let round = 0; round < 2; round++) {
        await load.acknowledges(50);
        await server.kill("SIGKILL");
        await load.refuses(4);
        await server.restart();
        await load.acknowledges(50);
      }
      expect(await load.stop()).toEqual(UNHARMED);
    });

    it("connections that break in the middle of an answer cost nothing, and no write counts twice", async () => {
      const server = await ownRedis();
      const proxy = await startTcpProxy(server.url, 6379);
      onTestFinished(() => proxy.close());
      const load = await application(await connected(way, proxy.url));
      for (const bytes of [0, 1, 2, 3, 5, 8, 13, 100, 0, 0]) {
        await load.acknowledges(5);
        proxy.cutNextAnswer(bytes);
      }
      await load.acknowledges(10);
      expect(proxy.connections).toBeGreaterThan(10);
      expect(await load.stop()).toEqual(UNHARMED);
    });

    it("a network that swallows everything makes 503, and it goes on when connections come about again", async () => {
      const server = await ownRedis();
      const proxy = await startTcpProxy(server.url, 6379);
      onTestFinished(() => proxy.close());
      const load = await application(await connected(way, proxy.url));
      await load.acknowledges(50);
      proxy.blackhole();
      await load.refuses(4);
      proxy.restore();
      proxy.cut();
      await load.acknowledges(50);
      expect(await load.stop()).toEqual(UNHARMED);
    });

    it("a slow network is waited for, but not longer than the store may take", async () => {
      const server = await ownRedis();
      const proxy = await startTcpProxy(server.url, 6379);
      onTestFinished(() => proxy.close());
      const load = await application(await connected(way, proxy.url), 200);
      proxy.delay(20);
      await load.acknowledges(40);
      proxy.delay(400);
      await load.refuses(8);
      proxy.restore();
      await load.acknowledges(40);
      expect(await load.stop()).toEqual(UNHARMED);
    });
  });
});

describeWithService("redis", () => {
  const sentinels = { host: "127.0.0.1" };
  it.each([
    {
      name: "ioredis 6",
      open: async (port: number, name: string) => {
        const client = new Redis({ sentinels: [{ ...sentinels, port }], name, lazyConnect: true });
        client.on("error", () => {});
        await client.connect();
        return { store: redisStore(client), end: () => client.disconnect() };
      },
    },
    {
      name: "node-redis 6",
      open: async (port: number, name: string) => {
        const client = createSentinel({ name, sentinelRootNodes: [{ ...sentinels, port }] });
        client.on("error", () => {});
        await client.connect();
        return { store: redisStore(client), end: () => client.destroy() };
      },
    },
  ])(
    "SC-06: Sentinel puts a replica in the place of a primary that dies, and nobody is logged out ($name)",
    async ({ open }) => {
      const servers = await startRedisSentinel(durable);
      onTestFinished(() => servers.stop());
      const { store, end } = await open(servers.port, servers.name);
      onTestFinished(end);
      await outlives(await application(store), [servers.primary]);
    },
    60_000,
  );
});

describeWithService("redis-cluster", () => {
  it.each([
    ...newest.map(({ name, cluster }) => ({
      name: `a client of ${name}`,
      async connect(url: string): Promise<SessionStore> {
        const { client, end } = await cluster(url);
        onTestFinished(end);
        return redisStore(client);
      },
    })),
    { name: "a URL, opened by redis", connect: async (url: string) => redisStore(url, { driver: "redis" }) },
    { name: "a URL, opened by ioredis", connect: async (url: string) => redisStore(url, { driver: "ioredis" }) },
  ])(
    "SC-06: a replica takes the place of a primary that dies, and nobody is logged out ($name)",
    async ({ connect }) => {
      const cluster = await startRedisCluster(durable);
      onTestFinished(() => cluster.stop());
      await outlives(await application(await connect(cluster.url)), cluster.primaries);
    },
    60_000,
  );
});

/** The first of these primaries dies under load and is replaced. */
async function outlives(load: Load, primaries: readonly OwnRedis[]): Promise<void> {
  await load.acknowledges(100);
  // Replication is asynchronous: what is acknowledged in the very moment of the death can be lost.
  const replicated = await load.pause();
  await untilItHolds(() => Promise.all(primaries.map(assertReplicated)), 5000);
  load.resume();
  await primaries[0]?.kill("SIGKILL");
  await load.refuses(4);
  await load.acknowledges(400);
  const { lost, ...report } = await load.stop();
  expect({ ...report, lost: lost.filter((thing) => replicated.has(thing)) }).toEqual(UNHARMED);
}

async function assertReplicated({ url }: OwnRedis): Promise<void> {
  const info = await askRedis(url, "INFO", "replication");
  const [, written] = /master_repl_offset:(\d+)/.exec(info) ?? [];
  const [, replicated] = /slave0:.*offset=(\d+)/.exec(info) ?? [];
  if (written !== replicated) throw new Error("a replica lags behind");
}
