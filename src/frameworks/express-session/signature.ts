import { createHmac, type KeyObject } from "node:crypto";
import { equalInConstantTime } from "../../session/crypto.ts";

/** What Node's `createHmac` takes as a key. */
export type Secret = string | NodeJS.ArrayBufferView | KeyObject;

/** `<value>.<signature>`: HMAC-SHA-256, base64 without padding. */
export function sign(value: string, secret: Secret): string {
  return `${value}.${signatureOf(value, secret)}`;
}

/** The value of what `sign` made with one of these secrets. Compares in constant time. */
export function unsign(signed: string, secrets: readonly Secret[]): string | undefined {
  const dot = signed.lastIndexOf(".");
  if (dot === -1) return undefined;
  const value = signed.slice(0, dot);
  const signature = signed.slice(dot + 1);
  for (const secret of secrets) if (equalInConstantTime(signature, signatureOf(value, secret))) return value;
  return undefined;
}

const signatureOf = (value: string, secret: Secret): string =>
  // 32 bytes are 43 characters and one of padding.
  createHmac("sha256", secret).update(value).digest("base64").slice(0, -1);
