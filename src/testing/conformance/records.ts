import type { SessionMeta } from "../../session/record.ts";
import { applyPatch, type SessionPatch, type SessionRecord } from "../../stores/store.ts";
import { check, rejection, same, sameRecord } from "./checks.ts";
import { type Case, createdIn, NOW, newHash, newRecord, upTo } from "./scene.ts";

const FULL_META: SessionMeta = {
  secretAt: NOW - 1,
  previousSecretHash: newHash(),
  previousUntil: NOW + 10_000,
  authenticatedAt: NOW - 2,
  methods: ["pwd", "otp"],
  remember: true,
  device: { userAgent: "Mozilla/5.0 (X11; Linux) \"quoted\" 'single' \\ ✓ 😀", ip: "192.0.2.0" },
  flashes: [
    { kind: "success", message: "Saved. <b>\u2028" },
    { kind: "__proto__", message: "" },
  ],
  dataVersion: 3,
};

const HOSTILE_KEYS = [
  "__proto__",
  "constructor",
  "toString",
  "hasOwnProperty",
  "",
  " ",
  "0",
  "10",
  "a.b",
  "$set",
  "a$b",
  "a:b",
  "a{b}*?[c]",
  "'; DROP TABLE sessions; --",
  'a"b`c',
  "a\\b\\u0000",
  "a\0b",
  "line\nbreak\ttab\r",
  "ключ",
  "😀",
  // The same letter, written in two ways, and in two cases: four keys.
  "\u00e9",
  "e\u0301",
  "\u00c9",
  "E\u0301",
  "long".repeat(2500),
];

const VALUES: readonly (readonly [string, string])[] = [
  ["empty", ""],
  ["spaces", '  { "a" : 1 }\n '],
  ["number", "1e400"],
  ["big number", "123456789012345678901234567890"],
  ["not JSON", "{a:"],
  ["NUL", "a\0b"],
  ["unicode", JSON.stringify("ключ 😀 e\u0301 \u2028 \u200d \ufeff")],
  ["escapes", '"\\u0000\\ud83d\\ude00\\/"'],
  ["64 KiB", JSON.stringify("é".repeat(32_768))],
  ["deep", `${"[".repeat(500)}${"]".repeat(500)}`],
  ["statement", "'); DELETE FROM sessions; --"],
];

/** A record in which every field is set. */
function fullRecord(): SessionRecord {
  return newRecord({
    version: 7,
    createdAt: NOW - 1000,
    seenAt: NOW - 500,
    expiresAt: NOW + 1,
    userId: "ada",
    meta: FULL_META,
    data: new Map([
      ["cart", '[{"productId":"p1","quantity":2}]'],
      ["theme", '"dark"'],
    ]),
  });
}

/** What one record goes through. */
export const recordCases: Case[] = [
  {
    name: "read answers undefined when there is no record",
    run: async ({ store }) => same(await store.read(newRecord().id), undefined, "read"),
  },
  {
    name: "create and read give back every field",
    async run({ store }) {
      const record = fullRecord();
      await store.create(record);
      sameRecord(await store.read(record.id), record, "the record");
    },
  },
  {
    name: "create and read leave absent fields absent",
    async run({ store }) {
      const record = await createdIn(store);
      const found = await store.read(record.id);
      sameRecord(found, record, "the record");
      same(found?.userId, undefined, "userId");
      same(Object.keys(found?.meta ?? {}), ["secretAt"], "the fields of meta");
      check(found?.data instanceof Map && found.data.size === 0, "data is an empty map");
    },
  },
  {
    name: "create refuses an id that exists, and changes nothing",
    async run({ store }) {
      const record = fullRecord();
      await store.create(record);
      await rejection(store.create({ ...newRecord({ userId: "eve" }), id: record.id }), "the second create");
      sameRecord(await store.read(record.id), record, "the record");
      same(await store.listByUser("eve"), [], "the sessions of the other user");
    },
  },
  {
    name: "SC-03: hostile keys of data survive create, update and removal",
    async run({ store }) {
      const data = new Map(HOSTILE_KEYS.map((key, i) => [key, JSON.stringify({ i })]));
      const created = await createdIn(store, { data });
      sameRecord(await store.read(created.id), created, "after create");

      const added = await createdIn(store);
      same(await store.update(added.id, 1, { set: data }), "updated", "setting the keys");
      sameRecord(await store.read(added.id), { ...added, version: 2, data }, "after setting the keys");

      const kept = new Map([...data].filter((_, i) => i % 2 === 0));
      const unset = HOSTILE_KEYS.filter((_, i) => i % 2 === 1);
      same(await store.update(added.id, 2, { unset }), "updated", "removing every other key");
      sameRecord(await store.read(added.id), { ...added, version: 3, data: kept }, "after removing every other key");
    },
  },
  {
    name: "SC-03: the texts of data come back exactly as they were written",
    async run({ store }) {
      const data = new Map(VALUES);
      const created = await createdIn(store, { data });
      sameRecord(await store.read(created.id), created, "after create");
      const added = await createdIn(store);
      for (const [i, [key, text]] of VALUES.entries())
        same(await store.update(added.id, i + 1, { set: new Map([[key, text]]) }), "updated", `setting ${key}`);
      sameRecord(await store.read(added.id), { ...added, version: VALUES.length + 1, data }, "after updates");
    },
  },
  {
    name: "update applies what the patch names, leaves the rest, and raises the version by one",
    async run({ store }) {
      let record = fullRecord();
      await store.create(record);
      const patches: SessionPatch[] = [
        {},
        { set: new Map(), unset: [] },
        { set: new Map([["theme", '"light"']]) },
        { set: new Map([["new", "1"]]), unset: ["theme", "never-there"] },
        { set: new Map([["both", "1"]]), unset: ["both", "cart"] },
        { secretHash: newHash() },
        { seenAt: NOW + 5 },
        { expiresAt: NOW + 50_000 },
        // Unlike a touch, an update may bring a deadline nearer: a login ends the longer limits of "remember me".
        { seenAt: NOW - 100, expiresAt: NOW + 10 },
        { meta: { secretAt: NOW, methods: [] } },
        { userId: "grace" },
        { userId: null },
        {
          userId: "ada",
          meta: FULL_META,
          secretHash: newHash(),
          seenAt: NOW + 9,
          expiresAt: NOW + 99,
          set: new Map([["z", "{}"]]),
        },
      ];
      for (const [i, patch] of patches.entries()) {
        same(await store.update(record.id, record.version, patch), "updated", `patch ${i}`);
        record = applyPatch(record, patch);
        sameRecord(await store.read(record.id), record, `the record after patch ${i}`);
      }
    },
  },
  {
    name: "update answers stale for another version, and changes nothing",
    async run({ store }) {
      const record = fullRecord();
      await store.create(record);
      const patch: SessionPatch = {
        userId: "eve",
        set: new Map([["cart", "[]"]]),
        unset: ["theme"],
        secretHash: newHash(),
      };
      for (const version of [record.version - 1, record.version + 1, 0])
        same(await store.update(record.id, version, patch), "stale", `version ${version}`);
      sameRecord(await store.read(record.id), record, "the record");
      same(await store.listByUser("eve"), [], "the sessions of the other user");
    },
  },
  {
    name: "update answers missing when there is no record, and makes none",
    async run({ store }) {
      const { id } = newRecord();
      const patch: SessionPatch = { userId: "ada", expiresAt: NOW + 1, set: new Map([["a", "1"]]) };
      for (const version of [0, 1]) same(await store.update(id, version, patch), "missing", "update");
      same(await store.read(id), undefined, "read");
      same(await store.listByUser("ada"), [], "the sessions of the user");
    },
  },
  {
    name: "touch raises each instant, shortens neither, and leaves the rest alone",
    async run({ store }) {
      const record = fullRecord();
      await store.create(record);
      const touches = [
        { seenAt: NOW + 1000, expiresAt: NOW + 2000, becomes: { seenAt: NOW + 1000, expiresAt: NOW + 2000 } },
        { seenAt: NOW + 3000, expiresAt: NOW + 1, becomes: { seenAt: NOW + 3000, expiresAt: NOW + 2000 } },
        { seenAt: NOW + 1, expiresAt: NOW + 4000, becomes: { seenAt: NOW + 3000, expiresAt: NOW + 4000 } },
        { seenAt: NOW, expiresAt: NOW, becomes: { seenAt: NOW + 3000, expiresAt: NOW + 4000 } },
        { seenAt: NOW + 3000, expiresAt: NOW + 4000, becomes: { seenAt: NOW + 3000, expiresAt: NOW + 4000 } },
      ];
      for (const { seenAt, expiresAt, becomes } of touches) {
        same(await store.touch(record.id, seenAt, expiresAt), true, "touch");
        sameRecord(await store.read(record.id), { ...record, ...becomes }, "the record");
      }
      same(await store.update(record.id, record.version, {}), "updated", "an update with the version from before");
    },
  },
  {
    name: "touch answers false when there is no record, and makes none",
    async run({ store }) {
      const { id } = newRecord();
      same(await store.touch(id, NOW, NOW + 1), false, "touch");
      same(await store.read(id), undefined, "read");
    },
  },
  {
    name: "remove removes once",
    async run({ store }) {
      const [record, other] = [newRecord(), newRecord()];
      await store.create(record);
      await store.create(other);
      same(await store.remove(record.id), true, "the first remove");
      same(await store.read(record.id), undefined, "read");
      same(await store.remove(record.id), false, "the second remove");
      sameRecord(await store.read(other.id), other, "the other record");
    },
  },
  {
    name: "CC-04: remove with a user removes that user's record only",
    async run({ store }) {
      const [record, anonymous] = [newRecord({ userId: "ada" }), newRecord()];
      await store.create(record);
      await store.create(anonymous);
      same(await store.remove(record.id, "eve"), false, "remove by another user");
      same(await store.remove(record.id, ""), false, "remove by a user without a name");
      same(await store.remove(anonymous.id, "ada"), false, "remove of a session without a user");
      sameRecord(await store.read(record.id), record, "the record");
      sameRecord(await store.read(anonymous.id), anonymous, "the anonymous record");
      same(await store.remove(record.id, "ada"), true, "remove by its user");
      same(await store.remove(record.id, "ada"), false, "remove again");
    },
  },
  {
    name: "RN-06: a removed record is not brought back by a late update or touch",
    async run({ store }) {
      const record = await createdIn(store, { userId: "ada" });
      await store.remove(record.id);
      same(await store.update(record.id, 1, { userId: "ada", set: new Map([["a", "1"]]) }), "missing", "update");
      same(await store.touch(record.id, NOW + 1, NOW + 2), false, "touch");
      same(await store.read(record.id), undefined, "read");
      same(await store.listByUser("ada"), [], "the sessions of the user");
    },
  },
  {
    name: "expired records are handed out like any other",
    async run({ store }) {
      const record = await createdIn(store, { userId: "ada", expiresAt: NOW });
      sameRecord(await store.read(record.id), record, "read");
      same((await store.listByUser("ada")).length, 1, "the sessions of the user");
      same(await store.update(record.id, 1, { set: new Map([["a", "1"]]) }), "updated", "update");
      same(await store.touch(record.id, NOW + 1, NOW + 2), true, "touch");
    },
  },
  {
    name: "all hands out every record, expired ones included",
    async run({ store }) {
      for await (const record of store.all()) check(false, `a new store holds ${record.id}`);
      const records = upTo(300).map((i) =>
        newRecord({ ...(i % 3 === 0 ? { userId: `user-${i}` } : undefined), expiresAt: NOW + i - 150 }),
      );
      await Promise.all(records.map((record) => store.create(record)));
      const found = new Map<string, SessionRecord>();
      for await (const record of store.all()) found.set(record.id, record);
      same(found.size, records.length, "the number of records");
      for (const record of records) sameRecord(found.get(record.id), record, "a record");
    },
  },
  {
    name: "all goes on while records are created and removed",
    async run({ store }) {
      const records = upTo(60).map(() => newRecord());
      await Promise.all(records.map((record) => store.create(record)));
      const stays = new Set(records.filter((_, i) => i % 2 === 0).map((record) => record.id));
      const goes = records.filter((record) => !stays.has(record.id));
      for await (const { id } of store.all()) {
        stays.delete(id);
        await createdIn(store);
        const removed = goes.pop();
        if (removed !== undefined) await store.remove(removed.id);
        else if (stays.size === 0) break;
      }
      same(stays.size, 0, "records that were there all the time and did not come");
    },
  },
  {
    name: "removeAll removes everything and tells how much",
    async run({ store }) {
      same(await store.removeAll(), 0, "removeAll of a new store");
      const records = upTo(30).map((i) => newRecord(i % 2 === 0 ? { userId: "ada" } : {}));
      for (const record of records) await store.create(record);
      same(await store.removeAll(), 30, "removeAll");
      for (const { id } of records) same(await store.read(id), undefined, "read");
      same(await store.listByUser("ada"), [], "the sessions of the user");
      same(await store.removeAll(), 0, "removeAll again");
      const [record] = records as [SessionRecord];
      await store.create(record);
      sameRecord(await store.read(record.id), record, "a record created afterwards");
    },
  },
  {
    name: "SC-03: read rejects a corrupt record with CorruptRecordError, all passes over it, remove removes it",
    needs: ["corrupt"],
    async run({ store, corrupt }) {
      const [record, sound] = [newRecord({ data: new Map([["a", "1"]]) }), newRecord()];
      await store.create(record);
      await store.create(sound);
      await corrupt(record.id);
      const error = await rejection(store.read(record.id), "read");
      same((error as { code?: unknown }).code, "corrupt_record", "the code of the error");
      const found: string[] = [];
      for await (const { id } of store.all()) found.push(id);
      same(found, [sound.id], "all");
      same(await store.remove(record.id), true, "remove");
      same(await store.read(record.id), undefined, "read after remove");
    },
  },
  {
    name: "a write is seen by another store on the same data as soon as it has returned",
    needs: ["reopen"],
    async run({ store, reopen }) {
      const other = await reopen();
      const record = await createdIn(store, { userId: "ada" });
      sameRecord(await other.read(record.id), record, "after create");
      same((await other.listByUser("ada")).length, 1, "the sessions of the user");
      same(await other.update(record.id, 1, { set: new Map([["a", "1"]]) }), "updated", "update");
      same((await store.read(record.id))?.data.get("a"), "1", "after update");
      same(await store.update(record.id, 1, {}), "stale", "an update with the old version");
      await other.touch(record.id, NOW + 5, NOW);
      same((await store.read(record.id))?.seenAt, NOW + 5, "after touch");
      await store.remove(record.id);
      same(await other.read(record.id), undefined, "after remove");
      same(await other.listByUser("ada"), [], "the sessions of the user after remove");
    },
  },
];
