import { Buffer } from "node:buffer";
import { createHmac, type KeyObject, sign, verify } from "node:crypto";
import type { Instant } from "../session/clock.ts";
import { equalInConstantTime } from "../session/crypto.ts";
import { decodeBytes, decodeText } from "./base64url.ts";
import type { TokenRejection } from "./claims.ts";
import type { KeyRing, RingKey } from "./key-ring.ts";
import { MAX_KID, type TokenAlgorithm } from "./keys.ts";
import { isType, type TokenType } from "./kinds.ts";

/** Why a text is no signed token of ours. For events and logs; the client is never told. */
export type JwsRejection = Extract<
  TokenRejection,
  "malformed" | "too-large" | "header" | "type" | "unknown-key" | "signature"
>;

/** A payload whose signature is right. */
export interface VerifiedJws {
  readonly claims: Readonly<Record<string, unknown>>;
  /** The key that signed it. */
  readonly key: RingKey;
}

/** Header members that would let a token bring its own key, or change how it is read (rows JW-04, JW-05). */
const REFUSED_MEMBERS = ["jwk", "jku", "x5u", "x5c", "crit", "b64"];

const JSON_STRING = /"(?:[^"\\]|\\.)*"/g;

/**
 * Signs and verifies one kind of token in the compact serialisation of RFC 7515, and no other serialisation. Which key and
 * algorithm count is decided by the ring alone: a token's `alg` has to agree, and `none` is no algorithm of any key.
 */
export class CompactJws {
  readonly #type: TokenType;
  readonly #keys: KeyRing;
  readonly #maxBytes: number;
  /** The header of the last valid token: one issuer writes the same one again and again, so that it need not be read. */
  #lastHeader = "";
  #lastKey: RingKey | undefined;
  /** What this ring's tokens begin with. */
  readonly #prefixes = new WeakMap<RingKey, string>();

  constructor(type: TokenType, keys: KeyRing, maxBytes: number) {
    this.#type = type;
    this.#keys = keys;
    this.#maxBytes = maxBytes;
  }

  /** The payload as a token, signed by the key that signs now. */
  sign(payload: string): string {
    const key = this.#keys.signing;
    if (key.signing === undefined) throw new TypeError("sign: the first key is public; only a private key signs");
    let prefix = this.#prefixes.get(key);
    if (prefix === undefined) {
      prefix = `${base64url(JSON.stringify({ alg: key.alg, typ: this.#type, kid: key.kid }))}.`;
      this.#prefixes.set(key, prefix);
    }
    const input = prefix + base64url(payload);
    return `${input}.${signature(key.alg, key.signing, input)}`;
  }

  /** The claims of a token of this kind, once its signature is found right, or why it is none (row JW-13). */
  verify(token: string, now: Instant): VerifiedJws | JwsRejection {
    // The alphabet is ASCII, so that a longer text has more bytes, and one that has more bytes than characters is refused below.
    if (token.length > this.#maxBytes) return "too-large";
    const first = token.indexOf(".");
    const second = token.indexOf(".", first + 1);
    if (first <= 0 || second < 0 || token.includes(".", second + 1)) return "malformed";

    const last = this.#lastKey;
    const header = token.slice(0, first);
    const isLast = last !== undefined && now < last.until && header === this.#lastHeader;
    const key = isLast ? last : this.#keyOf(header, now);
    if (typeof key === "string") return key;
    const payload = decodeText(token.slice(first + 1, second));
    if (payload === undefined) return "malformed";
    if (!isSignature(key, token.slice(0, second), token.slice(second + 1))) return "signature";
    if (!isLast) {
      this.#lastHeader = header;
      this.#lastKey = key;
    }

    const claims = jsonObject(payload);
    return claims === undefined ? "malformed" : { claims, key };
  }

  #keyOf(segment: string, now: Instant): RingKey | JwsRejection {
    const text = decodeText(segment);
    const header = text === undefined ? undefined : jsonObject(text);
    if (text === undefined || header === undefined) return "malformed";
    if (memberCount(header) !== text.replace(JSON_STRING, "").split(":").length - 1) return "malformed";
    if (REFUSED_MEMBERS.some((member) => Object.hasOwn(header, member))) return "header";
    if (!isType(header.typ, this.#type)) return "type";
    const { alg, kid } = header;
    if (typeof kid !== "string" || kid.length > MAX_KID) return "unknown-key";
    const key = this.#keys.find(kid, now);
    if (key === undefined) return "unknown-key";
    return alg === key.alg ? key : "header";
  }
}

function base64url(text: string): string {
  return Buffer.from(text).toString("base64url");
}

function signature(alg: TokenAlgorithm, key: KeyObject, input: string): string {
  switch (alg) {
    case "HS256":
      return createHmac("sha256", key).update(input).digest("base64url");
    case "ES256":
      return sign("sha256", Buffer.from(input), { key, dsaEncoding: "ieee-p1363" }).toString("base64url");
    case "EdDSA":
      return sign(null, Buffer.from(input), key).toString("base64url");
  }
}

/** OpenSSL refuses an r or s outside [1, n-1] itself; DER has another length (row JW-08). */
function isSignature({ alg, verifying: key }: RingKey, input: string, text: string): boolean {
  if (alg === "HS256") return equalInConstantTime(signature(alg, key, input), text);
  const bytes = decodeBytes(text);
  if (bytes?.length !== 64) return false;
  return alg === "ES256"
    ? verify("sha256", Buffer.from(input), { key, dsaEncoding: "ieee-p1363" }, bytes)
    : verify(null, Buffer.from(input), key, bytes);
}

function jsonObject(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch {
    // Not JSON.
  }
  return undefined;
}

/** Members of an object and of all within it. Fewer than the colons of its text means that one was written twice. */
function memberCount(value: unknown): number {
  if (typeof value !== "object" || value === null) return 0;
  const own = Array.isArray(value) ? 0 : Object.keys(value).length;
  return Object.values(value).reduce((sum: number, inner) => sum + memberCount(inner), own);
}
