import type { Instant } from "./clock.ts";
import type { SessionRecord } from "./record.ts";
import type { SessionId } from "./token.ts";

/** Copies of one session are dead: access tokens, sealed cookies, snapshots. */
export interface SessionRevocation {
  readonly kind: "session";
  readonly sessionId: SessionId;
  /** Only those issued before this instant: the session lives on under another secret. Absent: all, it has ended. */
  readonly before?: Instant;
  readonly until: Instant;
}

/** Everything of a user that was issued before an instant is dead. */
export interface UserRevocation {
  readonly kind: "user";
  readonly userId: string;
  readonly before: Instant;
  /** The one session that is spared. */
  readonly except?: SessionId;
  readonly until: Instant;
}

/** Everything of everybody that was issued before an instant is dead. */
export interface EveryoneRevocation {
  readonly kind: "everyone";
  readonly before: Instant;
  readonly until: Instant;
}

/**
 * One entry of a revocation log. `until`: after this instant nothing lives any more that the entry could revoke, so it
 * can be forgotten.
 */
export type Revocation = SessionRevocation | UserRevocation | EveryoneRevocation;

/** Something that is good without a look into the store, as far as revocation is concerned. */
export interface RevocationSubject {
  /** The session that it is a copy of or belongs to. */
  readonly sessionId?: string | undefined;
  readonly userId?: string | undefined;
  /**
   * When what it vouches for was true, in milliseconds, not rounded: for a copy of a record that record's
   * `meta.secretAt`, so that a request which read it before the revocation and answers after it revives nothing.
   */
  readonly issuedAt: Instant;
}

/** Any copy of this record. */
export const copyOf = ({ id, userId, meta }: SessionRecord): RevocationSubject => ({
  sessionId: id,
  userId,
  issuedAt: meta.secretAt,
});
