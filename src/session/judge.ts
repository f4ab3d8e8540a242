import type { Opened } from "../strategies/strategy.ts";
import type { Duration } from "./clock.ts";
import { presentTexts, type SessionCore } from "./core.ts";
import { base64url, randomBytes } from "./crypto.ts";
import { CorruptRecordError, SessionEndedError } from "./errors.ts";
import type { SessionEventDetails, SessionEventType } from "./events.ts";
import { IN_FLIGHT } from "./lifetime.ts";
import type { Beginning } from "./unit-of-work.ts";

/** What a token is good for. */
export interface Judgement {
  readonly beginning: Beginning;
  /** Why the request may not write. */
  readonly refusal?: SessionEndedError;
}

/** Reports what was noticed about the token. */
export type Report = <Type extends SessionEventType>(
  type: Type,
  details: SessionEventDetails[Type],
  facts?: object,
) => void;

const ANONYMOUS: Judgement = { beginning: { kind: "anonymous" } };

/** The shortest pause before a lease that another process holds is asked for again; the longest is four times it. */
const LEASE_POLL: Duration = 4;

/**
 * What a well-formed token is good for, now. `leaseFor`: for how long to ask for, and to wait for, the session's lease.
 * `copied`: what is known of it already.
 */
export async function judge(
  core: SessionCore,
  text: string,
  report: Report,
  leaseFor: Duration | undefined,
  copied?: Opened,
): Promise<Judgement> {
  const { strategy, lifetime, clock } = core;
  try {
    const holder = leaseFor === undefined ? undefined : newHolder();
    const opened =
      holder === undefined || leaseFor === undefined
        ? (copied ?? (await strategy.open(text)))
        : await openLeased(core, text, report, { holder, leaseFor });
    switch (opened.outcome) {
      case "malformed":
        return ANONYMOUS;
      case "unknown":
        report("unknownToken", { reason: opened.reason });
        return ANONYMOUS;
    }
    const { outcome, record } = opened;
    const now = clock.now();
    const facts = { sessionId: record.id, ...(record.userId === undefined ? undefined : { userId: record.userId }) };
    const lease = record.lease?.holder === holder ? holder : undefined;
    // Who begins without the session must not keep its other requests waiting.
    const giveBack = () => {
      if (lease !== undefined) strategy.release(record, lease).catch(() => {});
    };
    if (record.meta.refresh !== undefined) {
      giveBack();
      report("unknownToken", { reason: "refresh-token" }, facts);
      return ANONYMOUS;
    }
    const reason = lifetime.expired(record, now);
    if (reason !== undefined) {
      giveBack();
      report("expired", { reason }, facts);
      return ANONYMOUS;
    }
    if (outcome === "current") {
      const texts = await presentTexts(core, record).catch((error) => {
        giveBack();
        throw error;
      });
      return { beginning: { kind: "stored", ...opened, texts, lease } };
    }
    // The grace of a periodic renewal is for reading only; a security rotation has none (row RN-04).
    const refusal = new SessionEndedError("rotated");
    if (now < (record.meta.previousUntil ?? 0))
      return { beginning: { kind: "stored", ...opened, texts: await presentTexts(core, record) }, refusal };
    const inFlight = now < record.meta.secretAt + IN_FLIGHT;
    report("secretReused", { reason: inFlight ? "in-flight" : "replayed" }, facts);
    // Were this a new visitor, their first write would overwrite the cookie that the rotation has just sent.
    if (!inFlight) return ANONYMOUS;
    const texts = await presentTexts(core, record);
    return { beginning: { kind: "superseded", record, texts, secret: opened.secret }, refusal };
  } catch (error) {
    if (!(error instanceof CorruptRecordError)) throw error;
    report("corruptRecord", {});
    return ANONYMOUS;
  }
}

let processName: string | undefined;
let holders = 0;

/** A name that no other request has, in any process. It is no secret. */
function newHolder(): string {
  processName ??= base64url(randomBytes(9));
  return `${processName}.${(holders++).toString(36)}`;
}

/** Opens a token with the session's lease, waiting while a request in another process has it. */
async function openLeased(
  { strategy, clock }: SessionCore,
  text: string,
  report: Report,
  { holder, leaseFor }: { readonly holder: string; readonly leaseFor: Duration },
): Promise<Opened> {
  const deadline = clock.now() + leaseFor;
  for (;;) {
    const now = clock.now();
    const opened = await strategy.open(text, { holder, now, until: now + leaseFor });
    const lease = opened.outcome === "current" ? opened.record.lease : undefined;
    if (lease === undefined || lease.holder === holder) return opened;
    if (clock.now() >= deadline) {
      report("turnTimedOut", {});
      return opened;
    }
    const pause = LEASE_POLL * (1 + ((randomBytes(1)[0] as number) % 4));
    await new Promise<void>((resolve) => clock.schedule(resolve, pause));
  }
}
