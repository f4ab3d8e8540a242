import { redisStore } from "coatcheck/redis";
import { afterAll, describe, expect, it, onTestFinished } from "vitest";
import type { SessionStore } from "../../../src/stores/store.ts";
import { createdIn, NOW, newRecord } from "../../../src/testing/conformance/scene.ts";
import { askRedis } from "../../services/redis.ts";
import { describeWithService } from "../../services/services.ts";
import { startTcpProxy, type TcpProxy } from "../../services/tcp-proxy.ts";
import { setUp, type VisitSession } from "../../session/support.ts";
import { countRoundTrips } from "../round-trips.ts";
import { drivers } from "./clients.ts";
import { deleteKeys, newPrefix } from "./keys.ts";

describeWithService("redis", ({ url }) => {
  describe.each(drivers)("with $name", (driver) => {
    const prefix = newPrefix();
    afterAll(async () => {
      const { client, end } = await driver.single(url);
      await deleteKeys(client, prefix);
      end();
    });

    countRoundTrips({
      url,
      defaultPort: 6379,
      async open(through) {
        const { client, end } = await driver.single(through);
        const store = redisStore(client, { prefix });
        await serverKnowsTheScripts(store);
        return { store, end: async () => end() };
      },
    });

    it("a request that changes nothing asks for the session and sends nothing else", async () => {
      const proxy = await startTcpProxy(url, 6379);
      const { client, end } = await driver.single(proxy.url);
      onTestFinished(async () => {
        end();
        await proxy.close();
      });
      const store = redisStore(client, { prefix });
      const { id } = await createdIn(store);
      await store.removeExpired(0, 1);
      const sent = proxy.sent.length;
      await store.read(id);
      const key = `${prefix}s:${id}`;
      expect(proxy.sent.slice(sent)).toBe(`*2\r\n$7\r\nHGETALL\r\n$${key.length}\r\n${key}\r\n`);
    });
  });
});

describeWithService("redis-cluster", ({ url }) => {
  describe.each(drivers)("with $name", (driver) => {
    const prefix = newPrefix();
    afterAll(async () => {
      const { client, end } = await driver.cluster(url);
      await deleteKeys(client, prefix);
      end();
    });

    it("one round trip to open, two for a change, three for a login", async () => {
      const proxies = await proxiesBefore(url);
      const { client, end } = await driver.cluster(url, (port) => (proxies.get(port) as TcpProxy).port);
      onTestFinished(async () => {
        end();
        await Promise.all([...proxies.values()].map((proxy) => proxy.close()));
      });
      const store = redisStore(client, { prefix });
      const visitor = setUp({ store }).client();
      const all = () => [...proxies.values()].reduce((sum, proxy) => sum + proxy.roundTrips, 0);
      const trips = async (work: () => Promise<unknown>) => {
        const before = all();
        await work();
        return all() - before;
      };
      // Enough that there are some on every node.
      for (let i = 0; i < 40; i++) await serverKnowsTheScripts(store, `user-${i}`);
      await visitor.request(setN(0), post);
      // Waits for the work on the indexes that the request did not wait for.
      await store.removeExpired(0, 1);
      expect(await trips(() => visitor.request((session) => session.data.n))).toBe(1);
      expect(await trips(() => visitor.request(setN(1), post))).toBe(2);
      expect(await trips(() => visitor.request((session) => session.login("user-1"), post))).toBe(3);
    });
  });
});

const post = { method: "POST" };

const setN = (n: number) => (session: VisitSession) => {
  session.data.n = n;
};

/** Uses every script once. */
async function serverKnowsTheScripts(store: SessionStore, userId = "ada"): Promise<void> {
  const record = newRecord({ userId });
  await store.create(record);
  await store.read(record.id, { holder: "me", now: NOW, until: NOW + 1, secretHash: record.secretHash });
  await store.release?.(record.id, "me");
  await store.update(record.id, 1, { set: new Map([["a", "1"]]) });
  await store.touch(record.id, NOW + 1, NOW + 2);
  await store.remove(record.id);
}

/** A proxy before every node of a cluster, by the node's port. */
async function proxiesBefore(url: string): Promise<Map<number, TcpProxy>> {
  const nodes = await askRedis(url, "CLUSTER", "NODES");
  const ports = [...nodes.matchAll(/:(\d+)@/g)].map(([, port]) => Number(port));
  return new Map(
    await Promise.all(
      ports.map(async (port) => [port, await startTcpProxy(`redis://127.0.0.1:${port}`, 6379)] as const),
    ),
  );
}
