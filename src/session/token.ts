import { base64url, type Eventually, equalInConstantTime, randomBytes, sha256 } from "./crypto.ts";

declare const brand: unique symbol;

/** Public, stable name of a session: 16 random bytes, base64url, 22 characters. Safe to log; useless as a credential. */
export type SessionId = string & { readonly [brand]: "SessionId" };

/** The credential: 32 random bytes, base64url, 43 characters. Never stored, never logged. */
export type SessionSecret = string & { readonly [brand]: "SessionSecret" };

/** SHA-256 of a secret, base64url, 43 characters: all that a store ever sees of it (standard row SC-01). */
export type SecretHash = string & { readonly [brand]: "SecretHash" };

/** What travels: `<id>.<secret>`, 66 characters. */
export interface SessionToken {
  readonly id: SessionId;
  readonly secret: SessionSecret;
}

const TOKEN = /^[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}$/;
const ID = /^[A-Za-z0-9_-]{22}$/;

export const newSessionId = (): SessionId => base64url(randomBytes(16)) as SessionId;
export const newSecret = (): SessionSecret => base64url(randomBytes(32)) as SessionSecret;
export const hashSecret = (secret: SessionSecret): Eventually<SecretHash> => sha256(secret) as Eventually<SecretHash>;

/** Whether a secret's hash is the stored one, in constant time. */
export const sameHash = (a: SecretHash, b: SecretHash): boolean => equalInConstantTime(a, b);

export const formatToken = (token: SessionToken): string => `${token.id}.${token.secret}`;

/** The token in a text from outside, or `undefined` when length or alphabet is wrong (standard row ID-05). */
export function parseToken(text: string): SessionToken | undefined {
  if (text.length !== 66 || !TOKEN.test(text)) return undefined;
  return { id: text.slice(0, 22) as SessionId, secret: text.slice(23) as SessionSecret };
}

/** The session id in a text from outside, such as a route parameter, or `undefined`. */
export function parseSessionId(text: unknown): SessionId | undefined {
  return typeof text === "string" && text.length === 22 && ID.test(text) ? (text as SessionId) : undefined;
}
