import { base64url, equalInConstantTime, hmacSha256, randomBytes } from "../session/crypto.ts";
import type { SessionId, SessionSecret } from "../session/token.ts";

/**
 * CSRF tokens: `<nonce>.<mac>`, 65 characters, where the MAC is HMAC-SHA-256 under the session's secret over the
 * length-prefixed purpose, session id and nonce (rows CS-07, CS-08). A fresh nonce each time masks the token, so that
 * compression does not betray it; a new secret makes every older token worthless.
 */
export async function createCsrfToken(id: SessionId, secret: SessionSecret): Promise<string> {
  const nonce = base64url(randomBytes(16));
  return `${nonce}.${await mac(id, secret, nonce)}`;
}

/** Whether a text from outside is a token of this session, in constant time. */
export async function checkCsrfToken(id: SessionId, secret: SessionSecret, token: unknown): Promise<boolean> {
  if (typeof token !== "string" || !/^[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}$/.test(token)) return false;
  return equalInConstantTime(token.slice(23), await mac(id, secret, token.slice(0, 22)));
}

function mac(id: SessionId, secret: SessionSecret, nonce: string): Promise<string> {
  return hmacSha256(secret, ["coatcheck csrf 1", id, nonce].map((field) => `${field.length}:${field}`).join(""));
}
