import type { Clock, Duration, Instant } from "../session/clock.ts";
import type { LeaseWish, SessionPatch, SessionRecord } from "../session/record.ts";
import type { RevocationFeed } from "../session/revocation-feed.ts";
import type { SecretHash, SessionSecret } from "../session/token.ts";
import type { SessionStore } from "../stores/store.ts";

/** What a token from outside stands for. Deadlines are not judged here. */
export type Opened =
  | { readonly outcome: "malformed" }
  | { readonly outcome: "unknown"; readonly reason: "no-session" | "wrong-secret" | "broken-seal" | "revoked" }
  | {
      /** `current`: the secret is the one in force. `previous`: it is the one before. */
      readonly outcome: "current" | "previous";
      readonly record: SessionRecord;
      readonly secret: SessionSecret;
      readonly secretHash: SecretHash;
      /** Whether the client's token holds an older state than the record. */
      readonly outdated?: boolean;
    };

/** What became of an update. `token` is set when the client has to be sent another one. */
export type Updated =
  | { readonly outcome: "updated"; readonly token?: string }
  | { readonly outcome: "stale" | "missing" };

/** The sessions of a user, as far as they can be found. What cannot be done is a TypeError. */
export type UserRecords = Pick<SessionStore, "read" | "remove" | "listByUser" | "removeByUser" | "removeAll">;

/** Where the state of a session is kept. The verbs mean what those of the store contract mean. */
export interface Strategy {
  readonly users: UserRecords;
  /** Whether every session is in the store, where its absence tells that it has ended. */
  readonly keptInStore: boolean;
  /** Whether the text has the form of a token: what has not never gets further (row ID-05). */
  wellFormed(text: string): boolean;
  /** Whether requests that bring this token share a state, so that unsafe ones have to take turns. */
  takesTurns(text: string): boolean;
  /** Whether the client holds the state, so that no write counts unless the head of a response carries it. */
  writesToClient(record: SessionRecord): boolean;
  /** `lease`: asks the store for the session's lease on the way. */
  open(text: string, lease?: LeaseWish): Promise<Opened>;
  /** Keeps a new record; the token to send. */
  create(record: SessionRecord, secret: SessionSecret): Promise<string>;
  /** Reads the record again after `stale`. */
  reread(record: SessionRecord): Promise<SessionRecord | undefined>;
  /** `secret` belongs to `patch.secretHash` when the patch changes it. */
  update(record: SessionRecord, patch: SessionPatch, secret: SessionSecret): Promise<Updated>;
  /** Notes activity; the token to send, if another one. */
  touch(record: SessionRecord, seenAt: Instant, expiresAt: Instant, secret: SessionSecret): Promise<string | undefined>;
  remove(record: SessionRecord): Promise<void>;
  /** Gives a lease back. */
  release(record: SessionRecord, holder: string): Promise<void>;
}

/** What a strategy has to work with. */
export interface StrategyContext {
  readonly store: SessionStore | undefined;
  /** What carries the token, and how many characters of it. */
  readonly carrier: string;
  readonly maxToken: number;
  readonly clock: Clock;
  /** The longest that a session may live. */
  readonly longestLife: Duration;
  /**
   * The revocation feed, for copies that live for `lifetime`.
   *
   * @throws TypeError when the store keeps no revocations
   */
  feed(lifetime: Duration): RevocationFeed;
}

/** A way to keep the state, as it is given to `createSessions`. */
export type MakeStrategy = (context: StrategyContext) => Strategy;
