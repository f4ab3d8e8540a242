import { CLEAN_UP_CLAIM } from "../session/clean-up.ts";
import type { Clock, Instant } from "../session/clock.ts";
import { utf8Length } from "../session/data.ts";
import { SessionEvents } from "../session/events.ts";
import { MAX_ABSOLUTE } from "../session/lifetime.ts";
import { RevocationWriter } from "../session/revocation-writer.ts";
import { parseSessionId } from "../session/token.ts";
import type { SessionRecord, SessionStore } from "../stores/store.ts";

/** Where a command speaks to. */
export interface Output {
  /** A line of the answer. */
  readonly out: (line: string) => void;
  /** A line about how far a long work has come; may go nowhere. */
  readonly progress: (line: string) => void;
}

export interface Job {
  readonly store: SessionStore;
  readonly clock: Clock;
  readonly output: Output;
  readonly json: boolean;
}

const BATCH = 500;

/** Sessions, of one user or of all. */
export async function list(job: Job, filter: { userId: string | undefined; limit: number }): Promise<number> {
  const shown: SessionRecord[] = [];
  const source = filter.userId === undefined ? sessionsOf(job.store) : await job.store.listByUser(filter.userId);
  for await (const record of source) {
    // A mark of an upgrade is no session.
    if (record.meta.upgradedTo !== undefined) continue;
    shown.push(record);
    if (shown.length >= filter.limit) break;
  }
  if (job.json) {
    job.output.out(JSON.stringify(shown.map((record) => summary(record, job.clock.now()))));
    return 0;
  }
  for (const record of shown) {
    const { id, userId = "-", state, seenAt, expiresAt } = summary(record, job.clock.now());
    job.output.out([id, state.padEnd(7), printed(userId), `seen ${seenAt}`, `until ${expiresAt}`].join("  "));
  }
  job.output.out(shown.length === 0 ? "no sessions" : `${shown.length} shown`);
  return 0;
}

/** One session: all but secrets and the values of its data. */
export async function show(job: Job, text: string): Promise<number> {
  const id = parseSessionId(text);
  const record = id === undefined ? undefined : await job.store.read(id);
  if (record === undefined) {
    job.output.out(job.json ? "null" : "no such session");
    return 1;
  }
  const keys = Object.fromEntries([...record.data].map(([key, value]) => [printed(key), utf8Length(value)]));
  const facts = {
    ...summary(record, job.clock.now()),
    version: record.version,
    methods: record.meta.methods ?? [],
    remembered: record.meta.remember ?? false,
    device: record.meta.device ?? {},
    dataBytes: keys,
  };
  if (job.json) job.output.out(JSON.stringify(facts));
  else
    for (const [name, value] of Object.entries(facts))
      job.output.out(
        `${name.padEnd(16)}${typeof value === "object" ? visible(JSON.stringify(value)) : printed(String(value))}`,
      );
  return 0;
}

export interface RevokeOptions {
  readonly id: string | undefined;
  readonly userId: string | undefined;
  readonly all: boolean;
  readonly yes: boolean;
  readonly ask: ((question: string) => Promise<boolean>) | undefined;
}

/**
 * Ends one session, those of a user, or all of them, with their access tokens, sealed cookies and snapshots; asks first when it
 * is more than one.
 */
export async function revoke(job: Job, { id, userId, all, yes, ask }: RevokeOptions): Promise<number> {
  const chosen = [id !== undefined, userId !== undefined, all].filter(Boolean).length;
  if (chosen !== 1) throw new TypeError("revoke takes one of: an id, --user ID, --all");
  const { store, output } = job;
  const agreed = async (what: string) => {
    if (yes) return true;
    if (ask === undefined) throw new TypeError(`this ends ${what}; say --yes, since nobody can be asked`);
    return ask(`End ${what}?`);
  };
  // How long the application's copies of sessions live is not known here.
  const lifetime = store.revocations === undefined ? undefined : { lifetime: MAX_ABSOLUTE };
  const revocations = new RevocationWriter(store.revocations, job.clock, new SessionEvents(), lifetime);
  let count = 0;
  if (id !== undefined) {
    const parsed = parseSessionId(id);
    if (parsed !== undefined) {
      await revocations.sessionEnds(parsed);
      count = (await store.remove(parsed)) ? 1 : 0;
    }
  } else if (userId !== undefined) {
    const records = await store.listByUser(userId);
    if (records.length > 1 && !(await agreed(`${records.length} sessions of ${printed(userId)}`))) return 1;
    count = await revocations.userEnds(userId, undefined, () => store.removeByUser(userId));
  } else {
    if (!(await agreed("every session of everybody"))) return 1;
    await store.remove(CLEAN_UP_CLAIM);
    count = await revocations.everyoneEnds(() => store.removeAll());
  }
  output.out(job.json ? JSON.stringify({ revoked: count }) : `${count} ended`);
  return count === 0 && id !== undefined ? 1 : 0;
}

/** Removes expired records, in batches. */
export async function prune(job: Job): Promise<number> {
  const now = job.clock.now();
  let count = 0;
  for (;;) {
    const removed = await job.store.removeExpired(now, BATCH);
    count += removed;
    if (removed === 0) break;
    job.output.progress(`${count} removed`);
  }
  job.output.out(job.json ? JSON.stringify({ removed: count }) : `${count} removed`);
  return 0;
}

/** How many sessions there are, how old and how large. */
export async function stats(job: Job): Promise<number> {
  const now = job.clock.now();
  const users = new Set<string>();
  const sum = { sessions: 0, expired: 0, signedIn: 0, dataBytes: 0 };
  let oldest: Instant | undefined;
  for await (const record of sessionsOf(job.store)) {
    if (record.meta.upgradedTo !== undefined) continue;
    sum.sessions++;
    if (record.expiresAt <= now) sum.expired++;
    if (record.userId !== undefined) {
      sum.signedIn++;
      users.add(record.userId);
    }
    for (const [key, text] of record.data) sum.dataBytes += utf8Length(key) + utf8Length(text);
    oldest = Math.min(oldest ?? record.createdAt, record.createdAt);
    if (sum.sessions % 10_000 === 0) job.output.progress(`${sum.sessions} counted`);
  }
  const facts = {
    sessions: sum.sessions,
    live: sum.sessions - sum.expired,
    expired: sum.expired,
    signedIn: sum.signedIn,
    users: users.size,
    dataBytesOnAverage: sum.sessions === 0 ? 0 : Math.round(sum.dataBytes / sum.sessions),
    oldest: oldest === undefined ? null : time(oldest),
  };
  if (job.json) job.output.out(JSON.stringify(facts));
  else for (const [name, value] of Object.entries(facts)) job.output.out(`${name.padEnd(20)}${value ?? "-"}`);
  return 0;
}

/** All records but the library's own. */
export async function* sessionsOf(store: SessionStore): AsyncIterable<SessionRecord> {
  for await (const record of store.all()) if (record.id !== CLEAN_UP_CLAIM) yield record;
}

function summary(record: SessionRecord, now: Instant) {
  return {
    id: record.id,
    userId: record.userId,
    state: record.expiresAt <= now ? ("expired" as const) : ("live" as const),
    createdAt: time(record.createdAt),
    seenAt: time(record.seenAt),
    expiresAt: time(record.expiresAt),
  };
}

const time = (instant: Instant): string => new Date(instant).toISOString();

/** Text of users must not steer an operator's terminal, nor turn the line around. */
const printed = (text: string): string => visible(JSON.stringify(text).slice(1, -1));

/** Controls that JSON leaves as they are: DEL, C1, marks of direction, and others that cannot be seen. */
const visible = (json: string): string =>
  json.replace(/[\p{Cc}\p{Cf}]/gu, (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`);
