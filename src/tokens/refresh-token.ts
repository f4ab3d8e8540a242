import { base64url, hmacSha256, randomBytes } from "../session/crypto.ts";
import { formatToken, parseToken, type SessionId, type SessionSecret } from "../session/token.ts";

/**
 * What travels: `<id>.<secret>.<family>`, 89 characters. `id` and `secret` are those of a session token. `family`, 16 random
 * bytes, stays the same from login to logout: whoever brings it with a secret that is not in force has held an older token,
 * however many there have been since. The id, which is public, proves nothing.
 */
export interface RefreshToken {
  readonly id: SessionId;
  readonly secret: SessionSecret;
  readonly family: string;
}

const FAMILY = /^\.[A-Za-z0-9_-]{22}$/;

export const newFamily = (): string => base64url(randomBytes(16));

export const formatRefreshToken = (token: RefreshToken): string => `${formatToken(token)}.${token.family}`;

/** The refresh token in a text from outside, or `undefined` when length or alphabet is wrong. */
export function parseRefreshToken(text: unknown): RefreshToken | undefined {
  if (typeof text !== "string" || text.length !== 89 || !FAMILY.test(text.slice(66))) return undefined;
  const token = parseToken(text.slice(0, 66));
  return token && { ...token, family: text.slice(67) };
}

/** What makes a successor of a token, together with its secret. Kept in the record; of no use without that secret. */
export const newNonce = (): string => base64url(randomBytes(32));

/**
 * The secret after `secret`, made so that whoever still has `secret` can be given the same one again and nothing has to be
 * kept in clear: HMAC-SHA-256 under `secret` of purpose, id and nonce, each with its length before it.
 */
export async function successorOf({ id, secret }: RefreshToken, nonce: string): Promise<SessionSecret> {
  const parts = ["coatcheck refresh token", id, nonce].map((part) => `${part.length}:${part}`);
  return (await hmacSha256(secret, parts.join(""))) as SessionSecret;
}
