import { SessionEndedError, StoreUnavailableError } from "./errors.ts";
import { IN_FLIGHT } from "./lifetime.ts";
import type { SessionRecord } from "./record.ts";
import type { SessionSecret } from "./token.ts";
import type { UnitOfWork } from "./unit-of-work.ts";
import { create, rotate, update } from "./write.ts";

/** How a commit has to go about it. */
type State =
  /** Nothing changed: no write, no Set-Cookie. */
  | "untouched"
  /** Only the last activity is due to be written down, or the client to be brought up to date. */
  | "touched"
  /** The data of an existing session changed. */
  | "changed"
  /** The client needs another token: the session is new, or its secret is due to be renewed. */
  | "replaced"
  /** The session was ended, which is written already; the client is told to forget its token. */
  | "destroyed";

function stateOf(work: UnitOfWork): State {
  const { changed } = work;
  if (work.record === undefined) {
    if (changed || work.needed) return "replaced";
    return work.outgoing === "clear" ? "destroyed" : "untouched";
  }
  if (changed) return "changed";
  if (work.passive || work.upkeepDone || work.refusal !== undefined) return "untouched";
  if (renewalDue(work)) return "replaced";
  // Too late to tell the client, and not worth an error.
  if (work.headSent && work.core.strategy.writesToClient(work.record)) return "untouched";
  return work.outdated || work.core.lifetime.touchDue(work.record, work.core.clock.now()) ? "touched" : "untouched";
}

/** Whether `commit` has anything to do. */
export function needsCommit(work: UnitOfWork): boolean {
  const state = stateOf(work);
  return state !== "untouched" && state !== "destroyed";
}

/** Saves what changed. `release`: the holder whose lease is given back with the same write. */
export async function commit(work: UnitOfWork, release?: string): Promise<void> {
  const state = stateOf(work);
  switch (state) {
    case "untouched":
    case "destroyed":
      return;
    case "touched":
      return touch(work);
    case "changed":
      await save(work, release);
      if (renewalDue(work)) await renewPeriodically(work);
      return;
    case "replaced":
      if (work.record !== undefined) return renewPeriodically(work);
      if (work.refusal !== undefined) throw work.refused(work.refusal);
      return create(work, "commit");
    default:
      return state satisfies never;
  }
}

/** Writes the last activity down. */
export async function touch(work: UnitOfWork): Promise<void> {
  work.upkeepDone = true;
  const { clock, lifetime, strategy } = work.core;
  const record = work.record as SessionRecord;
  const now = clock.now();
  // A slow handler: what has ended meanwhile stays ended.
  if (lifetime.expired(record, now) !== undefined) return;
  try {
    const expiresAt = lifetime.deadline(record, now);
    const token = await strategy.touch(record, now, expiresAt, work.secret as SessionSecret);
    work.record = { ...record, seenAt: now, expiresAt };
    if (token !== undefined) work.send(token);
  } catch (error) {
    // Nothing of the visitor's is lost, so the answer need not fail; the guard has reported it.
    if (!(error instanceof StoreUnavailableError)) throw error;
  }
}

async function save(work: UnitOfWork, release: string | undefined): Promise<void> {
  const saved = await update(work, (record, texts) => {
    const change = work.changes(record, texts);
    if (release === undefined || change === undefined) return change;
    return { ...change, patch: { ...change.patch, release } };
  });
  if (saved && release !== undefined) work.lease = undefined;
}

function renewalDue(work: UnitOfWork): boolean {
  if (work.record === undefined || work.headSent || work.passive || work.refusal !== undefined) return false;
  // Else a client that does not get the answer would be left with neither token nor old cookie.
  if (work.unconfirmed) return false;
  return !work.upkeepDone && work.core.lifetime.renewalDue(work.record, work.core.clock.now());
}

/** The secret is old enough to be changed. Of concurrent requests one wins, and the others need do nothing. */
async function renewPeriodically(work: UnitOfWork): Promise<void> {
  work.upkeepDone = true;
  try {
    const rotated = await rotate(work, "renew", undefined, work.core.clock.now() + IN_FLIGHT);
    if (rotated) work.emit("renewed", { reason: "periodic" });
  } catch (error) {
    if (!(error instanceof SessionEndedError || error instanceof StoreUnavailableError)) throw error;
  }
}
