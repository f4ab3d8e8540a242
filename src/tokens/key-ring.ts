import type { Clock, Duration, Instant } from "../session/clock.ts";
import { importKey, type Jwk, type KeyInput, type TokenKey } from "./keys.ts";

/** A key of the ring, and when it leaves. */
export interface RingKey extends TokenKey {
  /** Verifies before this instant; `Infinity` until it is retired. */
  readonly until: Instant;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/**
 * The keys of one issuer: one signs, all verify. To change the signing key without refusing a request, `add` the new one in
 * every process, wait until those who cache the JWKS have it, `promote` it everywhere, then `retire` the old one.
 */
export class KeyRing {
  /** A `kid` from outside is looked up here and used for nothing else (row JW-04). */
  readonly #keys = new Map<string, Mutable<RingKey>>();
  readonly #clock: Clock;
  readonly #retention: Duration;
  #signing: string;

  /** @internal `createTokens` makes it. `retention`: how long a retired key goes on to verify. */
  constructor(keys: readonly KeyInput[], clock: Clock, retention: Duration) {
    this.#clock = clock;
    this.#retention = retention;
    const [first, ...others] = keys;
    if (first === undefined) throw new TypeError("keys: at least one key is needed");
    this.#signing = this.add(first);
    for (const key of others) this.add(key);
  }

  /**
   * Adds a key that verifies from now on. Answers its `kid`.
   *
   * @throws TypeError for a key that is unfit, a `kid` that is taken, and a secret beside key pairs (row JW-02)
   */
  add(input: KeyInput): string {
    const key = importKey(input);
    this.#dropRetired();
    if (this.#keys.has(key.kid)) throw new TypeError(`keys: there is a key ${JSON.stringify(key.kid)} already`);
    for (const { alg } of this.#keys.values())
      if ((alg === "HS256") !== (key.alg === "HS256"))
        throw new TypeError("keys: secrets (HS256) and key pairs do not share a ring");
    this.#keys.set(key.kid, { ...key, until: Number.POSITIVE_INFINITY });
    return key.kid;
  }

  /**
   * Signs with this key from now on. The one that signed before still verifies.
   *
   * @throws TypeError for a key that is unknown, retired or public
   */
  promote(kid: string): void {
    const key = this.#known(kid);
    if (key.signing === undefined) throw new TypeError(`keys: ${JSON.stringify(kid)} is a public key and cannot sign`);
    if (key.until !== Number.POSITIVE_INFINITY) throw new TypeError(`keys: ${JSON.stringify(kid)} is retired`);
    this.#signing = kid;
  }

  /**
   * Takes a key away once every token that it signed has expired (row JW-15).
   *
   * @throws TypeError for a key that is unknown or still signs
   */
  retire(kid: string): void {
    const key = this.#notSigning(kid);
    key.until = Math.min(key.until, this.#clock.now() + this.#retention);
  }

  /**
   * Takes a key away at once, with every token that it signed: after a theft.
   *
   * @throws TypeError for a key that is unknown or still signs
   */
  remove(kid: string): void {
    this.#notSigning(kid).until = Number.NEGATIVE_INFINITY;
    this.#keys.delete(kid);
  }

  /** The key that signs. */
  get signing(): RingKey {
    return this.#known(this.#signing);
  }

  /** The key that a token names, unless it is unknown or its time is over. */
  find(kid: string, now: Instant): RingKey | undefined {
    const key = this.#keys.get(kid);
    return key !== undefined && now < key.until ? key : undefined;
  }

  /** The public keys as a JWK Set (RFC 7517 section 5). Secrets are never in it, nor private members. */
  jwks(): { readonly keys: readonly Jwk[] } {
    this.#dropRetired();
    return { keys: [...this.#keys.values()].flatMap(({ publicJwk }) => (publicJwk === undefined ? [] : [publicJwk])) };
  }

  #known(kid: string): Mutable<RingKey> {
    const key = this.#keys.get(kid);
    if (key === undefined) throw new TypeError(`keys: there is no key ${JSON.stringify(kid)}`);
    return key;
  }

  #notSigning(kid: string): Mutable<RingKey> {
    if (kid === this.#signing) throw new TypeError(`keys: ${JSON.stringify(kid)} signs; promote another key first`);
    return this.#known(kid);
  }

  #dropRetired(): void {
    const now = this.#clock.now();
    for (const [kid, key] of this.#keys) if (now >= key.until) this.#keys.delete(kid);
  }
}
