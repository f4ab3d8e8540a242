import type { SessionId } from "../../session/token.ts";
import type { SessionStore } from "../../stores/store.ts";
import { check, same } from "./checks.ts";
import { type Case, createdIn, NOW, newRecord, race, upTo } from "./scene.ts";

const count = <T>(values: readonly T[], value: T): number => values.filter((other) => other === value).length;

/** Reads and updates until it is not stale: what the core does. `false` when the record is gone. */
async function increment(store: SessionStore, id: SessionId): Promise<boolean> {
  for (;;) {
    const record = await store.read(id);
    if (record === undefined) return false;
    const next = String(Number(record.data.get("n") ?? "0") + 1);
    const outcome = await store.update(id, record.version, { set: new Map([["n", next]]) });
    if (outcome !== "stale") return outcome === "updated";
  }
}

/** What happens at once. */
export const raceCases: Case[] = [
  ...race("RN-07: of 50 parallel updates of one version exactly one succeeds", async (stores) => {
    const { id } = await createdIn(stores[0]);
    const update = (i: number) =>
      (stores[i % 2] as SessionStore).update(id, 1, { set: new Map([[`by-${i}`, String(i)]]) });
    const outcomes = await Promise.all(upTo(50).map(update));
    same([count(outcomes, "updated"), count(outcomes, "stale")], [1, 49], "how many were updated, and how many stale");
    const found = await stores[1].read(id);
    const winner = outcomes.indexOf("updated");
    same(found?.version, 2, "the version");
    same(found?.data, new Map([[`by-${winner}`, String(winner)]]), "the data");
  }),
  ...race("SC-05: of 50 parallel creates of one id exactly one succeeds", async (stores) => {
    const { id } = newRecord();
    const create = async (i: number) => {
      try {
        await (stores[i % 2] as SessionStore).create(newRecord({ id, userId: `user-${i}` }));
        return true;
      } catch {
        return false;
      }
    };
    const created = await Promise.all(upTo(50).map(create));
    same(count(created, true), 1, "how many were created");
    const winner = `user-${created.indexOf(true)}`;
    same((await stores[0].read(id))?.userId, winner, "the user of the record");
    for (const i of upTo(50)) {
      const listed = (await stores[1].listByUser(`user-${i}`)).length;
      same(listed, `user-${i}` === winner ? 1 : 0, `the sessions of user-${i}`);
    }
  }),
  ...race("RN-07: parallel writers that read and try again lose no increment", async (stores) => {
    const { id } = await createdIn(stores[0]);
    const writer = async (i: number) => {
      for (const _ of upTo(8)) check(await increment(stores[i % 2] as SessionStore, id), "the record is gone");
    };
    await Promise.all(upTo(10).map(writer));
    const found = await stores[0].read(id);
    same(found?.data.get("n"), "80", "the sum");
    same(found?.version, 81, "the version");
  }),
  ...race("RN-06: a record that is removed while others update and touch it stays removed", async (stores) => {
    for (const round of upTo(10)) {
      const { id } = await createdIn(stores[0], { userId: "ada" });
      const late = upTo(6).flatMap((i) => {
        const store = stores[i % 2] as SessionStore;
        return [increment(store, id), store.touch(id, NOW + i, NOW + i), store.update(id, 1, { userId: "ada" })];
      });
      const remover = stores[round % 2] as SessionStore;
      const removing = round % 3 === 0 ? remover.removeByUser("ada") : remover.remove(id);
      late.push(increment(stores[1], id), stores[0].touch(id, NOW + 99, NOW + 99));
      same(Number(await removing), 1, "the number removed");
      await Promise.all(late);
      for (const store of stores) {
        same(await store.read(id), undefined, "read");
        same(await store.listByUser("ada"), [], "the sessions of the user");
      }
    }
  }),
  ...race("of 20 parallel removals of one record exactly one tells that it removed it", async (stores) => {
    const { id } = await createdIn(stores[0], { userId: "ada" });
    const removals = await Promise.all(
      upTo(20).map((i) => (stores[i % 2] as SessionStore).remove(id, i % 3 === 0 ? "ada" : undefined)),
    );
    same(count(removals, true), 1, "how many removed it");
  }),
  ...race("touches and updates at once undo nothing of each other", async (stores) => {
    const { id } = await createdIn(stores[0]);
    const touches = upTo(20).map((i) =>
      (stores[i % 2] as SessionStore).touch(id, NOW + ((i * 7) % 20), NOW + ((i * 3) % 20)),
    );
    const increments = upTo(10).map((i) => increment(stores[i % 2] as SessionStore, id));
    same(count(await Promise.all(touches), true), 20, "touches that found the record");
    await Promise.all(increments);
    const found = await stores[0].read(id);
    same(
      [found?.data.get("n"), found?.version, found?.seenAt],
      ["10", 11, NOW + 19],
      "data, version and last activity",
    );
  }),
  ...race("CC-04: listByUser is complete after parallel creates, logins and removals", async (stores) => {
    const records = upTo(60).map((i) => newRecord(i % 2 === 0 ? { userId: "ada" } : {}));
    await Promise.all(
      records.map(async (record, i) => {
        const store = stores[i % 2] as SessionStore;
        await store.create(record);
        if (i % 2 === 1) await (stores[(i + 1) % 2] as SessionStore).update(record.id, 1, { userId: "ada" });
        if (i % 5 === 0) await store.remove(record.id);
        else await stores[0].listByUser("ada");
      }),
    );
    const expected = records.filter((_, i) => i % 5 !== 0).map(({ id }) => id);
    for (const store of stores) {
      const listed = (await store.listByUser("ada")).map(({ id }) => id);
      same(listed.sort(), expected.sort(), "ada's sessions");
    }
  }),
];
