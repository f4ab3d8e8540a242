import type { Revocation } from "coatcheck";
import { type RedisDriver, redisStore } from "coatcheck/redis";
import type { RevocationLog, SessionStore } from "coatcheck/stores";
import { afterAll, describe, expect, it, onTestFinished } from "vitest";
import { commandsOf } from "../../../src/stores/redis/commands.ts";
import { startRedis } from "../../services/redis.ts";
import { describeWithService } from "../../services/services.ts";
import { startTcpProxy } from "../../services/tcp-proxy.ts";
import { drivers } from "./clients.ts";
import { deleteKeys, newPrefix } from "./keys.ts";

const everyone = (before: number): Revocation => ({ kind: "everyone", before, until: 9 });

const logOf = (store: SessionStore): RevocationLog => store.revocations as RevocationLog;

/** Watches a log; `next` resolves at the next news. */
function watched(log: RevocationLog) {
  let heard = () => {};
  const next = () =>
    new Promise<void>((resolve) => {
      heard = resolve;
    });
  const first = next();
  const unwatch = log.watch?.(() => heard());
  if (unwatch === undefined) throw new Error("the log tells of no news");
  onTestFinished(() => unwatch());
  return { first, next };
}

describeWithService("redis", async ({ url }) => {
  const prefix = newPrefix();
  const direct = await (drivers[0] as (typeof drivers)[0]).single(url);
  let stores = 0;
  afterAll(async () => {
    await deleteKeys(direct.client, prefix);
    direct.end();
  });

  /** Two stores on the same data: one over a connection that can be spoiled, one beside it. */
  async function two(open: (through: string, prefix: string) => Promise<{ store: SessionStore; end(): unknown }>) {
    const options = { prefix: `${prefix}${++stores}:` };
    const proxy = await startTcpProxy(url, 6379);
    const { store, end } = await open(proxy.url, options.prefix);
    onTestFinished(async () => {
      end();
      await proxy.close();
    });
    return { proxy, log: logOf(store), other: logOf(redisStore(direct.client, options)) };
  }

  const opens: [string, Parameters<typeof two>[0]][] = [
    ...drivers.map(({ name, single }): (typeof opens)[0] => [
      `a client of ${name}`,
      async (through, prefix) => {
        const { client, end } = await single(through);
        return { store: redisStore(client, { prefix }), end };
      },
    ]),
    ...(["redis", "ioredis"] as RedisDriver[]).map((driver): (typeof opens)[0] => [
      `a URL with ${driver}`,
      async (through, prefix) => {
        const store = redisStore(through, { prefix, driver });
        return { store, end: () => store.close?.() };
      },
    ]),
  ];

  it.each(opens)("LO-09: %s tells of news again after its connections were cut", async (_, open) => {
    const { proxy, log, other } = await two(open);
    const { first, next } = watched(log);
    await first;
    const { cursor } = await log.read(undefined);
    const again = next();
    proxy.cut();
    await other.append(everyone(1));
    await again;
    expect((await log.read(cursor).catch(() => log.read(cursor))).entries).toEqual([everyone(1)]);
    const news = next();
    await other.append(everyone(2));
    await news;
    expect((await log.read(undefined)).entries).toEqual([everyone(1), everyone(2)]);
  });

  it("adds an entry also where it may not publish", async () => {
    const own = await startRedis();
    onTestFinished(() => own.stop());
    const { client, end } = await (drivers[0] as (typeof drivers)[0]).single(own.url);
    onTestFinished(end);
    const { send } = commandsOf(client);
    await send("", ["ACL", "SETUSER", "default", "resetchannels"]);
    const log = logOf(redisStore(client));
    await log.append(everyone(1));
    expect((await log.read(undefined)).entries).toEqual([everyone(1)]);
  });

  it("keeps entries without a time to live, which a server that runs out of memory takes first", async () => {
    const { client } = direct;
    const own = `${prefix}ttl:`;
    await logOf(redisStore(client, { prefix: own })).append(everyone(1));
    expect(Number(await commandsOf(client).send("", ["TTL", `${own}revocations`]))).toBe(-1);
  });
});

describe("a client that can open no further connection", () => {
  it("tells of no news, and its log is polled", () => {
    const store = redisStore({ totalClients: 1, sendCommand: async () => "OK" } as never);
    expect(logOf(store).watch).toBeUndefined();
  });
});
