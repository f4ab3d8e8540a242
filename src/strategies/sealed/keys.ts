import { fromBase64url } from "../../session/crypto.ts";
import { isGuessable } from "../../session/guessable.ts";

/** A key as it comes from the configuration: base64url text without padding, or bytes. At least 32 random ones. */
export type SealingKey = string | Uint8Array;

const HOW = "Make one with: node -p 'crypto.randomBytes(32).toString(\"base64url\")'";

/**
 * The bytes of a key from the configuration. The messages never show it.
 *
 * @throws TypeError for a key that is missing, shorter than 32 bytes, or can be guessed (row SC-08)
 */
export function keyBytes(key: SealingKey): Uint8Array {
  if (key === undefined || key === null || key.length === 0) throw new TypeError(`A sealing key is missing. ${HOW}`);
  const length = typeof key === "string" ? Math.floor((key.length * 3) / 4) : key.length;
  if (length < 32) throw new TypeError(`A sealing key has ${length} bytes and needs 32. ${HOW}`);
  const bytes = typeof key === "string" ? fromBase64url(key) : key;
  if (!(bytes instanceof Uint8Array))
    throw new TypeError(`A sealing key is base64url text without padding, or bytes. ${HOW}`);
  if (isGuessable(bytes, typeof key === "string" ? key : undefined))
    throw new TypeError(`A sealing key has to come from a random generator; this one can be guessed. ${HOW}`);
  return bytes.slice();
}
