import { seconds } from "../../session/clock.ts";
import type { SessionRecord } from "../../session/record.ts";
import type { SessionStore } from "../../stores/store.ts";
import { same, sameRecord } from "./checks.ts";
import { type Case, createdIn, NOW, needing, newHash, newRecord, race, upTo } from "./scene.ts";

/** Asks for a session's lease, with its secret. */
const ask = (store: SessionStore, { id, secretHash }: SessionRecord, holder: string, now = NOW) =>
  store.read(id, { holder, now, until: now + seconds(5), secretHash });

/** Leases, which a store grants together with a read. */
export const leaseCases: Case[] = needing("leases", [
  {
    name: "read with a lease grants it to the first holder and tells the others who has it",
    async run({ store }) {
      const record = await createdIn(store, { data: new Map([["a", "1"]]) });
      const first = await ask(store, record, "first");
      sameRecord(first, record, "the record");
      same(first?.lease, { holder: "first", until: NOW + seconds(5) }, "the lease");
      const second = await ask(store, record, "second", NOW + 1);
      sameRecord(second, record, "the record for the second");
      same(second?.lease?.holder, "first", "who has the lease");
      same(await store.update(record.id, 1, {}), "updated", "an update with the version from before");
    },
  },
  {
    name: "a lease is not granted to who does not know the secret, free, run out or held",
    async run({ store }) {
      const record = await createdIn(store);
      const stranger = { ...record, secretHash: newHash() };
      const told = await ask(store, stranger, "stranger");
      sameRecord(told, record, "the record");
      same(told?.lease, undefined, "the lease");
      same((await ask(store, record, "first"))?.lease?.holder, "first", "who has the lease");
      same((await ask(store, stranger, "first"))?.lease?.until, NOW + seconds(5), "its end, for a holder's name alone");
      same((await ask(store, stranger, "stranger", NOW + 1))?.lease?.holder, "first", "who has the lease");
      const later = NOW + seconds(6);
      await ask(store, stranger, "stranger", later);
      same((await ask(store, record, "second", later))?.lease?.holder, "second", "who has it after its end");
    },
  },
  {
    name: "a lease goes by the secret that is in force",
    async run({ store }) {
      const record = await createdIn(store);
      const renewed = { ...record, secretHash: newHash() };
      same(await store.update(record.id, 1, { secretHash: renewed.secretHash }), "updated", "a rotation");
      same((await ask(store, record, "old"))?.lease, undefined, "the lease, for the old secret");
      same((await ask(store, renewed, "new"))?.lease?.holder, "new", "who has the lease");
    },
  },
  {
    name: "a lease counts while now is before its end",
    async run({ store }) {
      const record = await createdIn(store);
      await ask(store, record, "first");
      same((await ask(store, record, "second", NOW + seconds(5) - 1))?.lease?.holder, "first", "just before the end");
      same((await ask(store, record, "second", NOW + seconds(5)))?.lease?.holder, "second", "at the end");
    },
  },
  {
    name: "the holder of a lease can have it prolonged",
    async run({ store }) {
      const record = await createdIn(store);
      await ask(store, record, "first");
      const again = await ask(store, record, "first", NOW + seconds(4));
      same(again?.lease, { holder: "first", until: NOW + seconds(9) }, "the lease");
      same((await ask(store, record, "second", NOW + seconds(6)))?.lease?.holder, "first", "who has the lease");
    },
  },
  {
    name: "update gives a lease back when its holder says so, and only then",
    async run({ store }) {
      const record = await createdIn(store);
      const { id } = record;
      await ask(store, record, "first");
      same(await store.update(id, 1, { release: "second" }), "updated", "an update that names another holder");
      same((await ask(store, record, "second"))?.lease?.holder, "first", "who has the lease");
      same(await store.update(id, 2, { set: new Map([["a", "1"]]) }), "updated", "an update that names none");
      same((await ask(store, record, "second"))?.lease?.holder, "first", "who has the lease");
      same(await store.update(id, 1, { release: "first" }), "stale", "a stale update");
      same((await ask(store, record, "second"))?.lease?.holder, "first", "who has the lease");
      same(await store.update(id, 3, { release: "first" }), "updated", "an update that names the holder");
      same((await ask(store, record, "second"))?.lease?.holder, "second", "who has the lease");
    },
  },
  {
    name: "release gives a lease back if it is held, and is harmless otherwise",
    async run({ store }) {
      const record = newRecord();
      const { id } = record;
      await store.release?.(id, "nobody");
      await store.create(record);
      await store.release?.(id, "nobody");
      await ask(store, record, "first");
      await store.release?.(id, "second");
      same((await ask(store, record, "second"))?.lease?.holder, "first", "who has the lease");
      await store.release?.(id, "first");
      same((await ask(store, record, "second"))?.lease?.holder, "second", "who has the lease");
      await store.release?.(id, "first");
      same((await ask(store, record, "third"))?.lease?.holder, "second", "who has the lease");
      sameRecord(await store.read(id), record, "the record");
    },
  },
  {
    name: "RN-06: neither a wish for a lease nor its release makes a record",
    async run({ store }) {
      const record = newRecord({ userId: "ada", lease: { holder: "first", until: NOW + seconds(60) } });
      const { id } = record;
      same(await ask(store, record, "first"), undefined, "read");
      await store.create(record);
      same((await ask(store, record, "second"))?.lease?.holder, "second", "a lease is not created with the record");
      await store.remove(id);
      same(await ask(store, record, "second"), undefined, "read after remove");
      await store.release?.(id, "second");
      same(await store.read(id), undefined, "read after release");
      same(await store.listByUser("ada"), [], "the sessions of the user");
    },
  },
  ...race("of 20 parallel wishes for a lease exactly one is granted", async (stores) => {
    const record = await createdIn(stores[0]);
    const holders = await Promise.all(
      upTo(20).map(async (i) => (await ask(stores[i % 2] as SessionStore, record, `holder-${i}`))?.lease?.holder),
    );
    same(holders.filter((holder, i) => holder === `holder-${i}`).length, 1, "how many were granted it");
    same(new Set(holders).size, 1, "how many holders were told of");
  }),
]);

/** What a store does that grants none. */
export const leaselessCase: Case = {
  name: "read ignores the wish for a lease",
  async run({ store }) {
    const record = await createdIn(store);
    const found = await ask(store, record, "first");
    sameRecord(found, record, "the record");
    same(found?.lease, undefined, "the lease");
  },
};
