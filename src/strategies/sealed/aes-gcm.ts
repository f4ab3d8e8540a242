import { node } from "../../session/crypto.ts";

/** A key for AES-256-GCM, and the name that envelopes call it by. */
export interface AesKey {
  readonly id: Uint8Array;
  /** Of `node:crypto`, or of WebCrypto. */
  readonly key: unknown;
}

type KeyObject = import("node:crypto").KeyObject;
type CryptoKey = import("node:crypto").webcrypto.CryptoKey;
type Bytes = Uint8Array<ArrayBuffer>;

export const KEY_ID_BYTES = 4;
export const NONCE_BYTES = 12;
export const TAG_BYTES = 16;

const INFO = new TextEncoder().encode("coatcheck seal 1");

/** Key and name, both derived from a secret (HKDF-SHA-256, RFC 5869), so that the name tells nothing of the key. */
export async function deriveKey(secret: Uint8Array): Promise<AesKey> {
  const length = 32 + KEY_ID_BYTES;
  if (node !== undefined) {
    const bytes = new Uint8Array(node.hkdfSync("sha256", secret, new Uint8Array(0), INFO, length));
    return { id: bytes.slice(32), key: node.createSecretKey(bytes.subarray(0, 32)) };
  }
  const { subtle } = crypto;
  const material = await subtle.importKey("raw", secret as Bytes, "HKDF", false, ["deriveBits"]);
  const derivation = { name: "HKDF", hash: "SHA-256", salt: new Uint8Array(0), info: INFO };
  const bytes = new Uint8Array(await subtle.deriveBits(derivation, material, 8 * length));
  const key = await subtle.importKey("raw", bytes.slice(0, 32), "AES-GCM", false, ["encrypt", "decrypt"]);
  return { id: bytes.slice(32), key };
}

/** Ciphertext and tag. A nonce must never be used twice with one key. */
export async function encrypt(
  { key }: AesKey,
  nonce: Uint8Array,
  plaintext: Uint8Array,
  aad: Uint8Array,
): Promise<Uint8Array> {
  if (node !== undefined) {
    const cipher = node.createCipheriv("aes-256-gcm", key as KeyObject, nonce, { authTagLength: TAG_BYTES });
    cipher.setAAD(aad);
    const [body, rest] = [cipher.update(plaintext), cipher.final()];
    return concat([body, rest, cipher.getAuthTag()]);
  }
  const algorithm = { name: "AES-GCM", iv: nonce as Bytes, additionalData: aad as Bytes, tagLength: 8 * TAG_BYTES };
  return new Uint8Array(await crypto.subtle.encrypt(algorithm, key as CryptoKey, plaintext as Bytes));
}

/** The plaintext; `undefined` unless ciphertext, tag and `aad` are exactly what this key sealed. */
export async function decrypt(
  { key }: AesKey,
  nonce: Uint8Array,
  sealed: Uint8Array,
  aad: Uint8Array,
): Promise<Uint8Array | undefined> {
  try {
    if (node !== undefined) {
      const end = sealed.length - TAG_BYTES;
      const decipher = node.createDecipheriv("aes-256-gcm", key as KeyObject, nonce, { authTagLength: TAG_BYTES });
      decipher.setAAD(aad).setAuthTag(sealed.subarray(end));
      return concat([decipher.update(sealed.subarray(0, end)), decipher.final()]);
    }
    const algorithm = { name: "AES-GCM", iv: nonce as Bytes, additionalData: aad as Bytes, tagLength: 8 * TAG_BYTES };
    return new Uint8Array(await crypto.subtle.decrypt(algorithm, key as CryptoKey, sealed as Bytes));
  } catch {
    return undefined;
  }
}

export function concat(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
