import type { Instant } from "../session/clock.ts";
import type { Eventually } from "../session/crypto.ts";

/** What a revocation can go by. Never the text of a token: one signature can be written in several ways (row LO-09). */
export interface RevocableFacts {
  /** The session's public id, where the token belongs to a session. */
  readonly sid: string | undefined;
  /** The user. */
  readonly sub: string;
  /**
   * When the token was issued, in milliseconds; of a token that tells only the second, its beginning. Of a token that
   * belongs to a session, when the session's secret was issued.
   */
  readonly issuedAt: Instant;
}

/** Knows which tokens were revoked before they expired. Asked for each token, after everything else was found right. */
export interface Revocation {
  /**
   * Whether the token is revoked. Answer at once where you can.
   *
   * @throws StoreUnavailableError when that cannot be told: the request is then answered 503, never accepted
   */
  isRevoked(facts: RevocableFacts): Eventually<boolean>;
}
