import { minutes, seconds, systemClock } from "../../session/clock.ts";
import type { Revocation } from "../../session/revocation.ts";
import { newSessionId } from "../../session/token.ts";
import type { RevocationLog } from "../../stores/revocation-log.ts";
import type { SessionStore } from "../../stores/store.ts";
import { check, same } from "./checks.ts";
import { type Case, createdIn, NOW, needing, race, upTo } from "./scene.ts";

const until = NOW + minutes(10);
/** How long news may take. */
const PATIENCE = seconds(5);

const logOf = (store: SessionStore): RevocationLog => store.revocations as RevocationLog;

const ofSession = (changes: Partial<Extract<Revocation, { kind: "session" }>> = {}): Revocation => ({
  kind: "session",
  sessionId: newSessionId(),
  until,
  ...changes,
});

/** A store in memory answers at once, so that reading again and again would keep everything else from happening. */
const otherWork = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));

/** Follows a log as a process does. */
class Reader {
  readonly #log: RevocationLog;
  readonly #seen = new Set<string>();
  #cursor: string | undefined;

  constructor(store: SessionStore) {
    this.#log = logOf(store);
  }

  /** Reads on to the end; the number of entries that came. */
  async read(): Promise<number> {
    let count = 0;
    for (let more = true; more; ) {
      const page = await this.#log.read(this.#cursor);
      for (const entry of page.entries) this.#seen.add(written(entry));
      count += page.entries.length;
      check(!page.more || page.cursor !== this.#cursor, "a page with more to read has the cursor of the page before");
      this.#cursor = page.cursor;
      more = page.more;
    }
    return count;
  }

  missing(entries: readonly Revocation[]): Revocation[] {
    return entries.filter((entry) => !this.#seen.has(written(entry)));
  }

  get size(): number {
    return this.#seen.size;
  }
}

const written = (entry: Revocation): string =>
  JSON.stringify(Object.entries(entry).sort(([a], [b]) => (a < b ? -1 : 1)));

/** The log of revocations. */
export const revocationCases: Case[] = needing("revocations", [
  {
    name: "LO-09: revocations come back as they were added, whoever reads",
    async run({ store }) {
      same(await logOf(store).read(undefined), { entries: [], cursor: undefined, more: false }, "a new log");
      const entries: Revocation[] = [
        ofSession(),
        ofSession({ before: NOW }),
        { kind: "user", userId: "ada", before: NOW, until },
        { kind: "user", userId: "\"';-- \\u0000 \0 \ud800 é 😀", before: NOW + 1, except: newSessionId(), until },
        { kind: "user", userId: "x".repeat(256), before: NOW, until },
        { kind: "everyone", before: NOW, until },
      ];
      for (const entry of entries) await logOf(store).append(entry);
      const { entries: found } = await logOf(store).read(undefined);
      same(found, entries, "the entries");
    },
  },
  {
    name: "LO-09: who reads on gets what was added since, once it was added",
    async run({ store }) {
      const reader = new Reader(store);
      await reader.read();
      for (const _ of upTo(3)) {
        const entry = ofSession();
        await logOf(store).append(entry);
        await reader.read();
        same(reader.missing([entry]), [], "what the reader has not got");
        same(await reader.read(), 0, "the number of entries when there is nothing new");
      }
    },
  },
  {
    name: "LO-09: a long log is read to its end",
    async run({ store }) {
      const entries = upTo(250).map(() => ofSession());
      for (let i = 0; i < entries.length; i += 50)
        await Promise.all(entries.slice(i, i + 50).map((entry) => logOf(store).append(entry)));
      const reader = new Reader(store);
      await reader.read();
      same(reader.missing(entries).length, 0, "the number of entries that the reader has not got");
    },
  },
  ...race("LO-09: readers miss none of the revocations that many add at the same time", async ([one, other]) => {
    const readers = [new Reader(one), new Reader(other)];
    const added: Revocation[] = [];
    let adding = true;
    const write = async (store: SessionStore) => {
      for (const _ of upTo(12)) {
        const entry = ofSession();
        await logOf(store).append(entry);
        added.push(entry);
      }
    };
    const follow = async (reader: Reader) => {
      while (adding) {
        const before = [...added];
        await reader.read();
        same(reader.missing(before), [], "what had been added before the reader read on");
        await otherWork();
      }
    };
    const following = Promise.allSettled(readers.map(follow));
    await Promise.all(upTo(8).map((i) => write(i % 2 === 0 ? one : other)));
    adding = false;
    for (const followed of await following) if (followed.status === "rejected") throw followed.reason;
    for (const reader of readers) await reader.read();
    same(
      readers.map((reader) => reader.missing(added)),
      [[], []],
      "what is missing in the end",
    );
  }),
  {
    name: "SC-07: removeExpired of revocations removes what expires at or before the instant, at most as many as it is told",
    async run({ store }) {
      const log = logOf(store);
      same(await log.removeExpired(NOW, 10), 0, "removeExpired of a new log");
      const untils = [NOW + 1, NOW - 2, NOW, NOW + 2, NOW - 1];
      for (const each of untils) await log.append(ofSession({ until: each }));
      same(await log.removeExpired(NOW, 0), 0, "a limit of 0");
      same(await log.removeExpired(NOW, 2), 2, "a limit of 2");
      same(await log.removeExpired(NOW, 10), 1, "a limit above what has expired");
      const { entries } = await log.read(undefined);
      same(
        entries.map((entry) => entry.until),
        [NOW + 1, NOW + 2],
        "what is left",
      );
    },
  },
  {
    name: "LO-09: who reads on misses nothing when entries are removed",
    async run({ store }) {
      const log = logOf(store);
      const reader = new Reader(store);
      // All of them, the newest, the oldest.
      for (const untils of [[NOW], [until, NOW], [NOW, until]]) {
        for (const each of untils) await log.append(ofSession({ until: each }));
        await reader.read();
        await log.removeExpired(NOW, 10);
        const added = upTo(3).map(() => ofSession());
        for (const entry of added) await log.append(entry);
        await reader.read();
        same(reader.missing(added), [], "what the reader has not got");
      }
    },
  },
  {
    name: "LO-09: revocations are no sessions: who removes all of those leaves them",
    async run({ store }) {
      await createdIn(store);
      const entry = ofSession();
      await logOf(store).append(entry);
      same(await store.removeAll(), 1, "the number of sessions removed");
      for await (const record of store.all()) same(record.id, undefined, "a session");
      same((await logOf(store).read(undefined)).entries, [entry], "the entries");
    },
  },
  {
    name: "LO-09: a log that tells of news tells of what another store adds",
    needs: ["reopen"],
    async run({ store, reopen }) {
      const log = logOf(store);
      if (log.watch === undefined) return;
      const other = await reopen();
      let calls = 0;
      let heard = () => {};
      const unwatch = log.watch(() => {
        calls++;
        heard();
      });
      const next = () =>
        new Promise<void>((resolve, reject) => {
          const late = () => reject(new Error(`store conformance: no news within ${PATIENCE} ms`));
          const cancel = systemClock.schedule(late, PATIENCE);
          heard = () => {
            cancel();
            resolve();
          };
        });
      try {
        if (calls === 0) await next();
        const news = next();
        await logOf(other).append(ofSession());
        await news;
        same((await log.read(undefined)).entries.length, 1, "the number of entries");
      } finally {
        await unwatch();
      }
    },
  },
]);
