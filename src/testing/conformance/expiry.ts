import { minutes } from "../../session/clock.ts";
import { same } from "./checks.ts";
import { type Case, createdIn, NOW, needing, newRecord, race, upTo } from "./scene.ts";

/** Removing what has expired. */
export const expiryCases: Case[] = needing("removeExpired", [
  {
    name: "LT-04: removeExpired removes what expires at or before the instant, and nothing else",
    async run({ store }) {
      same(await store.removeExpired(NOW, 10), 0, "removeExpired of a new store");
      const before = await createdIn(store, { userId: "ada", expiresAt: NOW - 1 });
      await createdIn(store, { userId: "ada", expiresAt: NOW });
      const after = await createdIn(store, { userId: "ada", expiresAt: NOW + 1 });
      same(await store.removeExpired(NOW, 10), 2, "the number removed");
      same(await store.read(before.id), undefined, "the record that had expired");
      same(
        (await store.listByUser("ada")).map(({ id }) => id),
        [after.id],
        "ada's sessions",
      );
      same(await store.removeExpired(NOW, 10), 0, "removeExpired again");
    },
  },
  {
    name: "SC-07: removeExpired removes at most as many as it is told, the oldest first",
    async run({ store }) {
      // Neither in order of time nor of creation.
      const offsets = [7, 1, 9, 3, 5, 0, 8, 2, 6, 4];
      for (const offset of offsets) await createdIn(store, { expiresAt: NOW - minutes(10) + offset * minutes(1) });
      const left = async () => {
        const found: number[] = [];
        for await (const { expiresAt } of store.all()) found.push((expiresAt - NOW) / minutes(1) + 10);
        return found.sort((a, b) => a - b);
      };
      same(await store.removeExpired(NOW, 0), 0, "a limit of 0");
      same(await store.removeExpired(NOW, 3), 3, "a limit of 3");
      same(await left(), [3, 4, 5, 6, 7, 8, 9], "what is left");
      same(await store.removeExpired(NOW, 4), 4, "a limit of 4");
      same(await left(), [7, 8, 9], "what is left");
      same(await store.removeExpired(NOW, 100), 3, "a limit above what has expired");
    },
  },
  {
    name: "removeExpired leaves a record that was touched or updated past the instant",
    async run({ store }) {
      const touched = await createdIn(store, { expiresAt: NOW - 1 });
      const updated = await createdIn(store, { expiresAt: NOW - 1 });
      const shortened = await createdIn(store, { expiresAt: NOW + minutes(90) });
      await store.touch(touched.id, NOW, NOW + 1);
      await store.update(updated.id, 1, { expiresAt: NOW + 1 });
      await store.update(shortened.id, 1, { expiresAt: NOW });
      same(await store.removeExpired(NOW, 10), 1, "the number removed");
      same(await store.read(shortened.id), undefined, "the one whose deadline was brought nearer");
      same(await store.removeExpired(NOW + 1, 10), 2, "the number removed an instant later");
    },
  },
  ...race("removeExpired against touch and update: what they saved stays", async ([one, other]) => {
    const records = upTo(40).map(() => newRecord({ expiresAt: NOW - 1 }));
    await Promise.all(records.map((record) => one.create(record)));
    const saving = records.map(async ({ id }, i) =>
      i % 2 === 0 ? one.touch(id, NOW, NOW + 1) : (await one.update(id, 1, { expiresAt: NOW + 1 })) === "updated",
    );
    const removing = upTo(8).map(() => other.removeExpired(NOW, 5));
    const saved = await Promise.all(saving);
    const removed = (await Promise.all(removing)).reduce((sum, count) => sum + count, 0);
    const found = await Promise.all(records.map(async ({ id }) => (await one.read(id)) !== undefined));
    same(found, saved, "which records are there, and which were saved");
    same(removed, saved.filter((was) => !was).length, "the number removed");
  }),
]);
