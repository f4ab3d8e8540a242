import type { SessionStore } from "../../stores/store.ts";
import { same, sameRecord } from "./checks.ts";
import { type Case, createdIn, newRecord, upTo } from "./scene.ts";

const HOSTILE_USERS = [
  "ada",
  "Ada",
  "ada ",
  " ada",
  "",
  "ad",
  "ada:1",
  "ada*",
  "%",
  "_",
  "?",
  "ada\\",
  "'; DROP TABLE sessions; --",
  '"ada"',
  '"',
  "{ada}",
  "$ne",
  "__proto__",
  "constructor",
  "null",
  "0",
  "a\0b",
  "a",
  "line\nbreak",
  "\u00e9",
  "e\u0301",
  "é ",
  "ß",
  "ss",
  "пользователь",
  "😀",
  "x".repeat(256),
];

async function idsOf(store: SessionStore, userId: string): Promise<string[]> {
  return (await store.listByUser(userId)).map((record) => record.id).sort();
}

/** What belongs to a user. */
export const userCases: Case[] = [
  {
    name: "CC-02: listByUser lists the whole records of a user and nobody else's",
    async run({ store }) {
      same(await store.listByUser("ada"), [], "a user without sessions");
      const records = upTo(5).map((i) => newRecord({ userId: "ada", data: new Map([["i", String(i)]]) }));
      for (const record of [...records, newRecord({ userId: "grace" }), newRecord()]) await store.create(record);
      const listed = await store.listByUser("ada");
      same(listed.length, 5, "the number of sessions");
      for (const record of records)
        sameRecord(
          listed.find(({ id }) => id === record.id),
          record,
          "a session",
        );
    },
  },
  {
    name: "CC-04: listByUser follows updates that attach, change and take away the user",
    async run({ store }) {
      const { id } = await createdIn(store);
      await store.update(id, 1, { userId: "ada" });
      same(await idsOf(store, "ada"), [id], "ada's sessions once attached");
      await store.update(id, 2, { userId: "grace" });
      same([await idsOf(store, "ada"), await idsOf(store, "grace")], [[], [id]], "ada's and grace's once changed");
      await store.update(id, 3, { set: new Map([["a", "1"]]) });
      same(await idsOf(store, "grace"), [id], "grace's after an update that leaves the user alone");
      await store.update(id, 3, { userId: "eve" });
      same(await idsOf(store, "eve"), [], "eve's after a stale update");
      await store.update(id, 4, { userId: null });
      same(await idsOf(store, "grace"), [], "grace's once taken away");
      same((await store.read(id))?.userId, undefined, "the user of the record");
    },
  },
  {
    name: "CC-04: listByUser does not list removed records",
    async run({ store }) {
      const first = await createdIn(store, { userId: "ada" });
      const second = await createdIn(store, { userId: "ada" });
      await store.remove(first.id);
      same(await idsOf(store, "ada"), [second.id], "ada's sessions");
    },
  },
  {
    name: "hostile and similar user ids are kept apart",
    async run({ store }) {
      const records = HOSTILE_USERS.map((userId) => newRecord({ userId }));
      for (const [i, record] of records.entries()) {
        // Half of them by update, which may write the user in another way.
        if (i % 2 === 0) await store.create(record);
        else {
          const { userId, ...anonymous } = record;
          await store.create(anonymous);
          same(await store.update(record.id, 1, { userId: userId as string }), "updated", "update");
        }
      }
      for (const [i, record] of records.entries()) {
        const { userId } = record as { userId: string };
        const version = i % 2 === 0 ? 1 : 2;
        sameRecord(await store.read(record.id), { ...record, version }, `the session of ${JSON.stringify(userId)}`);
        same(await idsOf(store, userId), [record.id], `the sessions of ${JSON.stringify(userId)}`);
      }
      for (const [i, { id, userId }] of records.entries()) {
        const other = HOSTILE_USERS[(i + 1) % HOSTILE_USERS.length] as string;
        same(await store.remove(id, other), false, `remove by ${JSON.stringify(other)}`);
        const removed =
          i % 2 === 0 ? Number(await store.remove(id, userId)) : await store.removeByUser(userId as string);
        same(removed, 1, `the number removed of ${JSON.stringify(userId)}`);
      }
    },
  },
  {
    name: "LO-06: removeByUser removes all sessions of a user but the exception, and nobody else's",
    async run({ store }) {
      const records = upTo(4).map(() => newRecord({ userId: "ada" }));
      const [kept] = records as [(typeof records)[0]];
      const [grace, anonymous] = [newRecord({ userId: "grace" }), newRecord()];
      for (const record of [...records, grace, anonymous]) await store.create(record);
      same(await store.removeByUser("ada", kept.id), 3, "the number removed");
      same(await idsOf(store, "ada"), [kept.id], "ada's sessions");
      for (const record of [kept, grace, anonymous])
        sameRecord(await store.read(record.id), record, "a session that stays");
      same(await store.removeByUser("ada", grace.id), 1, "removeByUser with an exception of another user");
      same(await store.removeByUser("ada"), 0, "removeByUser of a user without sessions");
      same(await store.removeByUser("grace"), 1, "removeByUser without an exception");
      sameRecord(await store.read(anonymous.id), anonymous, "the anonymous session");
      for (const { id } of records) same(await store.update(id, 1, {}), "missing", "a late update");
    },
  },
];
