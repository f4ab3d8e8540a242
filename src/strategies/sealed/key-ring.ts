import { base64url } from "../../session/crypto.ts";
import { type AesKey, deriveKey } from "./aes-gcm.ts";
import { keyBytes, type SealingKey } from "./keys.ts";

/**
 * The keys of one configuration: the first one seals, all of them open. To change keys without logging anybody out, put the
 * new one last in every process, then first, and take the old one away when what it sealed has expired.
 */
export class KeyRing {
  readonly #keys: Promise<readonly AesKey[]>;

  /** @throws TypeError for a list that is empty or names a key twice, and for a key that is unfit (row SC-08) */
  constructor(keys: readonly SealingKey[]) {
    if (!Array.isArray(keys) || keys.length === 0)
      throw new TypeError("keys: at least one sealing key is needed, in a list; the first one seals, all of them open");
    const secrets = keys.map(keyBytes);
    if (new Set(secrets.map(base64url)).size < secrets.length) throw new TypeError("keys: the same key is named twice");
    this.#keys = Promise.all(secrets.map(deriveKey));
    // Whoever uses the ring is told.
    this.#keys.catch(() => {});
  }

  /** The key that seals. */
  async sealing(): Promise<AesKey> {
    return (await this.#keys)[0] as AesKey;
  }

  /** Those that an envelope may mean by this name: hardly ever more than one. */
  async named(id: Uint8Array): Promise<readonly AesKey[]> {
    return (await this.#keys).filter((key) => key.id.every((byte, i) => byte === id[i]));
  }
}
