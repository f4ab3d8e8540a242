import type { AccessClaims } from "./claims.ts";
import type { RingKey } from "./key-ring.ts";

/** What was found right once. Whether it still is (expiry, key, revocation) is asked each time. */
export interface Verified {
  readonly claims: AccessClaims;
  readonly key: RingKey;
}

/**
 * The verified tokens that were used most recently, by their whole text: another text is another token, however alike.
 * Holds at most twice `size`. When the younger half is full it becomes the older one, and what nobody asked for since the
 * last time goes.
 */
export class VerifiedCache {
  readonly #size: number;
  #young = new Map<string, Verified>();
  #old = new Map<string, Verified>();

  constructor(size: number) {
    this.#size = size;
  }

  get(token: string): Verified | undefined {
    const young = this.#young.get(token);
    if (young !== undefined) return young;
    const old = this.#old.get(token);
    if (old !== undefined) this.set(token, old);
    return old;
  }

  set(token: string, verified: Verified): void {
    if (this.#young.size >= this.#size) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(token, verified);
  }

  delete(token: string): void {
    this.#young.delete(token);
    this.#old.delete(token);
  }
}
