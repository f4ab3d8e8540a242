import { seconds } from "coatcheck";
import { redisStore } from "coatcheck/redis";
import { afterAll, describe, expect, it, onTestFinished } from "vitest";
import type { SessionStore } from "../../../src/stores/store.ts";
import { NOW, newRecord } from "../../../src/testing/conformance/scene.ts";
import { askRedis } from "../../services/redis.ts";
import { describeWithService } from "../../services/services.ts";
import { startTcpProxy, type TcpProxy } from "../../services/tcp-proxy.ts";
import { type Client, setUp, type VisitSession } from "../../session/support.ts";
import { drivers } from "./clients.ts";
import { deleteKeys, newPrefix } from "./keys.ts";

const post = { method: "POST" };

const setN = (n: number) => (session: VisitSession) => {
  session.data.n = n;
};

describeWithService("redis", ({ url }) => {
  describe.each(drivers)("round trips with $name", (driver) => {
    const prefix = newPrefix();
    afterAll(async () => {
      const { client, end } = await driver.single(url);
      await deleteKeys(client, prefix);
      end();
    });

    /** An application whose connection stands and whose scripts Redis knows, and how many round trips something takes. */
    async function counted() {
      const proxy = await startTcpProxy(url, 6379);
      const { client, end } = await driver.single(proxy.url);
      onTestFinished(async () => {
        end();
        await proxy.close();
      });
      const app = setUp({ store: redisStore(client, { prefix }) });
      const trips = async (work: () => Promise<unknown>) => {
        const before = proxy.roundTrips;
        await work();
        return proxy.roundTrips - before;
      };
      const visitor = app.client();
      await visitor.request(setN(0), post);
      await visitor.request((session) => session.login("ada"), post);
      await visitor.request(setN(1), post);
      await app.clock.advance(seconds(61));
      await visitor.request(() => {});
      return { ...app, visitor, proxy, trips };
    }

    it("none for a visitor without a cookie", async () => {
      const { client, trips } = await counted();
      expect(await trips(() => client().request((session) => session.data.n))).toBe(0);
      expect(await trips(() => client().request((session) => session.data.n, post))).toBe(0);
    });

    it("one for a request that changes nothing, and no write within the touch interval", async () => {
      const { visitor, clock, proxy, trips } = await counted();
      await clock.advance(seconds(59));
      const sent = proxy.sent.length;
      expect(await trips(() => visitor.request((session) => session.data.n))).toBe(1);
      expect(proxy.sent.slice(sent)).toMatch(/^\*2\r\n\$7\r\nHGETALL\r\n\$\d+\r\n\S+\r\n$/);
      await clock.advance(seconds(2));
      expect(await trips(() => visitor.request((session) => session.data.n))).toBe(2);
    });

    it("two for a request that changes something, with the lease taken and given back on the way", async () => {
      const { visitor, trips, stored } = await counted();
      const change = () => visitor.request((session) => setN((session.data.n ?? 0) + 1)(session), post);
      expect(await trips(change)).toBe(2);
      expect(await trips(change)).toBe(2);
      const { session } = await visitor.open();
      expect(session.data.n).toBe(3);
      expect((await stored(session.id))?.lease).toBeUndefined();
    });

    it("two or three for a login, of a stored session and of a new one", async () => {
      const { visitor, client, trips } = await counted();
      const login = (who: Client) => trips(() => who.request((session) => session.login("ada"), post));
      for (const count of [await login(visitor), await login(client())]) {
        expect(count).toBeGreaterThanOrEqual(1);
        expect(count).toBeLessThanOrEqual(3);
      }
    });

    it("only the keys that changed travel", async () => {
      const { visitor, proxy } = await counted();
      await visitor.request((session) => {
        session.data.theme = "x".repeat(20_000);
      }, post);
      const sent = proxy.sent.length;
      await visitor.request(setN(7), post);
      expect(proxy.sent.length - sent).toBeLessThan(1000);
    });
  });
});

describeWithService("redis-cluster", ({ url }) => {
  describe.each(drivers)("round trips to a cluster with $name", (driver) => {
    const prefix = newPrefix();
    afterAll(async () => {
      const { client, end } = await driver.cluster(url);
      await deleteKeys(client, prefix);
      end();
    });

    it("one to open, two for a change, three for a login", async () => {
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
      await everyNodeKnowsTheScripts(store);
      await visitor.request(setN(0), post);
      // Waits for the work on the indexes that the request did not wait for.
      await store.removeExpired(0, 1);
      expect(await trips(() => visitor.request((session) => session.data.n))).toBe(1);
      expect(await trips(() => visitor.request(setN(1), post))).toBe(2);
      expect(await trips(() => visitor.request((session) => session.login("user-1"), post))).toBe(3);
    });
  });
});

/** By sessions enough that there are some on every node. */
async function everyNodeKnowsTheScripts(store: SessionStore): Promise<void> {
  for (let i = 0; i < 40; i++) {
    const record = newRecord({ userId: `user-${i}` });
    await store.create(record);
    await store.read(record.id, { holder: "me", now: NOW, until: NOW + 1 });
    await store.release?.(record.id, "me");
    await store.update(record.id, 1, { set: new Map([["a", "1"]]) });
    await store.remove(record.id);
  }
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
