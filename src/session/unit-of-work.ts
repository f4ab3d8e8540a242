import type { Duration, Instant } from "./clock.ts";
import type { Connection } from "./connection.ts";
import { patchAgainst, type SessionCore } from "./core.ts";
import { SessionData } from "./data.ts";
import { type CoatcheckError, HeadersSentError, SessionEndedError, type StoreUnavailableError } from "./errors.ts";
import type { SessionEvent, SessionEventDetails, SessionEventType } from "./events.ts";
import { checkedFlashes } from "./flashes.ts";
import { type Flash, patchData, type SessionMeta, type SessionPatch, type SessionRecord } from "./record.ts";
import { newSessionId, type SecretHash, type SessionId, type SessionSecret } from "./token.ts";
import type { NamedCookie } from "./transport.ts";

/** What the response has to tell the client about its token. */
export type Outgoing = { readonly token: string; readonly lifetime: Duration | undefined } | "clear" | undefined;

export type Texts = ReadonlyMap<string, string>;

/** What a session begins with, as `sessions.open` judged the token. */
export type Beginning =
  | { readonly kind: "anonymous" }
  | {
      readonly kind: "stored";
      readonly record: SessionRecord;
      readonly texts: Texts;
      readonly secret: SessionSecret;
      readonly secretHash: SecretHash;
      /** Whether the client's token holds an older state than the record. */
      readonly outdated?: boolean;
      /** The holder under which this request has the session's lease. */
      readonly lease?: string | undefined;
    }
  /** The token was rotated out a moment ago, so another request of this visitor holds the session. */
  | {
      readonly kind: "superseded";
      readonly record: SessionRecord;
      readonly texts: Texts;
      /** The rotated-out one. */
      readonly secret: SessionSecret;
    };

/** What one write amounts to. */
export interface Change {
  readonly patch: SessionPatch;
  /** The data's texts afterwards, when this request's changes of them are part of the patch. */
  readonly texts?: Texts;
  /** How many of this request's flash messages are. */
  readonly flashes?: number;
}

/** Which keys stay. */
export type Keep = (key: string) => boolean;

export const everything: Keep = () => true;
export const nothing: Keep = () => false;
export const NO_TEXTS: Texts = new Map();

/**
 * One session as one request works on it: what was read, what the request has changed, what the client is to be told.
 * How it is written is in `commit.ts`, `write.ts` and `login.ts`.
 */
export class UnitOfWork {
  readonly core: SessionCore;
  readonly connection: Connection;
  readonly passive: boolean;
  /** What the session is in the store, as far as this request knows; `undefined` for one that was never stored. */
  record: SessionRecord | undefined;
  /** When the store was last known to hold it, or a little before. */
  recordAt: Instant;
  secret: SessionSecret | undefined;
  /** Hash of the secret that this request is entitled by. */
  secretHash: SecretHash | undefined;
  /** Messages that this request leaves, not written yet. */
  flashes: Flash[] = [];
  /** A new session that has to be kept although it holds no data: something depends on its secret. */
  needed = false;
  /** Whether the handler has looked at what is this visitor's alone: data, messages, a CSRF token. */
  looked = false;
  /** Why this request may not write. */
  refusal: CoatcheckError | undefined;
  /** Where a rotated-out token led. Only a login by the same user may take its data over. */
  superseded: Extract<Beginning, { kind: "superseded" }> | undefined;
  lease: { readonly holder: string; readonly record: SessionRecord } | undefined;
  /** An update of the record as it was at `version` that may have been made or not. It must not be made twice. */
  doubt: { readonly version: number; readonly error: StoreUnavailableError } | undefined;
  outgoing: Outgoing;
  /** The client's token holds an older state than the record. */
  outdated = false;
  /** What makes the client forget the cookie of another library, once that opens nothing any more. */
  oldCookie: NamedCookie | undefined;
  /** The request was opened by that cookie: the client has not shown yet that it has the token. */
  unconfirmed = false;
  /** Activity has been written down or the secret renewed: once for a request, whether or not it came off. */
  upkeepDone = false;
  headSent = false;
  #id: SessionId | undefined;
  #data: SessionData | undefined;
  #texts: Texts = NO_TEXTS;

  constructor(
    core: SessionCore,
    connection: Connection,
    beginning: Beginning,
    options: { readonly passive: boolean; readonly recordAt: Instant; readonly refusal?: CoatcheckError | undefined },
  ) {
    this.core = core;
    this.connection = connection;
    this.passive = options.passive;
    this.recordAt = options.recordAt;
    this.refusal = options.refusal;
    if (beginning.kind === "stored") {
      this.#id = beginning.record.id;
      this.record = beginning.record;
      this.secret = beginning.secret;
      this.secretHash = beginning.secretHash;
      this.#texts = beginning.texts;
      this.outdated = beginning.outdated === true;
      if (beginning.lease !== undefined) this.lease = { holder: beginning.lease, record: beginning.record };
    } else if (beginning.kind === "superseded") {
      this.superseded = beginning;
    }
  }

  get id(): SessionId {
    this.#id ??= newSessionId();
    return this.#id;
  }

  get userId(): string | undefined {
    return this.record?.userId;
  }

  get data(): SessionData {
    this.#data ??= new SessionData(this.core.format, this.#texts);
    return this.#data;
  }

  /** Whether this request has changed anything of its own. */
  get changed(): boolean {
    return this.flashes.length > 0 || this.#data?.changed === true;
  }

  /** What this request changes in `record`, whose data is `texts`, or `undefined` when it changes nothing. */
  changes(record: SessionRecord, texts: Texts): Change | undefined {
    const { lifetime, schema, clock, strategy } = this.core;
    const planned = this.#data?.plan(texts, strategy.writesToClient(record) ? "overwrite" : "reject");
    const flashes = this.flashes.length;
    if (planned === undefined && flashes === 0) return undefined;
    const seenAt = Math.max(record.seenAt, clock.now());
    const migrated = planned !== undefined && schema.version !== (record.meta.dataVersion ?? 0);
    const meta: Partial<SessionMeta> = {
      ...(migrated ? { dataVersion: schema.version } : undefined),
      ...(flashes === 0 ? undefined : { flashes: checkedFlashes([...(record.meta.flashes ?? []), ...this.flashes]) }),
    };
    const patch = {
      ...(planned === undefined ? undefined : patchAgainst(record, texts, planned)),
      ...(this.passive ? undefined : { seenAt, expiresAt: lifetime.deadline(record, seenAt) }),
      ...(Object.keys(meta).length === 0 ? undefined : { meta: { ...record.meta, ...meta } }),
    };
    return { patch, texts: patchData(texts, planned ?? {}), flashes };
  }

  /** `change` has been written, and the record is now this one. */
  adopt(record: SessionRecord, { texts, flashes = 0 }: Change): void {
    this.record = record;
    this.flashes = this.flashes.slice(flashes);
    if (texts === undefined) return;
    if (this.#data === undefined) this.#texts = texts;
    else this.#data.settle(texts);
  }

  /** Another request was first: what it wrote lies under what this one changes. */
  rebase(record: SessionRecord, texts: Texts): void {
    this.record = record;
    if (this.#data === undefined) this.#texts = texts;
    else this.#data.adopt(texts);
  }

  /** Goes on as the session of a record that has just been made. */
  become(record: SessionRecord, secret: SessionSecret): void {
    this.#id = record.id;
    this.record = record;
    this.secret = secret;
    this.secretHash = record.secretHash;
    this.refusal = undefined;
    this.superseded = undefined;
    this.doubt = undefined;
    this.needed = false;
  }

  /** The session is over: these messages, and what `keep` lets through of its data, belong to a new, anonymous one. */
  leave(keep: Keep, flashes: Flash[]): void {
    this.data.restart(keep);
    this.flashes = flashes;
    this.forgetToken();
    this.secretHash = undefined;
    this.record = undefined;
    this.superseded = undefined;
    this.refusal = undefined;
    this.doubt = undefined;
    this.needed = false;
    this.outgoing = "clear";
  }

  /** A new session gets another id and secret: nobody knows whether these are in the store. */
  forgetToken(): void {
    this.#id = undefined;
    this.secret = undefined;
  }

  send(token: string): void {
    const { lifetime, clock } = this.core;
    const record = this.record as SessionRecord;
    const kept = record.meta.remember ? lifetime.absoluteDeadline(record) - clock.now() : undefined;
    this.outgoing = { token, lifetime: kept };
    this.outdated = false;
  }

  clearOldCookie(): void {
    this.oldCookie = this.core.upgrade?.clear(this.connection.request);
  }

  /** @throws HeadersSentError, InsecureTransportError */
  assertCanSend(operation: string): void {
    this.assertHeadNotSent(operation);
    this.connection.assertSecure();
  }

  /** @throws HeadersSentError */
  assertHeadNotSent(operation: string): void {
    if (this.headSent) throw new HeadersSentError(operation);
  }

  /** The error for a write that came after the session had ended. */
  late(reason: "gone" | "expired" | "rotated"): SessionEndedError {
    this.emit("lateWrite", { reason });
    return new SessionEndedError(reason);
  }

  /** The error for a write that this request was never entitled to. */
  refused(refusal: CoatcheckError): CoatcheckError {
    return refusal instanceof SessionEndedError ? this.late(refusal.reason) : refusal;
  }

  emit<Type extends SessionEventType>(type: Type, details: SessionEventDetails[Type]): void {
    const { events, clock } = this.core;
    if (!events.heard(type)) return;
    const facts = { sessionId: this.#id, userId: this.userId, device: this.connection.device };
    events.emit({ type, at: clock.now(), ...facts, ...(details as object) } as SessionEvent<Type>);
  }
}
