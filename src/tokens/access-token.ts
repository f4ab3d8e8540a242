import type { Clock, Duration } from "../session/clock.ts";
import { randomUuid } from "../session/crypto.ts";
import { InvalidTokenError } from "../session/errors.ts";
import { type SessionEventListener, SessionEvents } from "../session/events.ts";
import { parseSessionId } from "../session/token.ts";
import {
  type AccessClaims,
  areUserClaims,
  checkClaims,
  type ExpectedClaims,
  issuedAt,
  KNOWN_CLAIMS,
  SET_BY_SIGN,
  type TokenRejection,
  type UserClaims,
} from "./claims.ts";
import { CompactJws } from "./jws.ts";
import type { KeyRing } from "./key-ring.ts";
import type { Jwk } from "./keys.ts";
import { TOKEN_TYPES } from "./kinds.ts";
import type { Revocation } from "./revocation.ts";
import { type Verified, VerifiedCache } from "./verified-cache.ts";

/** The claims that an application declared with the option `claims`. Their values are what it signed, unchecked. */
export type OwnClaims<Own extends string> = { readonly [Name in Own]?: unknown };

/** The claims of a verified access token. */
export type AccessToken<Own extends string = never> = AccessClaims & OwnClaims<Own>;

export interface SignOptions {
  /** The service that the token is for, or several. Default: the option `audience`. */
  readonly audience?: string | readonly string[];
  /** Milliseconds until it expires, at most `accessLifetime`, which is also the default. */
  readonly lifetime?: Duration;
}

/** What `createTokens` has checked. */
export interface AccessTokenSettings extends ExpectedClaims {
  readonly keys: KeyRing;
  readonly clock: Clock;
  readonly clientId: string;
  readonly maxBytes: number;
  readonly cache: number;
  readonly claims: readonly string[];
  readonly revocation: Revocation | undefined;
}

/** Signs and verifies access tokens (RFC 9068). */
export class Tokens<Own extends string = never> {
  /** The keys, to change them while requests are served. */
  readonly keys: KeyRing;
  readonly clock: Clock;
  readonly #settings: AccessTokenSettings;
  readonly #jws: CompactJws;
  readonly #cache: VerifiedCache | undefined;
  readonly #events = new SessionEvents();
  readonly #allowed: ReadonlySet<string>;

  /** @internal `createTokens` makes it. */
  constructor(settings: AccessTokenSettings) {
    this.keys = settings.keys;
    this.clock = settings.clock;
    this.#settings = settings;
    this.#jws = new CompactJws(TOKEN_TYPES.access, settings.keys, settings.maxBytes);
    this.#cache = settings.cache === 0 ? undefined : new VerifiedCache(settings.cache);
    this.#allowed = new Set([...KNOWN_CLAIMS, ...settings.claims].filter((name) => !SET_BY_SIGN.includes(name)));
  }

  /**
   * A signed access token. `iss`, `aud`, `iat`, `exp` and `jti` are set here.
   *
   * @throws TypeError for claims of the wrong type or that were not declared, a token above `maxBytes`, and a first key
   *   that is public
   */
  sign(claims: UserClaims & OwnClaims<Own>, options: SignOptions = {}): string {
    const { issuer, audience, clientId, lifetime: longest, maxBytes } = this.#settings;
    const { audience: aud = audience, lifetime = longest } = options;
    // A user's whole record, spread into the claims, would be there for everybody to read (row JW-12).
    for (const name of Object.keys(claims))
      if (!this.#allowed.has(name))
        throw new TypeError(
          `sign: the claim ${JSON.stringify(name)} is not among those declared with the option claims`,
        );
    const ofUser = { client_id: clientId, ...claims };
    if (!areUserClaims(ofUser)) throw new TypeError("sign: sub is missing, or a claim has the wrong type");
    if (!Number.isFinite(lifetime) || lifetime < 1000 || lifetime > longest)
      throw new TypeError("sign: lifetime is from one second to accessLifetime, in milliseconds");
    const now = this.clock.now();
    const iat = Math.floor(now / 1000);
    const exp = iat + Math.floor(lifetime / 1000);
    const jti = randomUuid();
    const token = this.#jws.sign(JSON.stringify({ iss: issuer, aud, ...ofUser, iat, exp, jti, iat_ms: now }));
    if (token.length > maxBytes) throw new TypeError(`sign: the token takes ${token.length} bytes, more than maxBytes`);
    return token;
  }

  /**
   * The claims of a token that this issuer signed for this service, that is valid now, and that was not revoked.
   *
   * @throws InvalidTokenError for every other text, always the same one; the event `tokenRejected` tells why
   * @throws StoreUnavailableError when the revocations cannot be asked
   */
  async verify(token: string): Promise<AccessToken<Own>> {
    const verified = this.#judge(token);
    if (typeof verified === "string") throw this.#rejected(verified);
    const { claims } = verified;
    const { revocation } = this.#settings;
    if (revocation !== undefined) {
      const { sid, sub } = claims;
      const revoked = revocation.isRevoked({ sid, sub, issuedAt: issuedAt(claims) });
      // The usual answer is there at once; to await it would cost a turn of the queue.
      if (revoked !== false && (await revoked) !== false) throw this.#rejected("revoked", claims);
    }
    return claims as AccessToken<Own>;
  }

  /** The public keys, for `/.well-known/jwks.json`. Empty where the key is a secret. */
  jwks(): { readonly keys: readonly Jwk[] } {
    return this.keys.jwks();
  }

  /** Listens to refused tokens; the returned function ends that. On Node also the channel `coatcheck:tokenRejected`. */
  on(type: "tokenRejected", listener: SessionEventListener<"tokenRejected">): () => void {
    return this.#events.on(type, listener);
  }

  #judge(token: string): Verified | TokenRejection {
    if (typeof token !== "string") return "malformed";
    const now = this.clock.now();
    const before = this.#cache?.get(token);
    if (before !== undefined) {
      if (now < before.claims.exp * 1000 + this.#settings.leeway && now < before.key.until) return before;
      this.#cache?.delete(token);
    }
    const jws = this.#jws.verify(token, now);
    if (typeof jws === "string") return jws;
    const claims = checkClaims(jws.claims, this.#settings, now);
    if (typeof claims === "string") return claims;
    const verified: Verified = { claims, key: jws.key };
    if (this.#cache !== undefined) {
      // Several requests get the same object.
      deepFreeze(claims);
      this.#cache.set(token, verified);
    }
    return verified;
  }

  #rejected(reason: TokenRejection, claims?: AccessClaims): InvalidTokenError {
    const at = this.clock.now();
    const sessionId = parseSessionId(claims?.sid);
    this.#events.emit({
      type: "tokenRejected",
      at,
      reason,
      ...(sessionId === undefined ? undefined : { sessionId }),
      ...(claims === undefined ? undefined : { userId: claims.sub }),
    });
    return new InvalidTokenError();
  }
}

function deepFreeze(value: unknown): void {
  if (typeof value !== "object" || value === null) return;
  Object.freeze(value);
  for (const inner of Object.values(value)) deepFreeze(inner);
}
