/**
 * Randomness and digests. Node's own module is used where the runtime has it, because it answers at once; elsewhere
 * WebCrypto does the same work asynchronously.
 *
 * @module
 */

/** A value now, or a promise of it where the runtime only has asynchronous digests. */
export type Eventually<T> = T | Promise<T>;

type NodeCrypto = typeof import("node:crypto");

/** Node's own module, where the runtime has it. */
export const node = (
  globalThis as { process?: { getBuiltinModule?: (id: string) => unknown } }
).process?.getBuiltinModule?.("node:crypto") as NodeCrypto | undefined;

const encoder = new TextEncoder();

/** `count` bytes from the system's generator (standard row ID-01). There is no fallback: if it fails, this throws. */
export function randomBytes(count: number): Uint8Array {
  const bytes = crypto.getRandomValues(new Uint8Array(count));
  if (bytes.length !== count) throw new Error("the random generator returned too few bytes");
  return bytes;
}

/** A name that nobody else has: a random UUID (RFC 9562), 122 bits. Not a secret. */
export const randomUuid = (): string => crypto.randomUUID();

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

const Buffer = node && (globalThis as { Buffer?: typeof import("node:buffer").Buffer }).Buffer;

/** Unpadded base64url (RFC 4648 section 5). */
export function base64url(bytes: Uint8Array): string {
  if (bytes.length > 64 && Buffer !== undefined)
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("base64url");
  let text = "";
  for (let i = 0; i < bytes.length; i += 3) {
    const [a = 0, b, c] = [bytes[i], bytes[i + 1], bytes[i + 2]];
    text += ALPHABET[a >> 2];
    text += ALPHABET[((a & 3) << 4) | ((b ?? 0) >> 4)];
    if (b !== undefined) text += ALPHABET[((b & 15) << 2) | ((c ?? 0) >> 6)];
    if (c !== undefined) text += ALPHABET[c & 63];
  }
  return text;
}

/** The bytes of unpadded base64url; `undefined` for a text that is not exactly what its bytes encode to. */
export function fromBase64url(text: string): Uint8Array | undefined {
  const bytes = Buffer === undefined ? decoded(text) : Buffer.from(text, "base64url");
  return base64url(bytes) === text ? bytes : undefined;
}

function decoded(text: string): Uint8Array {
  const bytes = new Uint8Array(Math.floor((text.length * 3) / 4));
  for (let i = 0, bits = 0, at = 0; i < text.length; i++) {
    bits = (bits << 6) | (ALPHABET.indexOf(text[i] as string) & 63);
    if (i % 4 !== 0) bytes[at++] = bits >> (6 - 2 * (i % 4));
  }
  return bytes;
}

/** SHA-256 of a text, base64url, 43 characters. */
export function sha256(text: string): Eventually<string> {
  if (node?.hash !== undefined) return node.hash("sha256", text, "base64url");
  if (node !== undefined) return node.createHash("sha256").update(text).digest("base64url");
  return crypto.subtle.digest("SHA-256", encoder.encode(text)).then((digest) => base64url(new Uint8Array(digest)));
}

/** HMAC-SHA-256 of a text under a key given as text, base64url, 43 characters. */
export async function hmacSha256(key: string, text: string): Promise<string> {
  if (node !== undefined) return node.createHmac("sha256", key).update(text).digest("base64url");
  const imported = await crypto.subtle.importKey("raw", encoder.encode(key), { name: "HMAC", hash: "SHA-256" }, false, [
    "sign",
  ]);
  return base64url(new Uint8Array(await crypto.subtle.sign("HMAC", imported, encoder.encode(text))));
}

/** Compares in a time that depends on the lengths alone. */
export function equalInConstantTime(a: string, b: string): boolean {
  let difference = a.length ^ b.length;
  for (let i = 0; i < a.length; i++) difference |= a.charCodeAt(i) ^ b.charCodeAt(i);
  return difference === 0;
}
