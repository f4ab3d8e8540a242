import { Buffer } from "node:buffer";
import { createPublicKey } from "node:crypto";
import { isGuessable } from "../session/guessable.ts";
import { decodeBytes } from "./base64url.ts";

/**
 * The bytes of a secret from the configuration: a `Uint8Array`, or base64url text. Make one with
 * `generateKey("HS256")`, or `node -p 'crypto.randomBytes(32).toString("base64url")'`.
 *
 * @throws TypeError below 32 bytes, and for what no random generator made: a password, a repeated pattern, a public key
 * (rows JW-03, SC-08). The message never shows the secret.
 */
export function secretBytes(secret: Uint8Array | string): Buffer {
  const bytes = typeof secret === "string" ? fromText(secret) : Buffer.from(secret);
  if (bytes.length < 32) throw new TypeError(`a secret needs at least 32 random bytes; this one has ${bytes.length}`);
  if (isPublicKey(bytes)) throw new TypeError("a public key is no secret: anybody could sign with it");
  if (isGuessable(bytes, typeof secret === "string" ? secret : undefined))
    throw new TypeError("a secret has to come from a random generator: this one can be guessed");
  return bytes;
}

function fromText(text: string): Buffer {
  const bytes = decodeBytes(text);
  if (bytes === undefined) throw new TypeError("a secret given as text has to be base64url, without padding");
  return bytes;
}

/** A key that everybody has: as PEM, DER or JWK text (row JW-02). */
function isPublicKey(bytes: Buffer): boolean {
  const text = bytes.toString("latin1").trimStart();
  if (text.startsWith("-----BEGIN") || /^\{[\s\S]*"kty"/.test(text)) return true;
  try {
    createPublicKey({ key: bytes, format: "der", type: "spki" });
    return true;
  } catch {
    return false;
  }
}
