import { hours, minutes } from "coatcheck";
import { redisStore } from "coatcheck/redis";
import type { SessionRecord } from "coatcheck/stores";
import { createClient, createClientPool, RESP_TYPES } from "redis";
import { afterAll, describe, expect, it, onTestFinished } from "vitest";
import { commandsOf, type RedisClient } from "../../../src/stores/redis/commands.ts";
import { createdIn, NOW, newRecord } from "../../../src/testing/conformance/scene.ts";
import { describeWithService } from "../../services/services.ts";
import { drivers } from "./clients.ts";
import { deleteKeys, keysOf, newPrefix } from "./keys.ts";

describeWithService("redis", async ({ url }) => {
  const root = newPrefix();
  const [{ single }] = drivers as [(typeof drivers)[0]];
  const { client, end } = await single(url);
  afterAll(async () => {
    await deleteKeys(client, root);
    end();
  });
  const { send } = commandsOf(client);
  const ask = (...args: string[]) => send(args[1] ?? "", args);
  let prefixes = 0;
  const newStore = () => {
    const prefix = `${root}${++prefixes}:`;
    return { prefix, store: redisStore(client, { prefix }) };
  };

  describe("what stands in Redis", () => {
    it("is one hash for a session, with one field for a key of its data", async () => {
      const { prefix, store } = newStore();
      const record = await createdIn(store, { userId: "ada", data: new Map([["theme", '"dark"']]) });
      expect(await keysOf(client, prefix)).toEqual([
        `${prefix}expiry`,
        `${prefix}s:${record.id}`,
        expect.stringMatching(new RegExp(`^${prefix}u:[\\w-]{43}$`)),
      ]);
      expect(await ask("HGET", `${prefix}s:${record.id}`, "d:theme")).toBe('"dark"');
      expect(await ask("HGET", `${prefix}s:${record.id}`, "u")).toBe("ada");
    });

    it("is gone when all sessions are, but for what the server removes by itself", async () => {
      const { prefix, store } = newStore();
      const ids = await Promise.all(
        [1, 2, 3].map(async () => (await createdIn(store, { userId: "ada", expiresAt: NOW })).id),
      );
      await store.remove(ids[0] as SessionRecord["id"]);
      expect(await store.removeExpired(NOW, 1)).toBe(1);
      expect(await store.removeByUser("ada")).toBe(1);
      await store.close?.();
      expect(await keysOf(client, prefix)).toEqual([]);
    });

    it("keeps any text whatever, also what UTF-8 cannot write", async () => {
      const { store } = newStore();
      const texts = ["", "\0", "\0\ud800", "\ud800", "\udc00", "\ud83d\ude00", "__proto__", "d:", "v", '"', "\\ud800"];
      const data = new Map(texts.map((text) => [text, JSON.stringify(text)]));
      const raw = new Map(texts.map((text) => [text, text]));
      for (const record of [newRecord({ data }), newRecord({ data: raw, userId: "\ud800" })]) {
        await store.create(record);
        expect(await store.read(record.id)).toEqual(record);
        await store.update(record.id, 1, { unset: texts, set: new Map([["\udfff", "\ud800"]]) });
        expect((await store.read(record.id))?.data).toEqual(new Map([["\udfff", "\ud800"]]));
      }
      expect(await store.listByUser("\ud801")).toEqual([]);
      expect(await store.listByUser("\ufffd")).toEqual([]);
      expect(await store.listByUser("\ud800")).toHaveLength(1);
    });

    it("may have more keys than a script has room for on its stack", async () => {
      const { store } = newStore();
      const many = (value: string) => new Map(Array.from({ length: 9000 }, (_, i) => [`key-${i}`, value]));
      const { id } = await createdIn(store, { data: many("1") });
      expect(await store.update(id, 1, { set: many("2") })).toBe("updated");
      expect((await store.read(id))?.data).toEqual(many("2"));
      expect(await store.update(id, 2, { unset: [...many("").keys()] })).toBe("updated");
      expect((await store.read(id))?.data.size).toBe(0);
    });
  });

  describe("the server's time to live", () => {
    const lifeOf = async (prefix: string, id: string) => Number(await ask("PTTL", `${prefix}s:${id}`));

    it.each([
      ["2020", Date.UTC(2020, 0, 1)],
      ["2100", NOW],
    ])("is later than the session's, also when the application's clock says %s", async (_, now) => {
      const { prefix, store } = newStore();
      const times = { createdAt: now, seenAt: now, expiresAt: now + minutes(30), meta: { secretAt: now } };
      const { id } = await createdIn(store, times);
      const isAbout = (life: number) => {
        expect(life).toBeGreaterThan(minutes(30));
        expect(life).toBeLessThanOrEqual(minutes(30) + hours(1));
      };
      isAbout(await lifeOf(prefix, id));
      await ask("PEXPIRE", `${prefix}s:${id}`, "100000");
      await store.touch(id, now + minutes(10), now + minutes(40));
      isAbout(await lifeOf(prefix, id));
      await ask("PEXPIRE", `${prefix}s:${id}`, "100000");
      await store.update(id, 1, { seenAt: now + minutes(20), expiresAt: now + minutes(50) });
      isAbout(await lifeOf(prefix, id));
      await store.update(id, 2, { expiresAt: now + hours(10) });
      expect(await lifeOf(prefix, id)).toBeGreaterThan(hours(9));
    });

    it("leaves time for removeExpired even when the session has expired already", async () => {
      const { prefix, store } = newStore();
      const { id } = await createdIn(store, { expiresAt: NOW - hours(5) });
      expect(await lifeOf(prefix, id)).toBeGreaterThan(minutes(59));
    });

    it("is not shortened by a touch that comes out of order", async () => {
      const { prefix, store } = newStore();
      const { id } = await createdIn(store, { seenAt: NOW, expiresAt: NOW + hours(3) });
      await store.touch(id, NOW - hours(1), NOW - minutes(1));
      expect(await lifeOf(prefix, id)).toBeGreaterThan(hours(3));
    });
  });

  describe("scripts", () => {
    it("are sent again when the server has forgotten them", async () => {
      const { store } = newStore();
      const record = newRecord({ userId: "ada" });
      const forget = () => ask("SCRIPT", "FLUSH");
      await forget();
      await store.create(record);
      await forget();
      expect(
        (await store.read(record.id, { holder: "me", now: NOW, until: NOW + 1, secretHash: record.secretHash }))?.lease
          ?.holder,
      ).toBe("me");
      await forget();
      await store.release?.(record.id, "me");
      await forget();
      expect(await store.update(record.id, 1, { set: new Map([["a", "1"]]) })).toBe("updated");
      await forget();
      expect(await store.touch(record.id, NOW + 1, NOW + 2)).toBe(true);
      await forget();
      expect(await store.listByUser("ada")).toHaveLength(1);
      expect(await store.removeExpired(NOW + hours(1), 9)).toBe(1);
      await store.create(record);
      await forget();
      expect(await store.removeByUser("ada")).toBe(1);
    });
  });

  describe("a write that the driver sends twice", () => {
    /** A client that carries every script out twice and gives the second answer, as after a lost first one. */
    const twice = {
      options: {},
      call: async (command: string, args: string[]) => {
        if (command === "EVALSHA") await ask(command, ...args);
        return ask(command, ...args);
      },
    };

    it("counts once", async () => {
      const { prefix, store } = newStore();
      const repeating = redisStore(twice as RedisClient, { prefix });
      const record = newRecord({ userId: "ada" });
      await repeating.create(record);
      expect(await repeating.update(record.id, 1, { set: new Map([["n", "1"]]) })).toBe("updated");
      expect(await store.read(record.id)).toEqual({ ...record, version: 2, data: new Map([["n", "1"]]) });
      await expect(store.create(record)).rejects.toThrow("exists");
      expect(await store.update(record.id, 1, { set: new Map([["n", "2"]]) })).toBe("stale");
    });
  });

  describe("what cannot be understood", () => {
    it.each([
      ["a version that is no number", "v", "x"],
      ["a deadline that is no number", "e", "Infinity"],
      ["meta that is no JSON", "m", "{"],
      ["meta that is no object", "m", "[]"],
      ["an empty secret hash", "h", ""],
      ["a key that is no JSON", "d:\0{", "1"],
      ["a text that is no JSON", "d:a", "\0{"],
    ])("SC-03: %s makes a CorruptRecordError, and the rest goes on", async (_, field, value) => {
      const { prefix, store } = newStore();
      const [broken, sound] = [await createdIn(store, { userId: "ada" }), await createdIn(store, { userId: "ada" })];
      await ask("HSET", `${prefix}s:${broken.id}`, field, value);
      const corrupt = { code: "corrupt_record" };
      await expect(store.read(broken.id)).rejects.toMatchObject(corrupt);
      await expect(
        store.read(broken.id, { holder: "me", now: NOW, until: NOW + 1, secretHash: broken.secretHash }),
      ).rejects.toMatchObject(corrupt);
      expect(await store.listByUser("ada")).toEqual([sound]);
      expect(await store.removeByUser("ada")).toBe(2);
    });

    it("SC-03: neither a missing field nor a key of another type is a session", async () => {
      const { prefix, store } = newStore();
      const [broken, other] = [await createdIn(store), await createdIn(store)];
      await ask("HDEL", `${prefix}s:${broken.id}`, "h");
      await ask("DEL", `${prefix}s:${other.id}`);
      await ask("SET", `${prefix}s:${other.id}`, "text");
      for (const { id } of [broken, other])
        await expect(store.read(id)).rejects.toMatchObject({ code: "corrupt_record" });
      const wish = { holder: "me", now: NOW, until: NOW + 1, secretHash: other.secretHash };
      await expect(store.read(other.id, wish)).rejects.toMatchObject({ code: "corrupt_record" });
      expect(await store.removeAll()).toBe(2);
      expect(await store.read(other.id)).toBeUndefined();
    });
  });

  describe("prefixes", () => {
    const hostile = [
      "*",
      "[a-z]",
      "?",
      "\\",
      "{x}:",
      "{",
      "}",
      "{}",
      "a{b}c{",
      "s:",
      "u:",
      "\n\r\0",
      "😀",
      "^-]",
      "%s",
    ];

    it.each(hostile.map((prefix) => [JSON.stringify(prefix), prefix]))(
      "%s is a prefix like any other",
      async (_, end) => {
        const { prefix, store: neighbour } = newStore();
        const store = redisStore(client, { prefix: prefix + end });
        const theirs = await createdIn(neighbour, { userId: "ada" });
        const record = await createdIn(store, { userId: "ada", expiresAt: NOW });
        const found: string[] = [];
        for await (const { id } of store.all()) found.push(id);
        expect(found).toEqual([record.id]);
        expect(await store.listByUser("ada")).toEqual([record]);
        expect(await store.removeExpired(NOW, 9)).toBe(1);
        await store.create(record);
        expect(await store.removeAll()).toBe(1);
        expect(await neighbour.read(theirs.id)).toEqual(theirs);
      },
    );

    it("keep applications apart that use the same ids and users, even where one prefix begins with the other", async () => {
      const { prefix } = newStore();
      const stores = ["a:", "a:s:", "a:u:", "a:s:s:", ""].map((end) => redisStore(client, { prefix: prefix + end }));
      const record = newRecord({ userId: "ada", expiresAt: NOW });
      for (const store of stores) await store.create(record);
      for (const store of stores) {
        expect(await store.listByUser("ada")).toEqual([record]);
        expect(await store.removeExpired(NOW, 9)).toBe(1);
        expect(await store.read(record.id)).toBeUndefined();
      }
    });

    it("are added to those of the client", async () => {
      const { prefix } = newStore();
      const { Redis } = await import("ioredis");
      const prefixed = new Redis(url, { keyPrefix: prefix });
      onTestFinished(() => prefixed.disconnect());
      const store = redisStore(prefixed, { prefix: "app:" });
      const record = await createdIn(store, { userId: "ada" });
      expect(await keysOf(client, `${prefix}app:`)).toHaveLength(3);
      const found: SessionRecord[] = [];
      for await (const one of store.all()) found.push(one);
      expect(found).toEqual([record]);
      expect(await store.removeAll()).toBe(1);
    });
  });

  describe("clients", () => {
    it("may be a pool", async () => {
      const pool = createClientPool({ url });
      await pool.connect();
      onTestFinished(() => pool.destroy());
      const { prefix } = newStore();
      const store = redisStore(pool, { prefix });
      const records = await Promise.all([1, 2, 3, 4].map(() => createdIn(store, { userId: "ada" })));
      expect(await store.listByUser("ada")).toHaveLength(records.length);
      expect(await store.removeAll()).toBe(records.length);
    });

    it("that answer with bytes are refused, and not taken for a store full of corrupt records", async () => {
      const bytes = createClient({ url }).withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });
      bytes.on("error", () => {});
      await bytes.connect();
      onTestFinished(() => bytes.destroy());
      const { prefix, store } = newStore();
      const { id } = await createdIn(store);
      await expect(redisStore(bytes, { prefix }).read(id)).rejects.toThrow(TypeError);
    });

    it("are told from what is none", () => {
      for (const wrong of [undefined, null, 1, {}, { sendCommand: 1 }, { call: true }, []])
        expect(() => redisStore(wrong as never)).toThrow(TypeError);
      expect(() => redisStore(client, { prefix: 1 as never })).toThrow(TypeError);
      expect(() => redisStore("redis://localhost", { driver: "pg" as never })).toThrow(TypeError);
    });

    it("must not read from replicas, which lag behind", async () => {
      const { Cluster } = await import("ioredis");
      const cluster = new Cluster([url], { lazyConnect: true, scaleReads: "slave" });
      expect(() => redisStore(cluster)).toThrow(/scaleReads/);
      expect(() => redisStore(new Cluster([url], { lazyConnect: true }))).not.toThrow();
    });
  });
});
