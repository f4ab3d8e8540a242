import type { Duration, Instant } from "../session/clock.ts";
import type { SessionEventDetails } from "../session/events.ts";
import { isScope } from "./scope.ts";

/** Why a token was refused. For events and logs; the client is never told. */
export type TokenRejection = SessionEventDetails["tokenRejected"]["reason"];

/** Seconds since 1970-01-01T00:00:00Z, as JWTs count time (RFC 7519 section 2). Not milliseconds. */
export type NumericDate = number;

/** What an access token tells of the user and what they may do. Anybody who holds the token can read it. */
export interface UserClaims {
  /** The user's id. */
  readonly sub: string;
  /** The application that the token was issued to. Default: the option `clientId`. */
  readonly client_id?: string;
  /** The public id of the session that the token belongs to: it dies with it where revocations are asked. */
  readonly sid?: string;
  /**
   * When the session's secret was issued, in milliseconds. Revocations go by it instead of `iat`, so that a token that was
   * being made while its session ended is dead too. Claim of this library.
   */
  readonly sid_at?: Instant;
  /** When the user last proved who they are. Needed by `requireRecentAuth`. */
  readonly auth_time?: NumericDate;
  /** What the token is good for, names with single spaces between: `cart:read cart:write`. Needed by `requireScope`. */
  readonly scope?: string;
  /** How the user proved it: `["pwd", "otp"]` (RFC 8176). */
  readonly amr?: readonly string[];
}

/** The claims of a verified access token (RFC 9068 section 2.2). */
export interface AccessClaims extends UserClaims {
  readonly iss: string;
  readonly aud: string | readonly string[];
  readonly client_id: string;
  readonly iat: NumericDate;
  readonly exp: NumericDate;
  readonly jti: string;
  /** `iat` in milliseconds, which a revocation in the same second needs. Claim of this library. */
  readonly iat_ms?: Instant;
}

/** Why the claims of a signed token do not do. For events and logs; the client is never told. */
export type ClaimsRejection = Extract<
  TokenRejection,
  "claims" | "issuer" | "audience" | "expired" | "not-yet-valid" | "lifetime"
>;

/** What the claims are held against. */
export interface ExpectedClaims {
  readonly issuer: string;
  readonly audience: string;
  readonly leeway: Duration;
  readonly lifetime: Duration;
}

/** The claims that every access token can have; an application declares its own beside them. */
export const KNOWN_CLAIMS: ReadonlySet<string> = new Set([
  "iss",
  "aud",
  "sub",
  "client_id",
  "iat",
  "exp",
  "nbf",
  "jti",
  "iat_ms",
  "sid",
  "sid_at",
  "auth_time",
  "scope",
  "amr",
] satisfies (keyof AccessClaims | "nbf")[]);

/** Claims that `sign` sets. */
export const SET_BY_SIGN: readonly string[] = ["iss", "aud", "iat", "exp", "nbf", "jti", "iat_ms"];

/**
 * The claims, if they are those of an access token for this service at this time, or why they are not (rows JW-09, JW-10,
 * JW-12).
 */
export function checkClaims(
  claims: Readonly<Record<string, unknown>>,
  expected: ExpectedClaims,
  now: Instant,
): AccessClaims | ClaimsRejection {
  const { iss, aud, iat, exp, nbf, jti, iat_ms } = claims;
  if (iss !== expected.issuer) return "issuer";
  if (aud !== expected.audience && !(isTexts(aud) && aud.includes(expected.audience))) return "audience";
  if (!isNumericDate(exp) || !isNumericDate(iat) || !(nbf === undefined || isNumericDate(nbf))) return "claims";
  if (!(now < exp * 1000 + expected.leeway)) return "expired";
  const soon = now + expected.leeway;
  if (iat * 1000 > soon || (nbf !== undefined && nbf * 1000 > soon)) return "not-yet-valid";
  // Revocations are kept for the lifetime of a token, so that no token may live longer.
  if (exp * 1000 > iat * 1000 + expected.lifetime) return "lifetime";
  if (iat_ms !== undefined && (typeof iat_ms !== "number" || Math.floor(iat_ms / 1000) !== iat)) return "claims";
  return isText(jti) && areUserClaims(claims) ? (claims as unknown as AccessClaims) : "claims";
}

/** Whether the claims about the user have the right types. */
export function areUserClaims({
  sub,
  client_id,
  sid,
  sid_at,
  auth_time,
  scope,
  amr,
}: Readonly<Record<string, unknown>>): boolean {
  return (
    isText(sub) &&
    isText(client_id) &&
    (sid === undefined || isText(sid)) &&
    (sid_at === undefined || isNumericDate(sid_at)) &&
    (auth_time === undefined || isNumericDate(auth_time)) &&
    (scope === undefined || isScope(scope)) &&
    (amr === undefined || isTexts(amr))
  );
}

/** When what a token vouches for was true, in milliseconds. */
export const issuedAt = (claims: AccessClaims): Instant => claims.sid_at ?? claims.iat_ms ?? claims.iat * 1000;

const isText = (value: unknown): value is string => typeof value === "string" && value !== "";
const isTexts = (value: unknown): value is readonly string[] => Array.isArray(value) && value.every(isText);
const isNumericDate = (value: unknown): value is NumericDate => Number.isFinite(value) && (value as number) >= 0;
