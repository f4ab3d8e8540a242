import type { Instant } from "../session/clock.ts";
import type { LeaseRequest, SessionPatch, SessionRecord } from "../session/record.ts";
import type { SessionId } from "../session/token.ts";
import type { RevocationLog } from "./revocation-log.ts";

export type { DeviceFacts, Lease, LeaseRequest, SessionMeta, SessionPatch, SessionRecord } from "../session/record.ts";
export { applyPatch, patchData } from "../session/record.ts";
export type { Revocation, RevocationLog, RevocationPage } from "./revocation-log.ts";

/**
 * The store contract. `storeConformance` in `coatcheck/testing` proves an implementation.
 *
 * Rules for every verb:
 * - A session that does not exist is an answer (`undefined`, `"missing"`, `false`, `0`), never an error.
 * - A promise that rejects means that the store failed and nothing is known about the write. The core turns it
 *   into `StoreUnavailableError`; a store need not wrap its driver's errors. The one exception is a stored record that
 *   cannot be understood: `read`, and `update` where it has to look, reject with `CorruptRecordError`; lists pass over it.
 * - A promise that resolves means that the write is as durable as the store promises to be.
 * - Deadlines are judged by the core with its own clock. A store hands out expired records like any other; its own
 *   time-to-live only collects garbage and may come late, never early.
 * - There is no upsert: what was removed stays removed.
 * - Instants are whole numbers of milliseconds.
 */
export interface SessionStore {
  /** Stores a new record. Rejects when a record with this id exists, and then changes nothing. */
  create(record: SessionRecord): Promise<void>;

  /**
   * The record with this id, expired or not. `undefined` when there is none.
   *
   * With `lease`, a store that grants leases does so in the same round trip, atomically: if `lease.secretHash` is the
   * record's and no other holder has the lease at `lease.now`, it goes to `lease.holder` until `lease.until`; so who
   * knows no more than the public id keeps nobody waiting. The record's `lease` tells who has it now. A store that grants
   * none ignores the wish and answers without `lease`.
   */
  read(id: SessionId, lease?: LeaseRequest): Promise<SessionRecord | undefined>;

  /** Gives a lease back that no update gave back. Only in stores that grant leases; harmless when it is not held. */
  release?(id: SessionId, holder: string): Promise<void>;

  /**
   * Applies a patch and raises the version by one, atomically, if the stored version is `version`.
   * `"stale"`: the record exists with another version; nothing changed. `"missing"`: there is no record; none is made.
   * A lease stays with its holder unless `patch.release` names that holder.
   */
  update(id: SessionId, version: number, patch: SessionPatch): Promise<"updated" | "stale" | "missing">;

  /**
   * Notes activity: raises `seenAt` and `expiresAt` to these values where they are later than the stored ones, and
   * leaves the version alone. Never creates, never shortens. `false` when there is no record.
   */
  touch(id: SessionId, seenAt: Instant, expiresAt: Instant): Promise<boolean>;

  /**
   * Removes the record; with `userId`, only if it belongs to that user, checked in the same step (row CC-04).
   * `false` when nothing was removed.
   */
  remove(id: SessionId, userId?: string): Promise<boolean>;

  /** All records of a user, in no particular order, expired ones included; complete for every write that has returned. */
  listByUser(userId: string): Promise<SessionRecord[]>;

  /** Removes all records of a user but `except`; the number removed. */
  removeByUser(userId: string, except?: SessionId): Promise<number>;

  /** Removes all records; the number removed. */
  removeAll(): Promise<number>;

  /**
   * Removes at most `limit` records with `expiresAt <= now`, oldest first; the number removed. A record that is
   * touched or updated past `now` at the same time is left alone. 0 means that there are no more for now; fewer than
   * `limit` does not, since a store may pass over records that are just in use.
   */
  removeExpired(now: Instant, limit: number): Promise<number>;

  /**
   * All records, expired ones included, in no particular order and a bounded number at a time: for operators and for
   * moving to another store. A record that is there from beginning to end of the walk comes at least once; one that is
   * created, changed or removed meanwhile may come or not. A corrupt record is passed over.
   */
  all(): AsyncIterable<SessionRecord>;

  /** Revocations, for what is checked without reading the store. A store may have none; then nothing of that kind works with it. */
  readonly revocations?: RevocationLog;

  /** Gives back what the store itself opened. A client or handle that was passed in stays open. */
  close?(): Promise<void>;
}
