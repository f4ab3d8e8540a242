import type { Instant } from "../../session/clock.ts";
import { base64url } from "../../session/crypto.ts";
import { CookieTooLargeError } from "../../session/errors.ts";
import { applyPatch, type LeaseWish, type SessionPatch, type SessionRecord } from "../../session/record.ts";
import { copyOf } from "../../session/revocation.ts";
import type { RevocationFeed } from "../../session/revocation-feed.ts";
import {
  formatToken,
  hashSecret,
  parseToken,
  type SessionId,
  type SessionSecret,
  sameHash,
} from "../../session/token.ts";
import type { SessionStore } from "../../stores/store.ts";
import { ServerSide } from "../server-side.ts";
import type { MakeStrategy, Opened, Strategy, StrategyContext, Updated, UserRecords } from "../strategy.ts";
import { Envelopes, isEnvelope } from "./envelope.ts";
import { KeyRing } from "./key-ring.ts";
import type { SealingKey } from "./keys.ts";
import { type Recent, RecentlySealed } from "./recent.ts";
import { recordFromBytes, recordToBytes } from "./record-bytes.ts";

export interface SealedOptions {
  /**
   * At least 32 random bytes each, as base64url text or bytes. The first one seals, all of them open, so that keys can be
   * changed without logging anybody out. One key should not seal more than 2^32 times (NIST SP 800-38D section 8.3).
   */
  readonly keys: readonly SealingKey[];
  /**
   * What happens to a session that outgrows its cookie: with `true` it goes on in the store of `createSessions`, for good.
   * Default false: the request is answered with `CookieTooLargeError`.
   */
  readonly spill?: boolean;
}

/**
 * Sessions without a store: the whole session travels, encrypted, in its cookie. A store that keeps revocations lets
 * sessions be ended before their time; without one a copied cookie lives until its deadline.
 *
 * @throws TypeError for keys that are missing, short or guessable (row SC-08)
 */
export function sealed({ keys, spill = false }: SealedOptions): MakeStrategy {
  const ring = new KeyRing(keys);
  return (context) => new Sealed(ring, spill, context);
}

/** The record is encrypted in the client's token, and nowhere else, but for what this process sealed a moment ago. */
class Sealed implements Strategy {
  readonly keptInStore = false;
  readonly users: UserRecords;
  readonly #envelopes: Envelopes;
  readonly #maxToken: number;
  readonly #feed: RevocationFeed | undefined;
  readonly #recent: RecentlySealed;
  /** Where sessions go on that grew too large. */
  readonly #spill: { readonly store: SessionStore; readonly strategy: ServerSide } | undefined;

  /** @throws TypeError for a store that is missing, or that would not be used */
  constructor(ring: KeyRing, spill: boolean, { store, carrier, maxToken, clock, feed, longestLife }: StrategyContext) {
    if (spill && store === undefined) throw new TypeError("sealed: spill needs a store");
    if (!spill && store !== undefined && store.revocations === undefined)
      throw new TypeError(
        "sealed: nothing would use this store, which keeps no revocations. Leave it out, or set spill",
      );
    this.#envelopes = new Envelopes(ring, "session", carrier);
    this.#maxToken = maxToken;
    this.#recent = new RecentlySealed(clock);
    this.#feed = store?.revocations === undefined ? undefined : feed(longestLife);
    this.#spill = spill && store !== undefined ? { store, strategy: new ServerSide(store) } : undefined;
    this.users = new SealedUserRecords(store, this.#feed !== undefined);
  }

  wellFormed(text: string): boolean {
    return isEnvelope(text) || this.takesTurns(text);
  }

  takesTurns(text: string): boolean {
    return this.#spill !== undefined && parseToken(text) !== undefined;
  }

  writesToClient(record: SessionRecord): boolean {
    return !isSpilled(record);
  }

  async open(text: string, lease?: LeaseWish): Promise<Opened> {
    const opened = isEnvelope(text) ? this.#caughtUp(await this.#unseal(text)) : await this.#openSpilled(text, lease);
    if (!("record" in opened) || !(await this.#feed?.check(copyOf(opened.record)))) return opened;
    if (lease !== undefined) await this.release(opened.record, lease.holder);
    return { outcome: "unknown", reason: "revoked" };
  }

  async create(record: SessionRecord, secret: SessionSecret): Promise<string> {
    const token = await this.#seal(record, secret);
    if (token.length <= this.#maxToken) return token;
    if (this.#spill === undefined) throw this.#tooLarge(token);
    return this.#spill.strategy.create(spilled(record), secret);
  }

  async reread(record: SessionRecord): Promise<SessionRecord | undefined> {
    if (this.#feed?.isRevoked(copyOf(record))) return undefined;
    const stored = await this.#spill?.store.read(record.id);
    if (stored !== undefined) return spilled(stored);
    const recent = this.#recent.get(record.id);
    if (isSpilled(record) || recent === "ended") return undefined;
    return recent !== undefined && recent.record.version > record.version ? recent.record : record;
  }

  async update(record: SessionRecord, patch: SessionPatch, secret: SessionSecret): Promise<Updated> {
    const updated = applyPatch(record, patch);
    // Perhaps it was ended while the handler was at work.
    if (this.#feed?.isRevoked(copyOf(updated))) return { outcome: "missing" };
    if (isSpilled(record)) return this.#updateSpilled(record, patch, secret);
    // A periodic renewal may have been first: the client is to have that secret, not the one before.
    const newest = this.#recent.get(record.id);
    const own = patch.secretHash === undefined && isState(newest) && newest.record === record ? newest.secret : secret;
    const token = await this.#seal(updated, own);
    // Asked now, so that nothing can happen between this and the keeping.
    const recent = this.#recent.get(record.id);
    if (recent === "ended") return { outcome: "missing" };
    if (isState(recent) && recent.record.version > record.version) return { outcome: "stale" };
    if (token.length > this.#maxToken) return this.#spillOver(updated, own, token);
    this.#recent.keep(record.id, { record: updated, secret: own });
    return { outcome: "updated", token };
  }

  async touch(record: SessionRecord, seenAt: Instant, expiresAt: Instant, secret: SessionSecret) {
    if (isSpilled(record)) return this.#spill?.strategy.touch(record, seenAt, expiresAt);
    const recent = this.#recent.get(record.id);
    const newer = isState(recent) && recent.record.version > record.version ? recent.record : undefined;
    const token = await this.#seal({ ...(newer ?? record), seenAt, expiresAt }, secret);
    // It must not bring back an older state, or a session that was ended or renewed.
    const follows = newer === undefined || sameHash(newer.secretHash, record.secretHash);
    const superseded = recent === "ended" || !follows || this.#recent.get(record.id) !== recent;
    return superseded || token.length > this.#maxToken ? undefined : token;
  }

  async remove(record: SessionRecord): Promise<void> {
    this.#recent.keep(record.id, "ended");
    // This copy may come from before the session spilled.
    await this.#spill?.store.remove(record.id);
  }

  async release(record: SessionRecord, holder: string): Promise<void> {
    if (isSpilled(record)) await this.#spill?.strategy.release(record, holder);
  }

  #seal(record: SessionRecord, secret: SessionSecret): Promise<string> {
    // There is no list to show the device in, and a secret that was rotated out is not told apart.
    const { device: _, previousSecretHash: __, previousUntil: ___, ...meta } = record.meta;
    return this.#envelopes.seal(recordToBytes({ ...record, meta }, secret));
  }

  async #unseal(text: string): Promise<Opened> {
    const bytes = await this.#envelopes.open(text);
    if (bytes === undefined) return { outcome: "unknown", reason: "broken-seal" };
    const { record, credential } = recordFromBytes(bytes);
    const secret = credential as SessionSecret;
    const secretHash = await hashSecret(secret);
    return { outcome: "current", record: { ...record, secretHash }, secret, secretHash };
  }

  /** An answer with a newer state is on its way to the client, or was overtaken by one with an older. */
  #caughtUp(opened: Opened): Opened {
    if (!("record" in opened)) return opened;
    const { record, secretHash } = opened;
    const recent = this.#recent.get(record.id);
    if (!isState(recent) || !(recent.record.version > record.version)) return opened;
    const same = sameHash(recent.record.secretHash, secretHash);
    return same ? { ...opened, record: recent.record, outdated: true } : opened;
  }

  async #openSpilled(text: string, lease: LeaseWish | undefined): Promise<Opened> {
    const opened = await this.#spill?.strategy.open(text, lease);
    if (opened === undefined) return { outcome: "malformed" };
    return "record" in opened ? { ...opened, record: spilled(opened.record) } : opened;
  }

  async #updateSpilled(record: SessionRecord, patch: SessionPatch, secret: SessionSecret): Promise<Updated> {
    const updated = await this.#spill?.strategy.update(record, patch, secret);
    if (updated?.outcome !== "updated") return updated ?? { outcome: "missing" };
    // Perhaps the client still holds a copy from before the session spilled.
    return { outcome: "updated", token: formatToken({ id: record.id, secret }) };
  }

  /** Goes on in the store. Of concurrent requests one moves the session, and the others add to what it wrote. */
  async #spillOver(updated: SessionRecord, secret: SessionSecret, token: string): Promise<Updated> {
    if (this.#spill === undefined) throw this.#tooLarge(token);
    const { store } = this.#spill;
    const record = spilled(updated);
    try {
      await store.create(record);
    } catch (error) {
      const stored = await store.read(record.id).catch(() => undefined);
      if (stored === undefined) throw error;
      // Unless it is this very record, of which only the answer was lost.
      if (!isSame(stored, record)) return { outcome: "stale" };
    }
    this.#recent.keep(record.id, { record, secret });
    return { outcome: "updated", token: formatToken({ id: record.id, secret }) };
  }

  #tooLarge(token: string): CookieTooLargeError {
    const advice = "Keep less in the session, let sealed sessions spill into a store, or keep all of them in one.";
    return new CookieTooLargeError("sealed session", token.length, this.#maxToken, advice);
  }
}

const isState = (recent: Recent | undefined): recent is Exclude<Recent, "ended"> =>
  recent !== undefined && recent !== "ended";
const isSpilled = ({ meta }: SessionRecord): boolean => meta.spilled === true;
const spilled = (record: SessionRecord): SessionRecord => ({ ...record, meta: { ...record.meta, spilled: true } });

function isSame(one: SessionRecord, other: SessionRecord): boolean {
  const text = (record: SessionRecord) => base64url(recordToBytes(record, record.secretHash));
  return text(one) === text(other);
}

/** Nobody but its client has a sealed session, so there is nothing to look up. */
class SealedUserRecords implements UserRecords {
  readonly #store: SessionStore | undefined;
  readonly #revocable: boolean;

  constructor(store: SessionStore | undefined, revocable: boolean) {
    this.#store = store;
    this.#revocable = revocable;
  }

  async read(): Promise<undefined> {
    throw unlisted("ended one by one");
  }
  async remove(): Promise<never> {
    throw unlisted("ended one by one");
  }
  async listByUser(): Promise<never> {
    throw unlisted("listed");
  }
  /** The revocation feed has ended them, nobody knows how many. Counted are those in the store: spilled, and of refresh tokens. */
  async removeByUser(userId: string, except?: SessionId): Promise<number> {
    return this.#stored().removeByUser(userId, except);
  }
  async removeAll(): Promise<number> {
    return this.#stored().removeAll();
  }

  #stored(): SessionStore {
    if (!this.#revocable || this.#store === undefined)
      throw unlisted("ended before their time without a store that keeps revocations");
    return this.#store;
  }
}

const unlisted = (what: string): TypeError =>
  new TypeError(
    `Sealed sessions are held by their clients alone and cannot be ${what}. Keep the sessions in a store instead, ` +
      "as hybrid sessions if reads must be spared, or keep a list of logins of your own.",
  );
