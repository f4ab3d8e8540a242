import { memoryStore } from "coatcheck/memory";
import { sqliteStore } from "coatcheck/sqlite";
import type { SessionStore } from "coatcheck/stores";
import { storeConformance, UnreliableStore } from "coatcheck/testing";
import { describe, expect, it } from "vitest";
import { NOW, newRecord } from "../../src/testing/conformance/scene.ts";

describe("SC-05: an UnreliableStore that is told nothing keeps the store contract", () => {
  const cases = storeConformance({
    createStore: () => new UnreliableStore(sqliteStore(":memory:")),
    skip: { reopen: "the database is in memory", corrupt: "the database is in memory" },
  });
  for (const { name, run } of cases.filter(({ skipped }) => skipped === undefined)) it(name, run);
});

describe("UnreliableStore", () => {
  it("counts the calls of each verb, failed ones too", async () => {
    const store = new UnreliableStore(memoryStore());
    const record = newRecord({ userId: "ada" });
    await store.create(record);
    await store.read(record.id);
    store.fail("read");
    await expect(store.read(record.id)).rejects.toThrow();
    for await (const _ of store.all());
    expect([store.calls("create"), store.calls("read"), store.calls("all"), store.calls("touch")]).toEqual([
      1, 2, 1, 0,
    ]);
    expect(store.calls()).toBe(4);
  });

  it("fails the next call of a verb, and no other verb", async () => {
    const store = new UnreliableStore(memoryStore());
    const record = newRecord();
    const error = new Error("the disk is full");
    store.failNext("create", { error });
    expect(await store.read(record.id)).toBeUndefined();
    await expect(store.create(record)).rejects.toBe(error);
    expect(await store.read(record.id)).toBeUndefined();
    await store.create(record);
    expect(await store.read(record.id)).toEqual(record);
  });

  it("fails as many calls as it is told", async () => {
    const store = new UnreliableStore(memoryStore());
    store.failNext("every", { times: 2 });
    await expect(store.read(newRecord().id)).rejects.toThrow(/as it was told/);
    await expect(store.removeAll()).rejects.toThrow();
    expect(await store.removeAll()).toBe(0);
  });

  it("fails every verb until it recovers", async () => {
    const store: UnreliableStore & SessionStore = new UnreliableStore(sqliteStore(":memory:"));
    const { id, ...rest } = newRecord();
    store.fail();
    const calls = [
      () => store.create({ id, ...rest }),
      () => store.read(id),
      () => store.update(id, 1, {}),
      () => store.touch(id, NOW, NOW),
      () => store.remove(id),
      () => store.listByUser("ada"),
      () => store.removeByUser("ada"),
      () => store.removeAll(),
      () => store.removeExpired(NOW, 1),
      () => store.release?.(id, "me"),
      () => store.all()[Symbol.asyncIterator]().next(),
    ];
    for (const call of [...calls, ...calls]) await expect(call()).rejects.toThrow(/as it was told/);
    store.recover();
    for (const call of calls) await call();
    await store.close();
  });

  it("loses an answer: the write is made, and the caller does not know", async () => {
    const store = new UnreliableStore(memoryStore());
    const record = newRecord();
    await store.create(record);
    store.loseAnswer("update");
    await expect(store.update(record.id, 1, { userId: "ada" })).rejects.toThrow(/lost/);
    expect(await store.read(record.id)).toMatchObject({ version: 2, userId: "ada" });
    expect(await store.update(record.id, 2, { userId: null })).toBe("updated");
  });

  it("holds calls back until they are released, and tells when the first one is there", async () => {
    const store = new UnreliableStore(memoryStore());
    const record = newRecord();
    await store.create(record);
    const hold = store.hold("update");
    const writes = [store.update(record.id, 1, {}), store.update(record.id, 1, {})];
    await hold.reached;
    expect(await store.read(record.id)).toEqual(record);
    expect(await store.touch(record.id, NOW + 1, NOW)).toBe(true);
    hold.release();
    expect(await Promise.all(writes)).toEqual(["updated", "stale"]);
    expect(await store.update(record.id, 2, {})).toBe("updated");
  });

  it("lets held calls meet the failures that are set when they go on", async () => {
    const store = new UnreliableStore(memoryStore());
    const hold = store.hold();
    const reading = store.read(newRecord().id);
    await hold.reached;
    store.failNext("read");
    hold.release();
    await expect(reading).rejects.toThrow();
  });

  it("lets held calls go on when it recovers", async () => {
    const store = new UnreliableStore(memoryStore());
    store.hold("read");
    const reading = store.read(newRecord().id);
    store.fail();
    store.recover();
    expect(await reading).toBeUndefined();
  });

  it("grants leases if the store within does", () => {
    expect(new UnreliableStore(memoryStore()).release).toBeUndefined();
    expect(new UnreliableStore(sqliteStore(":memory:")).release).toBeTypeOf("function");
  });
});
