import { memoryStore } from "coatcheck/memory";
import { applyPatch, type SessionRecord, type SessionStore } from "coatcheck/stores";
import { storeConformance } from "coatcheck/testing";
import { describe, expect, it } from "vitest";
import { NOW, newRecord } from "../../src/testing/conformance/scene.ts";

const inOneProcess = "sessions live in the memory of one process";

describe("SC-05: the memory store keeps the store contract", () => {
  const cases = storeConformance({
    createStore: () => memoryStore(),
    skip: { reopen: inOneProcess, corrupt: inOneProcess, leases: inOneProcess },
  });
  for (const { name, run } of cases.filter(({ skipped }) => skipped === undefined)) it(name, run);
});

const count = async (store: SessionStore): Promise<number> => {
  let found = 0;
  for await (const _ of store.all()) found++;
  return found;
};

describe("memoryStore", () => {
  it("SC-07: is bounded: above `max` the least recently used session is dropped", async () => {
    const store = memoryStore({ max: 3 });
    const records = [newRecord({ userId: "ada" }), newRecord(), newRecord()] as [
      SessionRecord,
      SessionRecord,
      SessionRecord,
    ];
    for (const record of records) await store.create(record);
    await store.touch(records[0].id, NOW + 1, NOW + 1);
    const last = newRecord();
    await store.create(last);
    expect(await store.read(records[0].id)).toBeDefined();
    expect(await store.read(records[1].id)).toBeUndefined();
    expect(await store.read(records[2].id)).toBeDefined();
    expect(await store.read(last.id)).toBeDefined();
    expect(await count(store)).toBe(3);
  });

  it("SC-07: holds no more than `max` under a flood of new visitors", async () => {
    const store = memoryStore({ max: 500 });
    for (let i = 0; i < 20_000; i++) await store.create(newRecord({ userId: `user-${i}` }));
    expect(await count(store)).toBe(500);
    expect(await store.listByUser("user-0")).toEqual([]);
    expect(await store.removeAll()).toBe(500);
  });

  it("SC-07: removes 100,000 expired sessions in batches", async () => {
    const store = memoryStore();
    for (let i = 0; i < 100_000; i++) await store.create(newRecord({ expiresAt: NOW - (i % 5000) * 1000 }));
    const batches: number[] = [];
    for (;;) {
      const removed = await store.removeExpired(NOW, 5000);
      if (removed === 0) break;
      batches.push(removed);
    }
    expect(batches).toEqual(Array(20).fill(5000));
    expect(await count(store)).toBe(0);
  });

  it("amounts to applyPatch", async () => {
    const store = memoryStore();
    const record = newRecord({ userId: "ada", data: new Map([["a", "1"]]) });
    const patch = { userId: null, set: new Map([["b", "2"]]), unset: ["a"], seenAt: NOW + 1 };
    await store.create(record);
    await store.update(record.id, 1, patch);
    expect(await store.read(record.id)).toEqual(applyPatch(record, patch));
  });

  it("refuses a `max` that is no whole number above 0", () => {
    for (const max of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY])
      expect(() => memoryStore({ max })).toThrow(TypeError);
  });
});
