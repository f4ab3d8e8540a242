import { type Duration, type Instant, seconds } from "coatcheck";
import { CLEAN_UP_CLAIM } from "../../src/session/clean-up.ts";
import type { SecretHash, SessionId } from "../../src/session/token.ts";
import {
  applyPatch,
  type LeaseRequest,
  type SessionPatch,
  type SessionRecord,
  type SessionStore,
} from "../../src/stores/store.ts";
import { counterOf, flashesOf, listOf, type Mark, marksOf, regOf } from "./marks.ts";
import type { Actor, Scheduler } from "./scheduler.ts";

/** A request, as far as the store's side of the rules is concerned. */
export interface Writer extends Actor {
  /** What it has written. */
  readonly marks: Mark[];
  /** Hashes of the secrets that it came with or has made itself. */
  readonly hashes: Set<SecretHash>;
  /** Sessions that it came with or has made. */
  readonly ids: Set<SessionId>;
  /** What the session's `reg` was when the handler first looked at it since the last commit; `null`: it did not. */
  regSeen: string | undefined | null;
  /** Messages that were taken out of the store on its behalf. */
  readonly taken: string[];
  taking: boolean;
  /** The record that its last read has given. */
  read: SessionRecord | undefined;
  /** The secret that it has put in force last. */
  rotated: { readonly id: SessionId; readonly hash: SecretHash } | undefined;
}

/** How long a verb may take before the core gives it up. */
export const STORE_TIMEOUT: Duration = seconds(2);

const isWriter = (actor: Actor): actor is Writer => "hashes" in actor;

/**
 * What the store must hold, kept beside the store under test: every verb that the store carries out is done here too, and
 * what may never happen is found at the moment it happens.
 */
export class ReferenceStore {
  readonly records = new Map<SessionId, SessionRecord>();
  /** Sessions that are no more, and why. */
  readonly ended = new Map<SessionId, string>();
  readonly violations: string[] = [];
  readonly #marks: ReadonlyMap<string, Mark>;
  readonly #takenOnce: ReadonlySet<string>;
  readonly #ids = new Set<SessionId>();
  /** Secrets of which nobody can know whether the client has them. */
  readonly doubtfulSecrets = new Set<SecretHash>();

  constructor(marks: ReadonlyMap<string, Mark>, takenOnce: ReadonlySet<string>) {
    this.#marks = marks;
    this.#takenOnce = takenOnce;
  }

  violated(text: string): void {
    this.violations.push(text);
  }

  create(record: SessionRecord, actor: Actor, carried: readonly Mark[]): void {
    if (this.#ids.has(record.id)) this.violated(`a session is made under an id that was used before: ${record.id}`);
    this.#ids.add(record.id);
    if (isWriter(actor)) {
      actor.ids.add(record.id);
      this.#rotated(actor, record.id, record.secretHash);
      for (const mark of carried) if (this.#counted(mark, record)) mark.appliedIn.add(record.id);
    }
    this.#put(undefined, record, actor);
  }

  update(
    id: SessionId,
    version: number,
    patch: SessionPatch,
    outcome: "updated" | "stale" | "missing",
    call: { readonly actor: Actor; readonly carried: readonly Mark[]; readonly at: Instant },
  ): void {
    const before = this.records.get(id);
    const expected = before === undefined ? "missing" : before.version === version ? "updated" : "stale";
    if (outcome !== expected) this.violated(`update of ${id} answered ${outcome}, which should be ${expected}`);
    if (before === undefined || outcome !== "updated") return;
    const after = applyPatch(before, patch);
    const { actor, carried } = call;
    if (isWriter(actor)) {
      this.#assertEntitled(before, actor, call.at);
      for (const place of ["n", "m"] as const) this.#count(place, before, after, carried, actor);
      // What a login that was not awaited has saved of this request's own is no secret to it.
      const seen =
        actor.regSeen === null || [actor.regSeen, ...actor.marks.map(({ name }) => name)].includes(regOf(before));
      if (after.data.get("reg") !== before.data.get("reg") && !seen)
        this.violated(`${actor.name} overwrote reg = ${regOf(before)}, having seen ${actor.regSeen}`);
      const removed = flashesOf(before).filter((name) => !flashesOf(after).includes(name));
      if (removed.length > 0 && !actor.taking && !actor.faulted)
        this.violated(`${actor.name} lost messages: ${removed}`);
      actor.taken.push(...removed);
      if (patch.secretHash !== undefined) this.#rotated(actor, id, patch.secretHash);
    }
    for (const place of ["log", "list"] as const) {
      const lost = listOf(before, place).filter((name) => !listOf(after, place).includes(name));
      if (lost.length > 0) this.violated(`${actor.name} lost ${lost} of ${place} in ${id}`);
    }
    this.#put(before, after, actor);
  }

  touch(id: SessionId, seenAt: Instant, expiresAt: Instant, found: boolean): void {
    const record = this.records.get(id);
    if (found !== (record !== undefined)) this.violated(`touch of ${id} answered ${found}`);
    if (record === undefined) return;
    this.records.set(id, {
      ...record,
      seenAt: Math.max(record.seenAt, seenAt),
      expiresAt: Math.max(record.expiresAt, expiresAt),
    });
  }

  remove(id: SessionId, userId: string | undefined, removed: boolean, actor: Actor): void {
    const record = this.records.get(id);
    const should = record !== undefined && (userId === undefined || record.userId === userId);
    if (removed !== should) this.violated(`remove of ${id} answered ${removed}`);
    if (userId === undefined && isWriter(actor) && !actor.ids.has(id))
      this.violated(`${actor.name} ended a session that was not its own: ${id}`);
    if (should) this.#end(id, `removed by ${actor.name}`);
  }

  removeWhere(condition: (record: SessionRecord) => boolean, count: number | undefined, why: string): void {
    const gone = [...this.records.values()].filter(condition);
    if (count !== undefined && gone.length !== count)
      this.violated(`${why} removed ${count} records, which should be ${gone.length}`);
    for (const { id } of gone) this.#end(id, why);
  }

  #rotated(actor: Writer, id: SessionId, hash: SecretHash): void {
    actor.hashes.add(hash);
    actor.rotated = { id, hash };
    // A write that was given up can still arrive.
    if (actor.faulted) this.doubtfulSecrets.add(hash);
  }

  #end(id: SessionId, why: string): void {
    this.records.delete(id);
    this.ended.set(id, why);
  }

  #put(before: SessionRecord | undefined, after: SessionRecord, actor: Actor): void {
    this.records.set(after.id, after);
    const known = new Set(before === undefined ? [] : marksOf(before));
    const seen = new Set<string>();
    for (const name of marksOf(after)) {
      if (seen.has(name)) this.violated(`${name} is in ${after.id} twice`);
      seen.add(name);
      const mark = this.#marks.get(name) as Mark;
      // A login whose outcome nobody knows may have taken what its visitor still has, and saves elsewhere.
      if (mark.by === actor && mark.anonymous && !mark.acknowledged && mark.appliedIn.size > 0) mark.owner = undefined;
      // What one user had must not come to another, nor to a visitor whom nobody knows.
      if (mark.owner !== undefined && mark.owner !== after.userId)
        this.violated(`${name} of ${mark.owner} came to ${after.userId ?? "an anonymous visitor"}`);
      if (known.has(name)) continue;
      if (mark.appliedIn.size === 0) mark.owner ??= after.userId;
      mark.appliedIn.add(after.id);
      if (this.#takenOnce.has(name) && !mark.doubtful) this.violated(`the message ${name} is back`);
    }
  }

  /** A counter grows by what this request has added to it since its last write, no more and no less. */
  #count(place: "n" | "m", before: SessionRecord, after: SessionRecord, carried: readonly Mark[], actor: Actor): void {
    const grown = counterOf(after, place) - counterOf(before, place);
    const added = carried.filter((mark) => mark.place === place && !mark.appliedIn.has(after.id));
    if (grown === 0 && after.data.get(place) === before.data.get(place)) return;
    const least = added.filter((mark) => !mark.mayVanish).length;
    if (grown < least || grown > added.length)
      this.violated(`${actor.name} added ${added.length} to ${place} in ${after.id}, and it grew by ${grown}`);
    for (const mark of added) mark.appliedIn.add(after.id);
  }

  #counted(mark: Mark, record: SessionRecord): boolean {
    return (mark.place === "n" || mark.place === "m") && counterOf(record, mark.place) > 0;
  }

  /** The secret in force is one that this request knows; or it was, and only a periodic renewal has changed it since. */
  #assertEntitled(record: SessionRecord, actor: Writer, at: Instant): void {
    if (actor.hashes.has(record.secretHash)) return;
    const { previousSecretHash, previousUntil = 0 } = record.meta;
    if (previousSecretHash !== undefined && actor.hashes.has(previousSecretHash) && at < previousUntil) return;
    this.violated(`${actor.name} wrote to ${record.id} with a secret that was not in force`);
  }
}

/** A store whose verbs begin and end when the scheduler says so, and whose effects are checked. */
export class ScheduledStore implements SessionStore {
  readonly #store: SessionStore;
  readonly #reference: ReferenceStore;
  readonly #scheduler: Scheduler;
  readonly #now: () => Instant;
  readonly release?: (id: SessionId, holder: string) => Promise<void>;

  constructor(store: SessionStore, reference: ReferenceStore, scheduler: Scheduler, now: () => Instant) {
    this.#store = store;
    this.#reference = reference;
    this.#scheduler = scheduler;
    this.#now = now;
    if (store.release !== undefined)
      this.release = (id, holder) => this.#perform("release", async () => store.release?.(id, holder));
  }

  create(record: SessionRecord): Promise<void> {
    const { actor } = this.#scheduler;
    const carried = this.#carried();
    return this.#perform(`create ${record.id}`, async () => {
      await this.#store.create(record);
      if (record.id !== CLEAN_UP_CLAIM) this.#reference.create(record, actor, carried);
    });
  }

  read(id: SessionId, lease?: LeaseRequest): Promise<SessionRecord | undefined> {
    const { actor } = this.#scheduler;
    return this.#perform(`read ${id}`, async () => {
      const record = await this.#store.read(id, lease);
      if (isWriter(actor)) actor.read = record;
      return record;
    });
  }

  update(id: SessionId, version: number, patch: SessionPatch): Promise<"updated" | "stale" | "missing"> {
    const call = { actor: this.#scheduler.actor, carried: this.#carried(), at: this.#now() };
    return this.#perform(`update ${id} at version ${version}`, async () => {
      const outcome = await this.#store.update(id, version, patch);
      if (id !== CLEAN_UP_CLAIM) this.#reference.update(id, version, patch, outcome, call);
      return outcome;
    });
  }

  touch(id: SessionId, seenAt: Instant, expiresAt: Instant): Promise<boolean> {
    return this.#perform(`touch ${id}`, async () => {
      const found = await this.#store.touch(id, seenAt, expiresAt);
      this.#reference.touch(id, seenAt, expiresAt, found);
      return found;
    });
  }

  remove(id: SessionId, userId?: string): Promise<boolean> {
    const { actor } = this.#scheduler;
    return this.#perform(`remove ${id}`, async () => {
      const removed = await this.#store.remove(id, userId);
      if (id !== CLEAN_UP_CLAIM) this.#reference.remove(id, userId, removed, actor);
      return removed;
    });
  }

  listByUser(userId: string): Promise<SessionRecord[]> {
    return this.#perform(`listByUser ${userId}`, async () => {
      const records = await this.#store.listByUser(userId);
      const expected = [...this.#reference.records.values()].filter((record) => record.userId === userId);
      if (records.length !== expected.length)
        this.#reference.violated(`${userId} has ${expected.length} sessions, and the list shows ${records.length}`);
      return records;
    });
  }

  removeByUser(userId: string, except?: SessionId): Promise<number> {
    return this.#perform(`removeByUser ${userId}`, async () => {
      const count = await this.#store.removeByUser(userId, except);
      this.#reference.removeWhere((record) => record.userId === userId && record.id !== except, count, "revokeAll");
      return count;
    });
  }

  removeAll(): Promise<number> {
    return this.#perform("removeAll", async () => {
      const count = await this.#store.removeAll();
      // The claim of the clean-up may be among them.
      this.#reference.removeWhere(() => true, undefined, "revokeEveryone");
      return count;
    });
  }

  removeExpired(now: Instant, limit: number): Promise<number> {
    return this.#perform("removeExpired", async () => {
      const count = await this.#store.removeExpired(now, limit);
      this.#reference.removeWhere((record) => record.expiresAt <= now, undefined, "clean-up");
      return count;
    });
  }

  all(): AsyncIterable<SessionRecord> {
    return this.#store.all();
  }

  /** What the request has written, as it stands when a verb is called. */
  #carried(): readonly Mark[] {
    const { actor } = this.#scheduler;
    return isWriter(actor) ? actor.marks.filter((mark) => !mark.acknowledged && !mark.dropped) : [];
  }

  async #perform<Result>(label: string, carryOut: () => Promise<Result>): Promise<Result> {
    const done = this.#scheduler.impatient(STORE_TIMEOUT - 1);
    const fault = await this.#scheduler.gate(`${label} begins`, true);
    if (fault === "fail") throw new Error("the store failed before it wrote");
    const result = await this.#scheduler.alone(carryOut);
    await this.#scheduler.gate(`${label} ends`);
    done();
    if (fault === "lost") throw new Error("the answer of the store was lost");
    return result;
  }
}
