import { randomBytes } from "node:crypto";
import { type MongodbClient, mongodbStore } from "coatcheck/mongodb";
import { openStore } from "coatcheck/stores";
import { storeConformance } from "coatcheck/testing";
import fc from "fast-check";
import { MongoClient } from "mongodb";
import { MongoClient as MongoClient6 } from "mongodb6";
import { afterAll, describe, expect, it, onTestFinished } from "vitest";
import { newRecord } from "../../src/testing/conformance/scene.ts";
import { describeWithService } from "../services/services.ts";
import { countRoundTrips } from "./round-trips.ts";

describe("mongodbStore", () => {
  const client = { db: () => ({}) } as unknown as MongodbClient;

  it("refuses names that mean something to the server", () => {
    for (const name of ["", "$cmd", "system.users", "a$b", "a b", "a\0", ".a", "x".repeat(101), {} as string])
      expect(() => mongodbStore(client, { collection: name })).toThrow(TypeError);
    for (const name of ["", "a.b", "a/b", "$a", "a b", "a\0", "x".repeat(64)])
      expect(() => mongodbStore(client, { database: name })).toThrow(TypeError);
  });

  it("refuses what is neither a URL nor of the driver, without quoting it", async () => {
    for (const source of [undefined, null, {}, 5, "", "mysql://ada:hunter2@db/x", "ada:hunter2"])
      expect(() => mongodbStore(source as string)).toThrow(expect.not.stringContaining("hunter2"));
    for (const source of [
      "mongodb://ada:hunter2@",
      "mongodb://ada:hunter2@h:x/",
      "mongodb://ada:hunter2@h/?w=hunter2&journal=7",
    ])
      await expect(mongodbStore(source).removeAll()).rejects.toThrow(expect.not.stringContaining("hunter2"));
  });
});

describeWithService("mongodb", ({ url }) => {
  const database = `coatcheck_test_${randomBytes(6).toString("hex")}`;
  const client = new MongoClient(url);
  let collections = 0;
  const newCollection = () => ({ database, collection: `sessions_${++collections}` });
  const raw = (name: string) => client.db(database).collection<{ _id: string }>(name);

  afterAll(async () => {
    await client.db(database).dropDatabase();
    await client.close();
  });

  describe.each([
    ["7", MongoClient, {}],
    ["6, with values as they are on the wire", MongoClient6, { promoteValues: false, promoteLongs: false }],
  ])("SC-05: keeps the store contract with driver %s", (_, Client, options) => {
    const one = new Client(url, options);
    const other = new Client(url, { ...options, readPreference: "secondaryPreferred" });
    afterAll(async () => {
      await one.close();
      await other.close();
    });
    const cases = storeConformance({
      createStore() {
        const names = newCollection();
        return {
          store: mongodbStore(one, names),
          reopen: () => mongodbStore(other, names),
          corrupt: (id) => raw(names.collection).updateOne({ _id: id }, { $set: { data: { a: 1 } } }),
        };
      },
    });
    it.each(cases)("$name", ({ run }) => run());
  });

  countRoundTrips({
    url,
    defaultPort: 27_017,
    async open(through) {
      const monitoring = { heartbeatFrequencyMS: 1_000_000, serverMonitoringMode: "poll" } as const;
      const one = new MongoClient(through, { maxPoolSize: 1, ...monitoring });
      const store = mongodbStore(one, { database, collection: "round_trips" });
      await store.migrate();
      return { store, end: () => one.close() };
    },
  });

  describe("takes", () => {
    it("a database or a collection", async () => {
      const { collection } = newCollection();
      const record = newRecord();
      const store = mongodbStore(client.db(database), { collection });
      await store.create(record);
      await store.close?.();
      await expect(store.read(record.id)).rejects.toThrow("closed");
      expect(await mongodbStore(raw(collection)).read(record.id)).toEqual(record);
      expect(() => mongodbStore(raw(collection), { collection: "other" })).toThrow(TypeError);
      expect(() => mongodbStore(client.db(), { database: "other" })).toThrow(TypeError);
    });

    it("a URL, and closes what it opened", async () => {
      const store = mongodbStore(`${url}/${database}`, { collection: newCollection().collection });
      const record = newRecord({ userId: "ada" });
      await store.create(record);
      expect(await store.read(record.id)).toEqual(record);
      await store.close?.();
      await store.close?.();
      await expect(store.read(record.id)).rejects.toThrow("closed");
    });

    it("a URL in openStore", async () => {
      const store = await openStore(`${url}/${database}`);
      onTestFinished(() => store.close?.());
      expect(await store.removeAll()).toBe(0);
    });
  });

  describe("indexes", () => {
    it("are made twice and beside each other", async () => {
      const names = newCollection();
      const stores = Array.from({ length: 6 }, () => mongodbStore(client, names));
      await Promise.all(stores.map((store) => store.migrate()));
      await Promise.all(stores.map((store) => store.migrate()));
      const indexes = await raw(names.collection).indexes();
      expect(indexes.map(({ name }) => name).sort()).toEqual([
        "_id_",
        "coatcheck_expiresAt",
        "coatcheck_purgeAt",
        "coatcheck_userId",
      ]);
    });

    it("are left alone when told so", async () => {
      const names = newCollection();
      const store = mongodbStore(client, { ...names, migrate: false });
      await store.create(newRecord());
      expect(await raw(names.collection).indexes()).toHaveLength(1);
    });
  });

  it("lets the server remove a document only a day after its deadline, by the server's time", async () => {
    const names = newCollection();
    const store = mongodbStore(client, names);
    const purge = async (id: string) => {
      const found = await raw(names.collection).findOne<{ purgeAt: Date }>({ _id: id });
      return (found?.purgeAt.getTime() ?? 0) - Date.now();
    };
    const [minute, day] = [60_000, 86_400_000];
    // A clock that is 30 years behind, and one that is ahead.
    for (const now of [Date.UTC(1996, 0, 1), Date.UTC(2100, 0, 1)]) {
      const record = newRecord({ createdAt: now, seenAt: now, expiresAt: now + 30 * minute });
      await store.create(record);
      expect(await purge(record.id)).toBeGreaterThan(day + 29 * minute);
      await store.touch(record.id, now + minute, now + 61 * minute);
      expect(await purge(record.id)).toBeGreaterThan(day + 59 * minute);
      await store.touch(record.id, now + minute, now + 2 * minute);
      expect(await purge(record.id)).toBeGreaterThan(day + 59 * minute);
      await store.update(record.id, 1, { seenAt: now + minute, expiresAt: now + 90 * minute });
      expect(await purge(record.id)).toBeGreaterThan(day + 88 * minute);
      await store.update(record.id, 2, { expiresAt: now + 1000 * day });
      expect(await purge(record.id)).toBeGreaterThan(399 * day);
    }
    const record = newRecord({ expiresAt: Number.MAX_SAFE_INTEGER });
    await store.create(record);
    expect(await store.read(record.id)).toEqual(record);
  });

  it("gives a lease that came free while it looked who has it", async () => {
    const names = newCollection();
    const store = mongodbStore(client, names);
    const record = newRecord();
    await store.create(record);
    await store.read(record.id, { holder: "first", now: 0, until: 9, secretHash: record.secretHash });
    const collection = raw(names.collection);
    const findOne = collection.findOne.bind(collection);
    const looking = Object.assign(Object.create(collection) as typeof collection, {
      findOne: async (filter: object, options: object) => {
        await store.release(record.id, "first");
        return findOne(filter, options);
      },
    });
    const found = await mongodbStore(looking).read(record.id, {
      holder: "second",
      now: 1,
      until: 10,
      secretHash: record.secretHash,
    });
    expect(found?.lease).toEqual({ holder: "second", until: 10 });
  });

  it("gives back any keys and texts exactly, in fields whose names mean nothing", async () => {
    const names = newCollection();
    const store = mongodbStore(client, names);
    const text = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.json(),
      fc.string().map((s) => `${s}\0\ud800\u001a\\u0000`),
    );
    const special = ["$set", "a.b", ".", "", "$", "0", "_id", "%", "%0025", "__proto__", "constructor", "$[]", "a.$"];
    const key = fc.oneof(text, fc.constantFrom(...special));
    const texts = fc.array(fc.tuple(key, text), { maxLength: 6 }).map((entries) => new Map(entries));
    await fc.assert(
      fc.asyncProperty(texts, texts, fc.array(key, { maxLength: 3 }), async (before, set, others) => {
        const record = newRecord({
          data: before,
          meta: { secretAt: 1, flashes: [{ kind: "k", message: others.join() }] },
        });
        await store.create(record);
        const unset = [...others, ...[...before.keys()].slice(0, 2)];
        expect(await store.update(record.id, 1, { set, unset })).toBe("updated");
        const after = new Map([...[...before].filter(([name]) => !unset.includes(name)), ...set]);
        expect(await store.read(record.id)).toEqual({ ...record, version: 2, data: after });
        const stored = await raw(names.collection).findOne<{ data: object }>({ _id: record.id });
        for (const field of Object.keys(stored?.data ?? {})) expect(field).toMatch(/^(?!__proto__$)[^.$\0]+$/);
      }),
      { numRuns: 50 },
    );
  }, 60_000);
});
