import { base64url, fromBase64url, randomBytes } from "../../session/crypto.ts";
import { concat, decrypt, encrypt, KEY_ID_BYTES, NONCE_BYTES, TAG_BYTES } from "./aes-gcm.ts";
import type { KeyRing } from "./key-ring.ts";

/** Of the envelope and of what is in it. */
const VERSION = 1;
const HEAD_BYTES = 1 + KEY_ID_BYTES;
const LEAST_BYTES = HEAD_BYTES + NONCE_BYTES + TAG_BYTES;
/** Base64url whose first byte is the version. */
const FORM = /^A[Q-Za-f][A-Za-z0-9_-]*$/;

/**
 * Sealed bytes as text: base64url of version (1 byte), key id (4), random nonce (12), AES-256-GCM ciphertext and tag (16).
 * What it is for, and what carries it, is bound in, so that nothing sealed for one place opens in another (row CK-17).
 */
export class Envelopes {
  readonly #keys: KeyRing;
  readonly #place: Uint8Array;

  /** @param purpose what is sealed; `carrier` the cookie or header that it travels in */
  constructor(keys: KeyRing, purpose: string, carrier: string) {
    this.#keys = keys;
    this.#place = new TextEncoder().encode([purpose, carrier].map((text) => `${text.length}:${text}`).join(""));
  }

  async seal(plaintext: Uint8Array): Promise<string> {
    const key = await this.#keys.sealing();
    const head = concat([Uint8Array.of(VERSION), key.id]);
    const nonce = randomBytes(NONCE_BYTES);
    const sealed = await encrypt(key, nonce, plaintext, concat([head, this.#place]));
    return base64url(concat([head, nonce, sealed]));
  }

  /** What was sealed; `undefined` for anything that these keys did not seal for this place. Never throws. */
  async open(text: string): Promise<Uint8Array | undefined> {
    const bytes = isEnvelope(text) ? fromBase64url(text) : undefined;
    if (bytes === undefined) return undefined;
    const head = bytes.subarray(0, HEAD_BYTES);
    const nonce = bytes.subarray(HEAD_BYTES, HEAD_BYTES + NONCE_BYTES);
    const sealed = bytes.subarray(HEAD_BYTES + NONCE_BYTES);
    for (const key of await this.#keys.named(head.subarray(1))) {
      const plaintext = await decrypt(key, nonce, sealed, concat([head, this.#place]));
      if (plaintext !== undefined) return plaintext;
    }
    return undefined;
  }
}

/** Whether a text has the form of an envelope of a known version. */
export function isEnvelope(text: string): boolean {
  return text.length >= Math.ceil((LEAST_BYTES * 4) / 3) && FORM.test(text);
}
