import type { UserRecords } from "../strategies/strategy.ts";
import type { Clock, Instant } from "./clock.ts";
import type { SessionEvents } from "./events.ts";
import type { LifetimePolicy } from "./lifetime.ts";
import type { DeviceFacts, SessionRecord } from "./record.ts";
import type { RevocationWriter } from "./revocation-writer.ts";
import { parseSessionId, type SessionId } from "./token.ts";

/** How many sessions a user may have, and which one gives way. */
export interface SessionLimit {
  readonly max: number;
  /** `"evict-oldest"`: the sessions with the oldest login end. `"reject"`: the login fails with `SessionLimitError`. */
  readonly atLimit: "evict-oldest" | "reject";
}

/** One of a user's sessions, as the user may see it: nothing in it is a credential. */
export interface SessionInfo {
  readonly id: SessionId;
  readonly createdAt: Instant;
  readonly lastSeenAt: Instant;
  readonly authenticatedAt: Instant | undefined;
  readonly expiresAt: Instant;
  readonly methods: readonly string[];
  readonly device: DeviceFacts;
  /** Whether it is the session that asks. */
  readonly current: boolean;
}

/** The session on whose behalf something is done. */
export interface ActingSession {
  readonly id: SessionId;
  readonly userId: string | undefined;
  requireRecentAuth(): void;
}

export interface ActingOptions {
  /**
   * The user's own session, when the user acts and not the application: it must belong to the user, and ending
   * sessions then asks for a recent authentication (row CC-02).
   */
  readonly by?: ActingSession;
}

/** A user's sessions: `sessions.forUser(id)`. */
export interface SessionsOfUser {
  /** The live ones, the most recently used first. */
  list(options?: ActingOptions): Promise<SessionInfo[]>;
  /**
   * Ends one. `false` when this user has no such session; another user's is never touched (row CC-04).
   *
   * @throws RecentAuthRequiredError with `by`, when its user has not authenticated recently
   */
  revoke(id: string, options?: ActingOptions): Promise<boolean>;
  /**
   * Ends all but `except`; the number ended.
   *
   * @throws RecentAuthRequiredError with `by`, when its user has not authenticated recently
   */
  revokeAll(options?: ActingOptions & { readonly except?: SessionId }): Promise<number>;
}

/** Listing, ending and limiting the sessions of users. */
export class UserSessions {
  readonly max: number;
  readonly #records: UserRecords;
  readonly #clock: Clock;
  readonly #lifetime: LifetimePolicy;
  readonly #events: SessionEvents;
  readonly #revocations: RevocationWriter;
  readonly #limit: SessionLimit | undefined;

  constructor(
    records: UserRecords,
    clock: Clock,
    lifetime: LifetimePolicy,
    events: SessionEvents,
    revocations: RevocationWriter,
    limit: SessionLimit | undefined,
  ) {
    if (limit !== undefined && !(Number.isSafeInteger(limit.max) && limit.max >= 1))
      throw new TypeError("sessionsPerUser.max must be a whole number, 1 or more");
    if (limit !== undefined && limit.atLimit !== "evict-oldest" && limit.atLimit !== "reject")
      throw new TypeError('sessionsPerUser.atLimit must be "evict-oldest" or "reject"');
    this.max = limit?.max ?? Number.POSITIVE_INFINITY;
    this.#records = records;
    this.#clock = clock;
    this.#lifetime = lifetime;
    this.#events = events;
    this.#revocations = revocations;
    this.#limit = limit;
  }

  of(userId: string): SessionsOfUser {
    const assertMay = (by: ActingSession | undefined, end: boolean) => {
      if (by === undefined) return;
      if (by.userId !== userId) throw new TypeError("`by` must be a session of this user");
      if (end) by.requireRecentAuth();
    };
    return {
      list: async ({ by } = {}) => {
        assertMay(by, false);
        const alive = await this.#alive(userId);
        return alive.sort((a, b) => b.seenAt - a.seenAt || compare(b, a)).map((record) => describe(record, by));
      },
      revoke: async (text, { by } = {}) => {
        assertMay(by, true);
        const id = parseSessionId(text);
        if (id === undefined || !(await this.#owns(userId, id)) || !(await this.#end(id, userId))) return false;
        this.#report(userId, "one", 1, id);
        return true;
      },
      revokeAll: async ({ by, except } = {}) => {
        assertMay(by, true);
        const remove = () => this.#records.removeByUser(userId, except);
        const count = await this.#revocations.userEnds(userId, except, remove);
        this.#report(userId, "all", count);
        return count;
      },
    };
  }

  /** Ends every session of everybody; the number ended (row LO-06). */
  async revokeEveryone(): Promise<number> {
    const count = await this.#revocations.everyoneEnds(() => this.#records.removeAll());
    this.#events.emit({ type: "revoked", at: this.#clock.now(), reason: "everyone", count });
    return count;
  }

  /** Under "reject": whether the user may have one more, not counting `own`. */
  async hasRoom(userId: string, own: SessionId | undefined): Promise<boolean> {
    if (this.#limit?.atLimit !== "reject") return true;
    const others = (await this.#alive(userId)).filter((record) => record.id !== own);
    return others.length < this.#limit.max;
  }

  /**
   * Ends what exceeds the limit, now that `newest` is stored. All logins agree on one total order of the sessions, so
   * however they race, the same ones remain (row CC-01). `false` when `newest` has gone.
   */
  async enforceLimit(newest: SessionRecord): Promise<boolean> {
    if (this.#limit === undefined || newest.userId === undefined) return true;
    const { max, atLimit } = this.#limit;
    const alive = (await this.#alive(newest.userId)).sort(compare);
    const surplus = atLimit === "reject" ? alive.slice(max) : alive.slice(0, Math.max(0, alive.length - max));
    for (const record of surplus)
      if (await this.#end(record.id, newest.userId)) this.#report(newest.userId, "limit", 1, record.id);
    const remaining = alive.filter((record) => !surplus.includes(record));
    return remaining.some((record) => record.id === newest.id);
  }

  /** What is revoked is said before the store has looked whose it is. */
  async #owns(userId: string, id: SessionId): Promise<boolean> {
    return !this.#revocations.needed || (await this.#records.read(id))?.userId === userId;
  }

  async #end(id: SessionId, userId: string): Promise<boolean> {
    await this.#revocations.sessionEnds(id);
    return this.#records.remove(id, userId);
  }

  async #alive(userId: string): Promise<SessionRecord[]> {
    const now = this.#clock.now();
    const records = await this.#records.listByUser(userId);
    return records.filter((record) => this.#lifetime.expired(record, now) === undefined);
  }

  #report(userId: string, reason: "one" | "all" | "limit", count: number, sessionId?: SessionId): void {
    const event = { type: "revoked", at: this.#clock.now(), userId, reason, count } as const;
    this.#events.emit(sessionId === undefined ? event : { ...event, sessionId });
  }
}

/** By login, then by id. */
function compare(a: SessionRecord, b: SessionRecord): number {
  const since = (record: SessionRecord) => record.meta.authenticatedAt ?? record.createdAt;
  return since(a) - since(b) || (a.id < b.id ? -1 : 1);
}

function describe(record: SessionRecord, by: ActingSession | undefined): SessionInfo {
  return {
    id: record.id,
    createdAt: record.createdAt,
    lastSeenAt: record.seenAt,
    authenticatedAt: record.meta.authenticatedAt,
    expiresAt: record.expiresAt,
    methods: record.meta.methods ?? [],
    device: record.meta.device ?? {},
    current: record.id === by?.id,
  };
}
