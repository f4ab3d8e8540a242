import type { SessionStore } from "../stores/store.ts";
import { type Duration, days, type Instant } from "./clock.ts";
import type { Connection } from "./connection.ts";
import type { SessionCore } from "./core.ts";
import { hmacSha256, sha256 } from "./crypto.ts";
import { CorruptRecordError } from "./errors.ts";
import type { Report } from "./judge.ts";
import type { SessionRecord } from "./record.ts";
import type { Guard } from "./store-guard.ts";
import { formatToken, hashSecret, newSecret, newSessionId, type SessionId, type SessionSecret } from "./token.ts";
import type { NamedCookie, RequestFacts } from "./transport.ts";
import type { UnitOfWork } from "./unit-of-work.ts";

/** Sessions of another library, whose visitors go on with native ones. `coatcheck/upgrade` has those of the usual libraries. */
export interface UpgradeSource {
  /** For how long the old session lives on beside the native one, in milliseconds. */
  readonly grace: Duration;
  /** The old session that the request's cookie names, if the cookie is genuine. Asks no store. */
  present(request: RequestFacts): OldTicket | undefined;
  /** Which user the old session's data says is logged in. */
  userId(data: Readonly<Record<string, unknown>>): string | number | null | undefined;
  /** Ends an old session, whether or not it is still there. */
  end(key: string): Promise<void>;
  /** Ends all old sessions. Rejects when it cannot. */
  endAll(): Promise<void>;
  /** What makes the client forget the old cookie. */
  clear(request: RequestFacts): NamedCookie;
}

/** A genuine cookie of the other library. */
export interface OldTicket {
  /** Names the old session: the same for every request that brings it. No credential: the native session's record holds it. */
  readonly key: string;
  /** What only the client and the application know, and the old store does not: a signature or the sealed value. */
  readonly proof: string;
  /** What the old session holds; `undefined` when there is none or it has expired. */
  read(now: Instant): Promise<OldSession | undefined>;
}

export interface OldSession {
  readonly data: Readonly<Record<string, unknown>>;
  /** From when on the cookie opens nothing in the other library; `undefined` when nobody knows. */
  readonly expiresAt: Instant | undefined;
  /** For how long the other library had the browser keep the cookie, in milliseconds; `undefined` until it closes. */
  readonly kept: Duration | undefined;
}

/** The longest that browsers keep a cookie (RFC 6265bis section 5.5). */
const LONGEST: Duration = days(400);

/**
 * Gives visitors with an old cookie a native session, once. What decides is a mark: a record whose id is made of the old
 * session's key, so that of racing requests one creates it and the others find it. It names the native session, and
 * outlives it, so that a logout is not undone by the old cookie. The native token's first secret is made of the old
 * cookie's proof, so that whoever holds the old cookie is given the same token again, until the secret is renewed after
 * the grace period.
 */
export class Upgrade {
  readonly #core: Omit<SessionCore, "upgrade">;
  readonly #source: UpgradeSource;
  readonly #store: SessionStore;
  readonly #guard: Guard;
  readonly #claim: (mark: SessionRecord) => Promise<SessionRecord>;

  constructor(source: UpgradeSource, core: Omit<SessionCore, "upgrade">, store: SessionStore, guard: Guard) {
    this.#source = source;
    this.#core = core;
    this.#store = store;
    this.#guard = guard;
    // Being second is no failure of the store.
    this.#claim = guard("create", async (mark) => {
      try {
        await store.create(mark);
        return mark;
      } catch (error) {
        const present = await store.read(mark.id).catch(() => undefined);
        if (present === undefined) throw error;
        return present;
      }
    });
  }

  present(request: RequestFacts): OldTicket | undefined {
    return this.#source.present(request);
  }

  clear(request: RequestFacts): NamedCookie {
    return this.#source.clear(request);
  }

  /** Ends all old sessions, so that none comes back as a native one whose mark is gone. */
  endAll(): Promise<void> {
    return this.#guard("upgradeFrom.endAll", () => this.#source.endAll())();
  }

  /** Ends an old session. */
  end(key: string): Promise<void> {
    return this.#guard("upgradeFrom.end", () => this.#source.end(key))();
  }

  /**
   * The native token of an old cookie; `undefined` when that opens nothing.
   *
   * @throws StoreUnavailableError for either store
   */
  async tokenFor(ticket: OldTicket, connection: Connection, report: Report): Promise<string | undefined> {
    const markId = (await sha256(`coatcheck upgrade\n${ticket.key}`)).slice(0, 22) as SessionId;
    try {
      const read = this.#guard("read", (id: SessionId) => this.#store.read(id));
      const mark = (await read(markId)) ?? (await this.#take(ticket, markId, connection, report));
      const id = mark?.meta.upgradedTo;
      return id === undefined ? undefined : formatToken({ id, secret: await firstSecret(ticket, id) });
    } catch (error) {
      if (!(error instanceof CorruptRecordError)) throw error;
      report("corruptRecord", {});
      return undefined;
    }
  }

  /** Makes a native session of an old one, and the mark. */
  async #take(
    ticket: OldTicket,
    markId: SessionId,
    { device }: Connection,
    report: Report,
  ): Promise<SessionRecord | undefined> {
    const { clock, lifetime, revocations, strategy, users } = this.#core;
    const old = await this.#guard("upgradeFrom.read", () => ticket.read(clock.now()))();
    if (old === undefined) return undefined;
    const userId = checkedUserId(this.#source.userId(old.data));
    const id = newSessionId();
    const secret = await firstSecret(ticket, id);
    const now = clock.now();
    const meta = {
      secretAt: revocations.secretAt(userId),
      device,
      upgradedFrom: ticket.key,
      ...(lifetime.remembers(old.kept) ? { remember: true } : undefined),
    };
    const record: SessionRecord = {
      id,
      secretHash: await hashSecret(secret),
      version: 1,
      createdAt: now,
      seenAt: now,
      expiresAt: lifetime.deadline({ createdAt: now, meta }, now),
      ...(userId === undefined ? undefined : { userId }),
      meta,
      data: this.#texts(old.data),
    };
    await strategy.create(record, secret);
    const mark = await this.#claim({
      id: markId,
      // Of a secret that nobody knows: a mark is no session.
      secretHash: await hashSecret(newSecret()),
      version: 1,
      createdAt: now,
      seenAt: now,
      expiresAt: Math.max(old.expiresAt ?? now + LONGEST, now + this.#source.grace),
      meta: { secretAt: now, upgradedTo: id },
      data: new Map(),
    });
    if (mark.meta.upgradedTo !== id) {
      await strategy.remove(record);
      return mark;
    }
    report("upgraded", {}, { sessionId: id, ...(userId === undefined ? undefined : { userId }) });
    await users.enforceLimit(record);
    return mark;
  }

  #texts(data: Readonly<Record<string, unknown>>): ReadonlyMap<string, string> {
    const texts = new Map<string, string>();
    for (const [key, value] of Object.entries(data)) {
      const text = value === undefined ? undefined : this.#core.format.codec.stringify(value);
      if (text !== undefined) texts.set(key, text);
    }
    return texts;
  }
}

/** Ends the old session that a native one came from, before the native one ends or gets another secret. */
export async function endOld(work: UnitOfWork, record = work.record): Promise<void> {
  const key = record?.meta.upgradedFrom;
  if (key === undefined || work.core.upgrade === undefined) return;
  await work.core.upgrade.end(key);
  work.clearOldCookie();
}

/** The secret that a native session begins with: the same for everybody who holds the old cookie. */
const firstSecret = async ({ proof }: OldTicket, id: SessionId): Promise<SessionSecret> =>
  (await hmacSha256(proof, `coatcheck upgrade\n${id}`)) as SessionSecret;

/** @throws TypeError for what cannot be a user's id */
function checkedUserId(given: unknown): string | undefined {
  if (given === undefined || given === null) return undefined;
  const text = typeof given === "number" ? String(given) : given;
  if (typeof text !== "string" || text === "" || text.length > 256)
    throw new TypeError("upgradeFrom: userId must answer a text of 1 to 256 characters, a number, or undefined");
  return text;
}
