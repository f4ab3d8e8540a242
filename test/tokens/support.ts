import { createHmac, createPrivateKey, createSecretKey, type KeyObject, sign } from "node:crypto";
import { TestClock } from "coatcheck/testing";
import {
  createTokens,
  generateKey,
  InvalidTokenError,
  type Jwk,
  type TokenAlgorithm,
  type Tokens,
  type TokensOptions,
} from "coatcheck/tokens";
import { expect } from "vitest";

export const ALGORITHMS = ["ES256", "EdDSA", "HS256"] as const satisfies readonly TokenAlgorithm[];
export const ISSUER = "https://shop.example";
export const AUDIENCE = "https://api.shop.example";
/** 2030-01-01T00:00:00Z, where a `TestClock` starts, in seconds. */
export const START = Date.UTC(2030, 0, 1) / 1000;

export interface Issuer {
  readonly clock: TestClock;
  readonly key: Jwk & { readonly kid: string };
  readonly tokens: Tokens;
  /** Why tokens were refused, in order. */
  readonly reasons: string[];
}

/** Tokens with one new key, and a clock that stands still. */
export function issuer(alg: TokenAlgorithm = "ES256", options: Partial<TokensOptions> = {}): Issuer {
  const clock = new TestClock();
  const key = generateKey(alg) as Jwk & { kid: string };
  const tokens = createTokens({ keys: key, issuer: ISSUER, audience: AUDIENCE, clock, ...options });
  const reasons: string[] = [];
  tokens.on("tokenRejected", ({ reason }) => void reasons.push(reason));
  return { clock, key, tokens, reasons };
}

/** The claims of a good token at the start of the clock. */
export const goodClaims = (changes: Record<string, unknown> = {}): Record<string, unknown> => ({
  iss: ISSUER,
  aud: AUDIENCE,
  sub: "ada",
  client_id: "shop",
  iat: START,
  exp: START + 600,
  jti: "t-1",
  ...changes,
});

/** The header of a good token. */
export const goodHeader = (key: Jwk, changes: Record<string, unknown> = {}): Record<string, unknown> => ({
  alg: key.alg,
  typ: "at+jwt",
  kid: key.kid,
  ...changes,
});

export const base64url = (data: string | Uint8Array): string => Buffer.from(data).toString("base64url");

/** The signature that a key makes, whatever the header says. */
export function signatureOf(key: Jwk, input: string): Buffer {
  if (key.kty === "oct") return createHmac("sha256", keyObject(key)).update(input).digest();
  const hash = key.kty === "EC" ? "sha256" : null;
  return sign(hash, Buffer.from(input), { key: keyObject(key), dsaEncoding: "ieee-p1363" });
}

/** The key itself, for signing by hand. */
export const keyObject = (key: Jwk): KeyObject =>
  key.kty === "oct" ? createSecretKey(Buffer.from(key.k ?? "", "base64url")) : createPrivateKey({ key, format: "jwk" });

/** A token made by hand: header and payload as JSON, or as the very text or bytes; signed by `key`. */
export function forge(
  key: Jwk,
  {
    header = goodHeader(key),
    payload = goodClaims(),
    signature = (input: string): string | Uint8Array => signatureOf(key, input),
  }: {
    header?: Record<string, unknown> | string | Uint8Array;
    payload?: unknown;
    signature?: (input: string) => string | Uint8Array;
  } = {},
): string {
  const part = (value: unknown) =>
    base64url(typeof value === "string" || value instanceof Uint8Array ? value : JSON.stringify(value));
  return signed(key, `${part(header)}.${part(payload)}`, signature);
}

/** Adds a signature to header and payload that are encoded already. */
export function signed(
  key: Jwk,
  input: string,
  signature = (text: string): string | Uint8Array => signatureOf(key, text),
): string {
  const made = signature(input);
  return `${input}.${typeof made === "string" ? made : base64url(made)}`;
}

/** Expects the one error that all refused tokens get. Answers the reason that the event tells. */
export async function refused({ tokens, reasons }: Issuer, token: unknown): Promise<string | undefined> {
  const before = reasons.length;
  const error: unknown = await tokens.verify(token as string).then(
    () => expect.fail(`accepted: ${String(token).slice(0, 200)}`),
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(InvalidTokenError);
  // Byte for byte the same, so that nobody learns what was wrong (row JW-13).
  const { message, headers, cause, ...rest } = error as InvalidTokenError;
  expect({ message, headers, cause, ...rest }).toEqual({
    code: "token_invalid",
    status: 401,
    message: "The token is not valid.",
    publicMessage: "The access token is not valid.",
    headers: { "WWW-Authenticate": 'Bearer error="invalid_token"' },
  });
  expect(reasons.length).toBe(before + 1);
  return reasons.at(-1);
}
