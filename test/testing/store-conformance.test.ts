import { memoryStore } from "coatcheck/memory";
import { sqliteStore } from "coatcheck/sqlite";
import {
  applyPatch,
  type Revocation,
  type RevocationLog,
  type SessionRecord,
  type SessionStore,
} from "coatcheck/stores";
import { type StoreConformanceOptions, storeConformance } from "coatcheck/testing";
import { describe, expect, it } from "vitest";

const skip = { reopen: "one process", corrupt: "one process" };

/** The names of the cases that fail, of those that have a certain name. */
async function failures(options: StoreConformanceOptions, among = /./): Promise<string[]> {
  const failed: string[] = [];
  for (const { name, run } of storeConformance(options))
    if (among.test(name)) await run().catch(() => failed.push(name));
  return failed;
}

/** A good store in which some verbs are replaced. */
type Flaw = (store: SessionStore) => Partial<SessionStore>;

async function flawed(flaw: Flaw, among: RegExp, leases = false): Promise<string> {
  const createStore = () => {
    const store = leases ? sqliteStore(":memory:") : memoryStore();
    const verbs = Object.fromEntries(
      VERBS.flatMap((verb) => (store[verb] === undefined ? [] : [[verb, (store[verb] as () => unknown).bind(store)]])),
    );
    return { ...verbs, revocations: store.revocations, ...flaw(store) } as unknown as SessionStore;
  };
  const names = await failures({ createStore, skip: leases ? skip : { ...skip, leases: "memory" } }, among);
  return names.join("\n");
}

const VERBS = [
  "create",
  "read",
  "release",
  "update",
  "touch",
  "remove",
  "listByUser",
  "removeByUser",
  "removeAll",
  "removeExpired",
  "all",
  "close",
] as const;

const later = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Flaws that stores have had, and a word of a case that must find each. */
const flaws: Record<string, readonly [RegExp, Flaw]> = {
  "create overwrites": [
    /create refuses/,
    (store) => ({
      async create(record) {
        await store.remove(record.id);
        await store.create(record);
      },
    }),
  ],
  "create looks first and writes later": [
    /parallel creates/,
    (store) => ({
      async create(record) {
        if ((await store.read(record.id)) !== undefined) throw new Error("exists");
        await later();
        await store.remove(record.id);
        await store.create(record);
      },
    }),
  ],
  "create begins every record at version 1": [
    /every field/,
    (store) => ({
      create: (record) => store.create({ ...record, version: 1 }),
    }),
  ],
  "read hides expired records": [
    /expired records/,
    (store) => ({
      async read(id) {
        const record = await store.read(id);
        return record !== undefined && record.expiresAt > Date.UTC(2100, 0, 1) ? record : undefined;
      },
    }),
  ],
  "read answers null": [
    /undefined when there is no record/,
    (store) => ({
      read: async (id) => (await store.read(id)) ?? (null as unknown as undefined),
    }),
  ],
  "data goes through a plain object": [
    /hostile keys/,
    (store) => ({
      async read(id) {
        const record = await store.read(id);
        if (record === undefined) return undefined;
        const data: Record<string, string> = {};
        for (const [key, text] of record.data) data[key] = text;
        return { ...record, data: new Map(Object.entries(data)) };
      },
    }),
  ],
  "texts are parsed and written again": [
    /exactly as they were written/,
    (store) => ({
      async read(id) {
        const record = await store.read(id);
        const rewritten = ([key, text]: [string, string]): [string, string] => {
          try {
            return [key, JSON.stringify(JSON.parse(text))];
          } catch {
            return [key, text];
          }
        };
        return record && { ...record, data: new Map([...record.data].map(rewritten)) };
      },
    }),
  ],
  "texts end at NUL": [
    /exactly as they were written/,
    (store) => ({
      async read(id) {
        const record = await store.read(id);
        return (
          record && {
            ...record,
            data: new Map([...record.data].map(([key, text]) => [key, text.split("\0")[0] as string])),
          }
        );
      },
    }),
  ],
  "unknown fields of meta are dropped": [
    /every field/,
    (store) => ({
      create: (record) => store.create({ ...record, meta: { secretAt: record.meta.secretAt } }),
    }),
  ],
  "update ignores the version": [
    /stale for another version/,
    (store) => ({
      async update(id, _version, patch) {
        const record = await store.read(id);
        return record === undefined ? "missing" : store.update(id, record.version, patch);
      },
    }),
  ],
  "update reads, waits and writes": [
    /50 parallel updates/,
    (store) => ({
      async update(id, version, patch) {
        const record = await store.read(id);
        if (record === undefined) return "missing";
        if (record.version !== version) return "stale";
        await later();
        await store.remove(id);
        await store.create(applyPatch(record, patch));
        return "updated";
      },
    }),
  ],
  "update makes a record that is gone": [
    /update answers missing/,
    (store) => ({
      async update(id, version, patch) {
        const outcome = await store.update(id, version, patch);
        if (outcome === "missing")
          await store.create({
            ...applyPatch({ id, version } as SessionRecord, { set: new Map([["", ""]]), ...patch }),
            data: new Map(),
          });
        return outcome === "missing" ? "updated" : outcome;
      },
    }),
  ],
  "update writes a record back that was removed meanwhile": [
    /stays removed/,
    (store) => ({
      async update(id, version, patch) {
        const record = await store.read(id);
        if (record?.version !== version) return record === undefined ? "missing" : "stale";
        await later();
        const outcome = await store.update(id, version, patch);
        if (outcome !== "missing") return outcome;
        await store.create(applyPatch(record, patch));
        return "updated";
      },
    }),
  ],
  "update drops what the patch does not name": [
    /leaves the rest/,
    (store) => ({
      update: (id, version, patch) => store.update(id, version, { userId: null, ...patch }),
    }),
  ],
  "update adds to meta instead of replacing it": [
    /leaves the rest/,
    (store) => ({
      async update(id, version, patch) {
        const record = await store.read(id);
        return store.update(id, version, {
          ...patch,
          ...(patch.meta && { meta: { ...record?.meta, ...patch.meta } }),
        });
      },
    }),
  ],
  "update prolongs but does not shorten": [
    /leaves the rest/,
    (store) => ({
      async update(id, version, { expiresAt = 0, ...patch }) {
        const record = await store.read(id);
        return store.update(id, version, { ...patch, expiresAt: Math.max(expiresAt, record?.expiresAt ?? 0) });
      },
    }),
  ],
  "touch writes what it is told": [
    /shortens neither/,
    (store) => ({
      async touch(id, seenAt, expiresAt) {
        const record = await store.read(id);
        if (record === undefined) return false;
        await store.remove(id);
        await store.create({ ...record, seenAt, expiresAt });
        return true;
      },
    }),
  ],
  "touch raises the version": [
    /touch raises each instant/,
    (store) => ({
      async touch(id, seenAt, expiresAt) {
        await store.touch(id, seenAt, expiresAt);
        const record = await store.read(id);
        return record !== undefined && (await store.update(id, record.version, {})) === "updated";
      },
    }),
  ],
  "touch answers true for nothing": [/touch answers false/, () => ({ touch: async () => true })],
  "touch writes the whole record back": [
    /undo nothing of each other/,
    (store) => ({
      async touch(id, seenAt, expiresAt) {
        const record = await store.read(id);
        if (record === undefined) return false;
        await later();
        await store.remove(id);
        await store.create({
          ...record,
          seenAt: Math.max(record.seenAt, seenAt),
          expiresAt: Math.max(record.expiresAt, expiresAt),
        });
        return true;
      },
    }),
  ],
  "remove does not look at the user": [/remove with a user/, (store) => ({ remove: (id) => store.remove(id) })],
  "remove always answers true": [
    /removes once/,
    (store) => ({
      async remove(id, userId) {
        await store.remove(id, userId);
        return true;
      },
    }),
  ],
  "listByUser knows only who created": [
    /listByUser follows updates/,
    (store) => {
      const users = new Map<string, string>();
      return {
        async create(record) {
          await store.create(record);
          if (record.userId !== undefined) users.set(record.id, record.userId);
        },
        listByUser: async (userId) => (await store.listByUser(userId)).filter(({ id }) => users.get(id) === userId),
      };
    },
  ],
  "user ids are compared without case": [
    /similar user ids/,
    (store) => ({
      async listByUser(userId) {
        const records = [];
        for await (const record of store.all())
          if (record.userId?.toLowerCase() === userId.toLowerCase()) records.push(record);
        return records;
      },
    }),
  ],
  "user ids lose their spaces": [
    /similar user ids/,
    (store) => ({
      create: (record) => store.create({ ...record, ...(record.userId && { userId: record.userId.trim() }) }),
    }),
  ],
  "removeByUser removes the exception too": [
    /but the exception/,
    (store) => ({
      removeByUser: (userId) => store.removeByUser(userId),
    }),
  ],
  "removeExpired spares what expires just now": [
    /at or before the instant/,
    (store) => ({
      removeExpired: (now, limit) => store.removeExpired(now - 1, limit),
    }),
  ],
  "removeExpired ignores the limit": [
    /at most as many/,
    (store) => ({
      removeExpired: (now) => store.removeExpired(now, 1e9),
    }),
  ],
  "removeExpired takes any": [
    /the oldest first/,
    (store) => ({
      async removeExpired(now, limit) {
        let removed = 0;
        for await (const { id, expiresAt } of store.all())
          if (expiresAt <= now && removed < limit && (await store.remove(id))) removed++;
        return removed;
      },
    }),
  ],
  "removeExpired chooses first and removes later": [
    /against touch and update/,
    (store) => ({
      async removeExpired(now, limit) {
        const due: SessionRecord[] = [];
        for await (const record of store.all()) if (record.expiresAt <= now) due.push(record);
        due.sort((a, b) => a.expiresAt - b.expiresAt);
        await later();
        const removed = await Promise.all(due.slice(0, limit).map(({ id }) => store.remove(id)));
        return removed.filter(Boolean).length;
      },
      async touch(id, seenAt, expiresAt) {
        await later();
        return store.touch(id, seenAt, expiresAt);
      },
    }),
  ],
  "removeAll leaves users behind": [
    /removeAll removes everything/,
    (store) => ({
      async removeAll() {
        let count = 0;
        for await (const { id, userId } of store.all()) if (userId === undefined && (await store.remove(id))) count++;
        return count;
      },
    }),
  ],
  "all hands out one page": [
    /all hands out every record/,
    (store) => ({
      async *all() {
        let count = 0;
        for await (const record of store.all()) if (count++ < 200) yield record;
      },
    }),
  ],
};

const leaseFlaws: Record<string, readonly [RegExp, Flaw]> = {
  "everybody gets the lease": [
    /grants it to the first/,
    (store) => ({
      read: async (id, lease) => {
        const record = await store.read(id);
        return lease && record ? { ...record, lease } : record;
      },
    }),
  ],
  "who does not know the secret gets the lease": [
    /does not know the secret/,
    (store) => ({
      async read(id, lease) {
        const record = await store.read(id);
        return store.read(id, lease && record && { ...lease, secretHash: record.secretHash });
      },
    }),
  ],
  "a lease never ends": [
    /before its end/,
    (store) => ({
      read: (id, lease) => store.read(id, lease && { ...lease, now: 0 }),
    }),
  ],
  "update does not give the lease back": [
    /update gives a lease back/,
    (store) => ({
      update: (id, version, { release: _, ...patch }) => store.update(id, version, patch),
    }),
  ],
  "anybody can give the lease back": [
    /release gives a lease back/,
    (store) => ({
      async release(id) {
        const holder = (await store.read(id))?.lease?.holder;
        if (holder !== undefined) await store.release?.(id, holder);
      },
    }),
  ],
};

const logOf = (store: SessionStore) => store.revocations as RevocationLog;

/** A good log in which some verbs are replaced. */
const flawedLog = (
  store: SessionStore,
  flaw: (log: RevocationLog) => Partial<RevocationLog>,
): Partial<SessionStore> => {
  const log = logOf(store);
  const verbs: RevocationLog = {
    append: (entry) => log.append(entry),
    read: (cursor) => log.read(cursor),
    removeExpired: (now, limit) => log.removeExpired(now, limit),
  };
  return { revocations: { ...verbs, ...flaw(log) } };
};

/** Flaws that logs of revocations can have. */
const logFlaws: Record<string, readonly [RegExp, Flaw]> = {
  "append resolves before the entry is there": [
    /once it was added/,
    (store) => flawedLog(store, (log) => ({ append: async (entry) => void later().then(() => log.append(entry)) })),
  ],
  "an entry becomes visible after a later one": [
    /miss none of the revocations/,
    (store) => {
      let count = 0;
      const slow = new Set<Revocation>();
      return flawedLog(store, (log) => ({
        async append(entry) {
          if (++count % 5 === 0) slow.add(entry);
          await log.append(entry);
          // Until a reader has gone past it, if there is one.
          for (let turns = 0; slow.has(entry) && turns < 100; turns++) await later();
          slow.delete(entry);
        },
        async read(cursor) {
          const page = await log.read(cursor);
          const entries = page.entries.filter((entry) => !slow.delete(entry));
          return { ...page, entries };
        },
      }));
    },
  ],
  "only the first page is read": [
    /a long log/,
    (store) => flawedLog(store, (log) => ({ read: async (cursor) => ({ ...(await log.read(cursor)), more: false }) })),
  ],
  "the exception of a user is forgotten": [
    /come back as they were added/,
    (store) =>
      flawedLog(store, (log) => ({
        append: (entry) => log.append(entry.kind === "user" ? { ...entry, except: undefined as never } : entry),
      })),
  ],
  "entries outlive their time": [
    /removeExpired of revocations/,
    (store) => flawedLog(store, () => ({ removeExpired: async () => 0 })),
  ],
  "removeExpired knows no limit": [
    /removeExpired of revocations/,
    (store) => flawedLog(store, (log) => ({ removeExpired: (now) => log.removeExpired(now, 1000) })),
  ],
  "a cursor counts the entries that are there": [
    /when entries are removed/,
    (store) =>
      flawedLog(store, (log) => ({
        async read(cursor) {
          const { entries } = await log.read(undefined);
          return { entries: entries.slice(Number(cursor ?? 0)), cursor: String(entries.length), more: false };
        },
      })),
  ],
  "removeAll takes the revocations along": [
    /revocations are no sessions/,
    (store) => ({
      async removeAll() {
        await logOf(store).removeExpired(Number.POSITIVE_INFINITY, 1000);
        return store.removeAll();
      },
    }),
  ],
};

describe("storeConformance", () => {
  for (const [what, [found, flaw]] of Object.entries(flaws))
    it(`SC-05: finds a store in which ${what}`, async () => expect(await flawed(flaw, found)).toMatch(found));

  for (const [what, [found, flaw]] of Object.entries(leaseFlaws))
    it(`SC-05: finds a store in which ${what}`, async () => expect(await flawed(flaw, found, true)).toMatch(found));

  for (const [what, [found, flaw]] of Object.entries(logFlaws))
    it(`LO-09: finds a store in which ${what}`, async () => expect(await flawed(flaw, found)).toMatch(found));

  it("finds nothing in a good store", async () => {
    expect(await flawed(() => ({}), /./)).toBe("");
    expect(await flawed(() => ({}), /./, true)).toBe("");
  });

  it("asks for a reason when the store lacks a capability", async () => {
    const names = (await failures({ createStore: () => memoryStore() })).join("\n");
    expect(names).toMatch(/across two stores/);
    expect(names).toMatch(/lease/);
    expect(names).toMatch(/CorruptRecordError/);
    const { run } = storeConformance({ createStore: () => memoryStore() }).find(({ name }) => /lease/.test(name)) ?? {};
    await expect(run?.()).rejects.toThrow('skip: { leases: "…" }');
  });

  it("names what does not apply and why, and runs nothing of it", async () => {
    let created = 0;
    const createStore = () => {
      created++;
      return memoryStore();
    };
    const cases = storeConformance({ createStore, name: "mine", skip: { removeExpired: "it has a time-to-live" } });
    const skipped = cases.filter((tested) => tested.skipped !== undefined);
    expect(skipped.map(({ name }) => name)).toContainEqual(
      expect.stringMatching(/^mine: .*removeExpired.* \(does not apply: it has a time-to-live\)$/),
    );
    for (const { run } of skipped) await run();
    expect(created).toBe(0);
    expect(new Set(cases.map(({ name }) => name)).size).toBe(cases.length);
  });

  it("closes what it was given and what it opened, also when a case fails", async () => {
    let [opened, closed] = [0, 0];
    const make = (): SessionStore => {
      opened++;
      const store = memoryStore();
      store.close = async () => void closed++;
      return store;
    };
    await failures({ createStore: () => ({ store: make(), reopen: make }) });
    expect(opened).toBeGreaterThan(40);
    expect(closed).toBe(opened);
  });
});
