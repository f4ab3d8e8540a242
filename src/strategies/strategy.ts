import type { Instant } from "../session/clock.ts";
import type { LeaseRequest, SessionPatch, SessionRecord } from "../session/record.ts";
import type { SecretHash, SessionSecret } from "../session/token.ts";

/** What a token from outside stands for. Deadlines are not judged here. */
export type Opened =
  | { readonly outcome: "malformed" }
  | { readonly outcome: "unknown"; readonly reason: "no-session" | "wrong-secret" }
  | {
      /** `current`: the secret is the one in force. `previous`: it is the one before. */
      readonly outcome: "current" | "previous";
      readonly record: SessionRecord;
      readonly secret: SessionSecret;
      readonly secretHash: SecretHash;
    };

/** What became of an update. `token` is set when the client has to be sent another one. */
export type Updated =
  | { readonly outcome: "updated"; readonly token?: string }
  | { readonly outcome: "stale" | "missing" };

/** Where the state of a session is kept. The verbs mean what those of the store contract mean. */
export interface Strategy {
  /** Whether the text has the form of a token: what has not never gets further (row ID-05). */
  wellFormed(text: string): boolean;
  /** `lease`: asks the store for the session's lease on the way. */
  open(text: string, lease?: LeaseRequest): Promise<Opened>;
  /** Keeps a new record; the token to send. */
  create(record: SessionRecord, secret: SessionSecret): Promise<string>;
  /** Reads the record again after `stale`. */
  reread(record: SessionRecord): Promise<SessionRecord | undefined>;
  /** `secret` belongs to `patch.secretHash` when the patch changes it. */
  update(record: SessionRecord, patch: SessionPatch, secret: SessionSecret): Promise<Updated>;
  /** Notes activity; the token to send, if another one. */
  touch(record: SessionRecord, seenAt: Instant, expiresAt: Instant): Promise<string | undefined>;
  remove(record: SessionRecord): Promise<void>;
  /** Gives a lease back. */
  release(record: SessionRecord, holder: string): Promise<void>;
}
