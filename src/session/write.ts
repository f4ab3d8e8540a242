import type { Updated } from "../strategies/strategy.ts";
import type { Instant } from "./clock.ts";
import { presentTexts, type SessionCore } from "./core.ts";
import { SessionConflictError, StoreUnavailableError } from "./errors.ts";
import { checkedFlashes } from "./flashes.ts";
import { applyPatch, type SessionMeta, type SessionRecord } from "./record.ts";
import { copyOf } from "./revocation.ts";
import { hashSecret, newSecret, newSessionId, type SecretHash, type SessionSecret, sameHash } from "./token.ts";
import { type Change, everything, type Keep, type Texts, type UnitOfWork } from "./unit-of-work.ts";
import { endOld } from "./upgrade.ts";

/** How often a write is tried again when other requests keep being first. */
const ATTEMPTS = 32;

/** A session for a user who could not be given the one that the request came with. */
export interface NewLogin {
  readonly userId: string;
  readonly meta: Partial<SessionMeta>;
  /** Which keys the user takes along. */
  readonly keep: Keep;
  /** Texts that lie under those. */
  readonly under: Texts;
  /** Whether this request's flash messages go along: not those for another user. */
  readonly flashes: boolean;
}

/** Stores a new record and goes on as its session. When that fails, the session is as it was. */
export async function create(work: UnitOfWork, operation: string, login?: NewLogin): Promise<void> {
  work.assertCanSend(operation);
  const { clock, lifetime, revocations, schema, strategy } = work.core;
  const id = login === undefined ? work.id : newSessionId();
  const secret = (login === undefined ? work.secret : undefined) ?? newSecret();
  const secretHash = await hashSecret(secret);
  const now = clock.now();
  const keep = login?.keep ?? everything;
  const flashed = work.flashes.length;
  const flashes = login?.flashes === false ? [] : work.flashes.slice();
  const meta: SessionMeta = {
    secretAt: revocations.secretAt(login?.userId),
    device: work.connection.device,
    ...login?.meta,
    ...(flashes.length === 0 ? undefined : { flashes: checkedFlashes(flashes) }),
    ...(schema.version === 0 ? undefined : { dataVersion: schema.version }),
  };
  const record: SessionRecord = {
    id,
    secretHash,
    version: 1,
    createdAt: now,
    seenAt: now,
    expiresAt: lifetime.deadline({ createdAt: now, meta }, now),
    ...(login === undefined ? undefined : { userId: login.userId }),
    meta,
    data: work.data.texts(keep, login?.under),
  };
  let token: string;
  try {
    token = await strategy.create(record, secret);
  } catch (error) {
    // The record may exist after all: never try the same id twice.
    if (login === undefined) work.forgetToken();
    throw error;
  }
  work.become(record, secret);
  work.recordAt = now;
  work.flashes = login?.flashes === false ? [] : work.flashes.slice(flashed);
  work.data.moveTo(record.data, keep);
  work.send(token);
  work.emit("created", {});
}

/**
 * Gives the session another secret, together with this request's changes and those of `change`, and hands it to the
 * client. With `graceUntil`, the periodic kind: the old secret may read until then. `false` when there was nothing to do.
 */
export async function rotate(
  work: UnitOfWork,
  operation: string,
  change?: (meta: SessionMeta, now: Instant) => { readonly userId?: string; readonly meta: Partial<SessionMeta> },
  graceUntil?: Instant,
): Promise<boolean> {
  work.assertCanSend(operation);
  await endOld(work);
  const secret = newSecret();
  const secretHash = await hashSecret(secret);
  const { clock, lifetime, revocations } = work.core;
  const make = (record: SessionRecord, texts: Texts): Change | undefined => {
    const now = clock.now();
    // Another request has renewed it already.
    if (graceUntil !== undefined && !lifetime.renewalDue(record, now)) return undefined;
    const changes = work.changes(record, texts);
    const { previousUntil: _, upgradedFrom: __, ...meta } = changes?.patch.meta ?? record.meta;
    const changed = change?.(meta, now);
    const userId = changed?.userId ?? record.userId;
    const rotated: SessionMeta = {
      ...meta,
      ...changed?.meta,
      secretAt: revocations.secretAt(userId, record.meta.secretAt),
      previousSecretHash: record.secretHash,
      ...(graceUntil === undefined ? undefined : { previousUntil: graceUntil }),
    };
    const expiresAt = lifetime.deadline({ createdAt: record.createdAt, meta: rotated }, now);
    return { ...changes, patch: { ...changes?.patch, userId, meta: rotated, secretHash, seenAt: now, expiresAt } };
  };
  return update(work, make, { secret, secretHash, forSecurity: graceUntil === undefined });
}

/**
 * Writes what `make` answers, whatever other requests do meanwhile: when one was first, `make` is asked again about
 * the newer record. Never writes to a session that has ended or whose secret was changed for security. `false` when
 * there was nothing to write.
 */
export async function update(
  work: UnitOfWork,
  make: (record: SessionRecord, texts: Texts) => Change | undefined,
  rotated?: { readonly secret: SessionSecret; readonly secretHash: SecretHash; readonly forSecurity: boolean },
): Promise<boolean> {
  if (work.refusal !== undefined) throw work.refused(work.refusal);
  const { clock, lifetime, revocations, strategy } = work.core;
  const secret = rotated?.secret ?? (work.secret as SessionSecret);
  let record = work.record as SessionRecord;
  // A slow handler: perhaps another request has kept the session alive.
  if (lifetime.expired(record, clock.now()) !== undefined) record = await reread(work, record);
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    if (work.doubt !== undefined && work.doubt.version !== record.version) throw work.doubt.error;
    if (lifetime.expired(record, clock.now()) !== undefined) throw work.late("expired");
    if (!isEntitledTo(work, record)) throw work.late("rotated");
    const texts = await presentTexts(work.core, record);
    if (record !== work.record) work.rebase(record, texts);
    let change: Change | undefined;
    try {
      change = make(record, texts);
    } catch (error) {
      throw reported(work, error);
    }
    if (change === undefined) return false;
    const { patch } = change;
    if (strategy.writesToClient(record)) work.assertCanSend("A change of a sealed session");
    if (rotated?.forSecurity && patch.meta !== undefined) {
      if (revocations.isRevoked(copyOf(record))) throw work.late("gone");
      await revocations.sessionRotates(record.id, patch.meta.secretAt);
    }
    const begun = clock.now();
    const updated = await undoubted(work, record, () => strategy.update(record, patch, secret));
    if (updated.outcome === "missing") throw work.late("gone");
    if (updated.outcome === "updated") {
      work.adopt(applyPatch(record, patch), change);
      work.recordAt = begun;
      work.secret = secret;
      if (rotated !== undefined) work.secretHash = rotated.secretHash;
      if (updated.token !== undefined) work.send(updated.token);
      return true;
    }
    record = await reread(work, record);
  }
  throw reported(work, new SessionConflictError([]));
}

/** Ends a session: copies of it die first, then the record. */
export async function end(core: SessionCore, record: SessionRecord): Promise<void> {
  await core.revocations.sessionEnds(record.id);
  await core.strategy.remove(record);
}

async function reread(work: UnitOfWork, record: SessionRecord): Promise<SessionRecord> {
  const fresh = await work.core.strategy.reread(record);
  if (fresh === undefined) throw work.late("gone");
  return fresh;
}

/** Whether the secret that this request came with still counts: nothing but a periodic renewal may have changed it. */
function isEntitledTo(work: UnitOfWork, record: SessionRecord): boolean {
  const ours = work.secretHash as SecretHash;
  if (sameHash(record.secretHash, ours)) return true;
  const { previousSecretHash, previousUntil = 0 } = record.meta;
  return (
    previousSecretHash !== undefined && sameHash(previousSecretHash, ours) && work.core.clock.now() < previousUntil
  );
}

/**
 * An update whose answer is lost may have been made. It can be tried again on the same version, where it succeeds only
 * if it was not; on any later one it might be made twice.
 */
async function undoubted(work: UnitOfWork, record: SessionRecord, write: () => Promise<Updated>): Promise<Updated> {
  try {
    const updated = await write();
    if (updated.outcome === "updated") work.doubt = undefined;
    return updated;
  } catch (error) {
    if (error instanceof StoreUnavailableError) work.doubt = { version: record.version, error };
    throw error;
  }
}

function reported(work: UnitOfWork, error: unknown): unknown {
  if (error instanceof SessionConflictError) work.emit("conflict", { keys: error.keys });
  return error;
}
