import { type Clock, type Duration, minutes, seconds, systemClock } from "../session/clock.ts";
import type { Sessions } from "../session/sessions.ts";
import { type CookieOptions, cookieTransport } from "../transports/cookie.ts";
import { type AccessTokenSettings, Tokens } from "./access-token.ts";
import { MAX_TEXT } from "./base64url.ts";
import { KNOWN_CLAIMS } from "./claims.ts";
import { KeyRing } from "./key-ring.ts";
import type { KeyInput } from "./keys.ts";
import { RefreshTokens } from "./refresh-tokens.ts";
import type { Revocation } from "./revocation.ts";
import { sessionRevocation } from "./session-revocation.ts";
import { SessionTokens } from "./session-tokens.ts";

export interface TokensOptions<Own extends string = never> {
  /**
   * One key or several: the first one signs, all verify. ES256 (P-256) and EdDSA (Ed25519) key pairs, or secrets for HS256,
   * not both. `generateKey` makes one. Public keys alone make a service that only verifies.
   */
  readonly keys: KeyInput | readonly KeyInput[];
  /** Who signs: a URL, compared exactly. */
  readonly issuer: string;
  /** This service, as tokens for it name it in `aud`. */
  readonly audience: string;
  /** The application that tokens are issued to, for `client_id`. Default: `audience`, a service's own front end. */
  readonly clientId?: string;
  /** How long a token is valid. Default 10 minutes. Tokens that live longer are refused, even when rightly signed. */
  readonly accessLifetime?: Duration;
  /** How far the clocks of issuer and verifier may differ. Default 5 seconds, at most 60 (row JW-09). */
  readonly leeway?: Duration;
  /** Longest token, in bytes: longer ones are refused unread. Default 8192, at most 65,536. */
  readonly maxBytes?: number;
  /**
   * How many verified tokens are remembered, to skip the signature when they come again; expiry, keys and revocations
   * are asked every time. About 2 KB each, at most twice as many. Default 0.
   */
  readonly cache?: number;
  /** Names of claims that the application adds to the usual ones. Others are refused by `sign` (row JW-12). */
  readonly claims?: readonly Own[];
  /** Knows the tokens that were revoked. Default: those of ended sessions, with `sessions`; else none are. */
  readonly revocation?: Revocation;
  /** Default: that of `sessions`, else the machine's. */
  readonly clock?: Clock;
}

export interface SessionTokensOptions<Own extends string = never> extends TokensOptions<Own> {
  /** The sessions that the tokens belong to. Refresh tokens are kept in their store and live as their `lifetime.refresh` says. */
  readonly sessions: Pick<Sessions, "records" | "assertSameSite">;
  /**
   * For how long after its use a refresh token may come again because the answer was lost; the same successor is then sent
   * again, unless that was used itself. Default 0: each use but the first ends the session. At most 10 seconds (row RT-04).
   */
  readonly refreshGrace?: Duration;
  /** The cookie of `tokenRoute`. Default `__Host-Http-rt; Path=/; Secure; HttpOnly; SameSite=Strict` (row RT-11). */
  readonly refreshCookie?: CookieOptions;
}

/**
 * Access tokens: signed, short-lived, verified without a look-up. With `sessions` they belong to sessions and are renewed
 * with refresh tokens.
 *
 * @throws TypeError for options that are missing or out of range, and for unfit keys
 */
export function createTokens<const Own extends string = never>(options: SessionTokensOptions<Own>): SessionTokens<Own>;
export function createTokens<const Own extends string = never>(options: TokensOptions<Own>): Tokens<Own>;
export function createTokens<const Own extends string = never>(
  options: TokensOptions<Own> & Partial<SessionTokensOptions<Own>>,
): Tokens<Own> {
  const { sessions, refreshGrace = 0, refreshCookie } = options;
  if (sessions === undefined) return new Tokens<Own>(checkedSettings(options));
  const { core, store } = sessions.records();
  inRange("refreshGrace", refreshGrace, 0, seconds(10));
  const settings = checkedSettings({ clock: core.clock, ...options });
  const { revocation = sessionRevocation(core, store, settings.lifetime + settings.leeway) } = settings;
  const cookie = cookieTransport({ name: "__Host-Http-rt", sameSite: "Strict", ...refreshCookie });
  return new SessionTokens<Own>(
    { ...settings, revocation },
    new RefreshTokens(core, store, refreshGrace),
    sessions,
    cookie,
  );
}

function checkedSettings(options: TokensOptions<string>): AccessTokenSettings {
  const { issuer, audience, clientId = audience, claims = [], revocation, clock = systemClock } = options;
  const { accessLifetime = minutes(10), leeway = seconds(5), maxBytes = 8192, cache = 0 } = options;
  for (const [name, text] of Object.entries({ issuer, audience, clientId }))
    if (typeof text !== "string" || text === "") throw new TypeError(`createTokens: ${name} has to be a text`);
  for (const name of claims)
    if (KNOWN_CLAIMS.has(name)) throw new TypeError(`createTokens: ${JSON.stringify(name)} is no claim of your own`);
  inRange("accessLifetime", accessLifetime, 1000, Number.MAX_SAFE_INTEGER);
  inRange("leeway", leeway, 0, 60_000);
  inRange("maxBytes", maxBytes, 256, MAX_TEXT);
  inRange("cache", cache, 0, 10_000_000);
  const inputs: readonly KeyInput[] = Array.isArray(options.keys) ? options.keys : [options.keys];
  const keys = new KeyRing(inputs, clock, accessLifetime + leeway);
  return {
    keys,
    issuer,
    audience,
    clientId,
    clock,
    leeway,
    maxBytes,
    cache,
    claims,
    revocation,
    lifetime: accessLifetime,
  };
}

function inRange(name: string, value: number, least: number, most: number): void {
  if (!Number.isSafeInteger(value) || value < least || value > most)
    throw new TypeError(`createTokens: ${name} is a whole number from ${least} to ${most}`);
}
