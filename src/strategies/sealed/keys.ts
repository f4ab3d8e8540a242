import { fromBase64url } from "../../session/crypto.ts";

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
  if (looksTyped(key) || entropy(bytes) < 128)
    throw new TypeError(`A sealing key has to come from a random generator; this one can be guessed. ${HOW}`);
  return bytes.slice();
}

/** Passphrases and placeholders, as text or in bytes. Random ones look like this about once in ten million, or less. */
function looksTyped(key: SealingKey): boolean {
  const text = typeof key === "string" ? key : String.fromCharCode(...key);
  return (
    /^(?:[a-z\s.,:;!?'_-]+|[A-Z\s.,:;!?'_-]+)$/.test(text) || /secret|password|changeme|placeholder|example/i.test(text)
  );
}

/** How many bits the frequencies of the bytes account for: about 155 for 32 random ones, 0 for a repeated one. */
function entropy(bytes: Uint8Array): number {
  const counts = new Map<number, number>();
  for (const byte of bytes) counts.set(byte, (counts.get(byte) ?? 0) + 1);
  let bits = 0;
  for (const count of counts.values()) bits -= count * Math.log2(count / bytes.length);
  return bits;
}
