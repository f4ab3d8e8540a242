import { hours, minutes } from "coatcheck";
import { redisStore } from "coatcheck/redis";
import type { SessionRecord } from "coatcheck/stores";
import { afterAll, describe, expect, it } from "vitest";
import { commandsOf } from "../../../src/stores/redis/commands.ts";
import { createdIn, NOW, newRecord } from "../../../src/testing/conformance/scene.ts";
import { describeWithService } from "../../services/services.ts";
import { drivers } from "./clients.ts";
import { holdBack } from "./hold-back.ts";
import { deleteKeys, newPrefix } from "./keys.ts";

describeWithService("redis", async ({ url }) => {
  const root = newPrefix();
  const [{ single }] = drivers as [(typeof drivers)[0]];
  const { client, end } = await single(url);
  afterAll(async () => {
    await deleteKeys(client, root);
    end();
  });
  const { send } = commandsOf(client);
  let prefixes = 0;
  const newStore = () => {
    const prefix = `${root}${++prefixes}:`;
    const index = async () => Number(await send(`${prefix}expiry`, ["ZCARD", `${prefix}expiry`]));
    return { prefix, index, store: redisStore(client, { prefix }) };
  };

  describe("SC-07: removeExpired", () => {
    it("removes the oldest first, also when activity has changed the order since", async () => {
      const { store } = newStore();
      const records: SessionRecord[] = [];
      // More than one page of the index.
      for (let i = 0; i < 1200; i++) records.push(newRecord({ expiresAt: NOW + i }));
      await Promise.all(records.map((record) => store.create(record)));
      // The first thousand become the last, in the opposite order.
      await Promise.all(records.slice(0, 1000).map(({ id }, i) => store.touch(id, NOW, NOW + 5000 - i)));
      expect(await store.removeExpired(NOW + minutes(1), 201)).toBe(201);
      const left: string[] = [];
      for await (const { id } of store.all()) left.push(id);
      expect(new Set(left)).toEqual(new Set(records.slice(0, 999).map(({ id }) => id)));
    });

    it("leaves sessions alone that live longer than the index says, and corrects it", async () => {
      const { store, index } = newStore();
      const { id } = await createdIn(store, { expiresAt: NOW });
      await store.touch(id, NOW, NOW + hours(1));
      expect(await store.removeExpired(NOW, 9)).toBe(0);
      expect(await index()).toBe(1);
      expect(await store.removeExpired(NOW + hours(1) - 1, 9)).toBe(0);
      expect(await store.removeExpired(NOW + hours(1), 9)).toBe(1);
      expect(await index()).toBe(0);
    });

    it("forgets sessions that are gone", async () => {
      const { prefix, store, index } = newStore();
      const [gone] = [await createdIn(store, { expiresAt: NOW }), await createdIn(store, { expiresAt: NOW + 1 })];
      await send(`${prefix}s:${gone.id}`, ["DEL", `${prefix}s:${gone.id}`]);
      expect(await store.removeExpired(NOW, 9)).toBe(0);
      expect(await index()).toBe(1);
    });

    it("goes through many that live on to find those that do not", async () => {
      const { store } = newStore();
      const records = Array.from({ length: 1500 }, () => newRecord({ expiresAt: NOW - 1 }));
      await Promise.all(records.map((record) => store.create(record)));
      await Promise.all(records.map(({ id }) => store.touch(id, NOW, NOW + 1)));
      const { id } = await createdIn(store, { expiresAt: NOW });
      expect(await store.removeExpired(NOW, 1)).toBe(1);
      expect(await store.read(id)).toBeUndefined();
    });

    it("leaves alone what is touched while it is at work", async () => {
      const { prefix, store } = newStore();
      const { id } = await createdIn(store, { expiresAt: NOW });
      const { slow, reached, release } = holdBack(commandsOf(client), prefix, `${prefix}s:${id}`, "EVALSHA");
      const removing = slow.removeExpired(NOW, 9);
      await reached;
      expect(await store.touch(id, NOW, NOW + 1)).toBe(true);
      release();
      expect(await removing).toBe(0);
      expect((await store.read(id))?.expiresAt).toBe(NOW + 1);
      expect(await store.removeExpired(NOW + 1, 9)).toBe(1);
    });

    it("shares the work when several processes do it at once", async () => {
      const { prefix, store } = newStore();
      await Promise.all(Array.from({ length: 300 }, () => createdIn(store, { expiresAt: NOW })));
      const stores = [1, 2, 3, 4].map(() => redisStore(client, { prefix }));
      const removed = await Promise.all(stores.map((one) => one.removeExpired(NOW, 75)));
      expect(removed).toEqual([75, 75, 75, 75]);
      expect(await store.removeExpired(NOW, 9)).toBe(0);
    });
  });
});
