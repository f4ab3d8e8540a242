import type { Clock, Duration } from "../session/clock.ts";
import type { SessionCore } from "../session/core.ts";
import { sha256 } from "../session/crypto.ts";
import {
  CorruptRecordError,
  InvalidGrantError,
  InvalidScopeError,
  SessionConflictError,
  SessionLimitError,
} from "../session/errors.ts";
import type { SessionEvent, SessionEventDetails, SessionEventType } from "../session/events.ts";
import {
  applyPatch,
  type DeviceFacts,
  type RefreshMeta,
  type SessionMeta,
  type SessionPatch,
  type SessionRecord,
} from "../session/record.ts";
import {
  hashSecret,
  newSecret,
  newSessionId,
  type SecretHash,
  type SessionSecret,
  sameHash,
} from "../session/token.ts";
import type { SessionStore } from "../stores/store.ts";
import { ServerSide } from "../strategies/server-side.ts";
import {
  formatRefreshToken,
  newFamily,
  newNonce,
  parseRefreshToken,
  type RefreshToken,
  successorOf,
} from "./refresh-token.ts";
import { isScope } from "./scope.ts";

/** A refresh token to hand out, and the record that it opens. */
export interface IssuedRefreshToken {
  readonly token: string;
  readonly record: RefreshRecord;
  /** What an access token may be good for now. */
  readonly scope: string | undefined;
}

/** A session that belongs to a refresh token. */
export type RefreshRecord = SessionRecord & {
  readonly userId: string;
  readonly meta: SessionMeta & { readonly refresh: RefreshMeta };
};

/** What a login is good for. */
export interface Grant {
  readonly clientId: string;
  readonly scope?: string | undefined;
  readonly methods?: readonly string[] | undefined;
  readonly device?: DeviceFacts | undefined;
}

/** What is asked for when a refresh token is used. */
export interface RefreshRequest extends Pick<Grant, "clientId" | "scope" | "device"> {}

/** What a token of the family is now. */
type Standing = "current" | "repeatable" | SessionEventDetails["refreshReused"]["reason"];

/**
 * Refresh tokens: sessions whose secret changes each time that it is used. A secret that comes a second time tells that two
 * have it, so that the whole family ends (RFC 9700 section 4.14.2; rows RT-02, RT-03).
 */
export class RefreshTokens {
  readonly #core: SessionCore;
  readonly #clock: Clock;
  readonly #records: ServerSide;
  readonly #store: SessionStore;
  readonly #grace: Duration;

  constructor(core: SessionCore, store: SessionStore, grace: Duration) {
    this.#core = core;
    this.#clock = core.clock;
    this.#store = store;
    this.#records = new ServerSide(store);
    this.#grace = grace;
  }

  /**
   * The first token of a family.
   *
   * @throws SessionLimitError, StoreUnavailableError
   */
  async create(userId: string, { clientId, scope, methods = [], device }: Grant): Promise<IssuedRefreshToken> {
    const { users, lifetime, revocations } = this.#core;
    const token: RefreshToken = { id: newSessionId(), secret: newSecret(), family: newFamily() };
    const [secretHash, familyHash] = await Promise.all([hashSecret(token.secret), hashFamily(token)]);
    if (!(await users.hasRoom(userId, undefined))) throw this.#limitReached(userId);
    const now = this.#clock.now();
    const meta: RefreshRecord["meta"] = {
      secretAt: revocations.secretAt(userId),
      authenticatedAt: now,
      methods,
      ...(device === undefined ? undefined : { device }),
      refresh: { familyHash, clientId, ...(scope === undefined ? undefined : { scope }) },
    };
    const record: RefreshRecord = {
      id: token.id,
      secretHash,
      version: 1,
      createdAt: now,
      seenAt: now,
      expiresAt: lifetime.deadline({ createdAt: now, meta }, now),
      userId,
      meta,
      data: new Map(),
    };
    await this.#records.create(record, token.secret);
    this.#emit("created", {}, record, device);
    if (!(await users.enforceLimit(record))) throw this.#limitReached(userId);
    this.#emit("login", {}, record, device);
    return { token: formatRefreshToken(token), record, scope };
  }

  /**
   * The successor of a token, which is dead from then on.
   *
   * @param overtaken whether it was in force when this request first looked, and another request then changed the record
   * @throws InvalidGrantError for every token that is not in force; SessionConflictError when another request used it at the
   * same time; InvalidScopeError, StoreUnavailableError
   */
  async use(text: unknown, request: RefreshRequest, overtaken = false): Promise<IssuedRefreshToken> {
    const { clientId, device } = request;
    const { token, record, standing } = await this.#judge(text, device);
    if (standing !== "current" && standing !== "repeatable") {
      if (!overtaken) throw await this.#endReused(record, standing, device);
      // Two used it at once. If the thief was first, the owner's next try with it is reuse and ends the family.
      this.#emit("refreshRefused", { reason: "overtaken" }, record, device);
      throw new SessionConflictError([]);
    }
    const { refresh } = record.meta;
    if (refresh.clientId !== clientId) {
      this.#emit("refreshRefused", { reason: "client" }, record, device);
      throw new InvalidGrantError();
    }
    const scope = request.scope ?? refresh.scope;
    if (!isWithin(scope, refresh.scope)) {
      this.#emit("refreshRefused", { reason: "scope" }, record, device);
      throw new InvalidScopeError();
    }
    if (standing === "repeatable") {
      const secret = await successorOf(token, refresh.nonce as string);
      this.#emit("refreshed", { reason: "repeated" }, record, device);
      return { token: formatRefreshToken({ ...token, secret }), record, scope };
    }
    const { secret, patch } = await this.#successor(token, record, scope);
    const { outcome } = await this.#records.update(record, patch, secret);
    // Another request was first, with this very token or by ending the session. What it is now is judged anew.
    if (outcome !== "updated") return this.use(text, request, true);
    const updated = applyPatch(record, patch) as RefreshRecord;
    this.#emit("refreshed", { reason: "used" }, updated, device);
    return { token: formatRefreshToken({ ...token, secret }), record: updated, scope };
  }

  /**
   * Ends the family of a token. A token that is unknown, expired or ended already needs nothing.
   *
   * @throws StoreUnavailableError: it may still be in force
   */
  async end(text: unknown, device?: DeviceFacts): Promise<void> {
    try {
      const { record, standing } = await this.#judge(text, device);
      if (standing !== "current" && standing !== "repeatable") throw await this.#endReused(record, standing, device);
      await this.#end(record);
      this.#emit("logout", {}, record, device);
    } catch (error) {
      if (!(error instanceof InvalidGrantError)) throw error;
    }
  }

  /** The living record that a token belongs to, and what the token is to it. */
  async #judge(
    text: unknown,
    device: DeviceFacts | undefined,
  ): Promise<{ readonly token: RefreshToken; readonly record: RefreshRecord; readonly standing: Standing }> {
    const refuse = <Type extends SessionEventType>(
      type: Type,
      details: SessionEventDetails[Type],
      record?: SessionRecord,
    ) => {
      this.#emit(type, details, record, device);
      return new InvalidGrantError();
    };
    const token = parseRefreshToken(text);
    if (token === undefined) throw refuse("malformedToken", {});
    const [secretHash, familyHash] = await Promise.all([hashSecret(token.secret), hashFamily(token)]);
    let record: SessionRecord | undefined;
    try {
      record = await this.#store.read(token.id);
    } catch (error) {
      throw error instanceof CorruptRecordError ? refuse("corruptRecord", {}) : error;
    }
    if (record === undefined) throw refuse("unknownToken", { reason: "no-session" });
    if (!isRefreshRecord(record)) throw refuse("unknownToken", { reason: "session-token" });
    if (!sameHash(record.meta.refresh.familyHash, familyHash)) throw refuse("unknownToken", { reason: "wrong-secret" });
    const expired = this.#core.lifetime.expired(record, this.#clock.now());
    if (expired !== undefined) throw refuse("expired", { reason: expired }, record);
    return { token, record, standing: await this.#standing(token, secretHash, record) };
  }

  async #standing(token: RefreshToken, secretHash: SecretHash, record: RefreshRecord): Promise<Standing> {
    const { previousSecretHash, secretAt, refresh } = record.meta;
    const now = this.#clock.now();
    if (sameHash(record.secretHash, secretHash)) return "current";
    if (previousSecretHash !== undefined && sameHash(previousSecretHash, secretHash)) {
      if (refresh.nonce === undefined || !(now < secretAt + this.#grace)) return "previous";
      const successor = await hashSecret(await successorOf(token, refresh.nonce));
      return sameHash(record.secretHash, successor) ? "repeatable" : "previous";
    }
    const { inGrace } = refresh;
    return inGrace !== undefined && sameHash(inGrace.secretHash, secretHash) && now < inGrace.until
      ? "in-grace"
      : "older";
  }

  async #successor(
    token: RefreshToken,
    record: RefreshRecord,
    scope: string | undefined,
  ): Promise<{ readonly secret: SessionSecret; readonly patch: SessionPatch }> {
    const { secretAt, previousSecretHash, refresh } = record.meta;
    const nonce = this.#grace > 0 ? newNonce() : undefined;
    const secret = nonce === undefined ? newSecret() : await successorOf(token, nonce);
    const secretHash = await hashSecret(secret);
    const now = this.#clock.now();
    const until = secretAt + this.#grace;
    const meta: SessionMeta = {
      ...record.meta,
      secretAt: this.#core.revocations.secretAt(record.userId),
      previousSecretHash: record.secretHash,
      refresh: {
        familyHash: refresh.familyHash,
        clientId: refresh.clientId,
        ...(scope === undefined ? undefined : { scope }),
        ...(nonce === undefined ? undefined : { nonce }),
        ...(previousSecretHash !== undefined && now < until
          ? { inGrace: { secretHash: previousSecretHash, until } }
          : undefined),
      },
    };
    const expiresAt = this.#core.lifetime.deadline({ createdAt: record.createdAt, meta }, now);
    return { secret, patch: { secretHash, seenAt: now, expiresAt, meta } };
  }

  async #endReused(
    record: RefreshRecord,
    reason: SessionEventDetails["refreshReused"]["reason"],
    device: DeviceFacts | undefined,
  ): Promise<InvalidGrantError> {
    // Reported first: if the store fails now, somebody should know all the same.
    this.#emit("refreshReused", { reason }, record, device);
    await this.#end(record);
    return new InvalidGrantError();
  }

  async #end(record: RefreshRecord): Promise<void> {
    // Access tokens die first, so that none outlives a removal that was reported done.
    await this.#core.revocations.sessionEnds(record.id);
    await this.#records.remove(record);
  }

  #limitReached(userId: string): SessionLimitError {
    this.#core.events.emit({ type: "limitReached", at: this.#clock.now(), userId });
    return new SessionLimitError(this.#core.users.max);
  }

  #emit<Type extends SessionEventType>(
    type: Type,
    details: SessionEventDetails[Type],
    record: SessionRecord | undefined,
    device: DeviceFacts | undefined,
  ): void {
    const { events } = this.#core;
    if (!events.heard(type)) return;
    const facts = {
      ...(record === undefined ? undefined : { sessionId: record.id }),
      ...(record?.userId === undefined ? undefined : { userId: record.userId }),
      ...(device === undefined ? undefined : { device }),
    };
    events.emit({ type, at: this.#clock.now(), ...facts, ...(details as object) } as SessionEvent<Type>);
  }
}

const hashFamily = async ({ family }: RefreshToken): Promise<SecretHash> => (await sha256(family)) as SecretHash;

function isRefreshRecord(record: SessionRecord): record is RefreshRecord {
  return record.userId !== undefined && record.meta.refresh !== undefined;
}

/** Whether every name of `scope` is in `granted`. */
function isWithin(scope: string | undefined, granted: string | undefined): boolean {
  if (scope === undefined) return true;
  if (!isScope(scope)) return false;
  const names = granted?.split(" ") ?? [];
  return scope.split(" ").every((name) => names.includes(name));
}
