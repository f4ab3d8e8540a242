import {
  createHash,
  createPrivateKey,
  createPublicKey,
  createSecretKey,
  generateKeyPairSync,
  type JsonWebKey,
  KeyObject,
  type webcrypto,
} from "node:crypto";
import { randomBytes } from "../session/crypto.ts";
import { secretBytes } from "./secret.ts";

/** How a token is signed. `EdDSA` is Ed25519. `HS256` is for services that share one secret. */
export type TokenAlgorithm = "ES256" | "EdDSA" | "HS256";

/** A JSON Web Key (RFC 7517). `kid` becomes the key's name; `alg` and `use`, where present, have to fit. */
export type Jwk = JsonWebKey & { readonly kid?: string; readonly alg?: string; readonly use?: string };

/**
 * A key as it comes from the configuration: a JWK, PEM text (PKCS#8, SEC1 or SPKI), a `KeyObject`, a `CryptoKey`, or for
 * HS256 a `Uint8Array` or base64url text of 32 bytes or more. A private key signs and verifies, a public one verifies.
 */
export type KeyMaterial = Jwk | string | Uint8Array | KeyObject | webcrypto.CryptoKey;

/** A key, or a key with the name that its tokens call it by. Without one, its thumbprint (RFC 7638) is the name. */
export type KeyInput = KeyMaterial | { readonly key: KeyMaterial; readonly kid: string };

/** A key that is ready for use. One key has one algorithm (row JW-02). */
export interface TokenKey {
  readonly kid: string;
  readonly alg: TokenAlgorithm;
  /** Absent in a key that only verifies. */
  readonly signing?: KeyObject;
  readonly verifying: KeyObject;
  /** What a JWKS tells of it; absent in a secret. */
  readonly publicJwk?: Jwk;
}

/** Longest `kid`, in characters (row JW-04). */
export const MAX_KID = 128;

/**
 * A new key, as a private JWK with its thumbprint as `kid`. Keep it where the application keeps its secrets.
 *
 * @param algorithm ES256, EdDSA or HS256 (32 random bytes)
 */
export function generateKey(algorithm: TokenAlgorithm): Jwk {
  const jwk = newKey(algorithm).export({ format: "jwk" });
  return { ...jwk, alg: algorithm, kid: thumbprint(jwk) };
}

function newKey(algorithm: TokenAlgorithm): KeyObject {
  switch (algorithm) {
    case "ES256":
      return generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
    case "EdDSA":
      return generateKeyPairSync("ed25519").privateKey;
    case "HS256":
      return createSecretKey(randomBytes(32));
    default:
      throw new TypeError(`generateKey: ${JSON.stringify(algorithm)} is not ES256, EdDSA or HS256`);
  }
}

/**
 * Makes a key of the configuration ready, once.
 *
 * @throws TypeError for anything but P-256, Ed25519 and strong secrets, and for a key that is meant for something else
 */
export function importKey(input: KeyInput): TokenKey {
  const named = isNamed(input) ? input : undefined;
  const material = named?.key ?? (input as KeyMaterial);
  const jwk = isJwk(material) ? material : undefined;
  const key = keyObject(material);
  const alg = algorithmOf(key);
  if (jwk?.alg !== undefined && jwk.alg !== alg)
    throw new TypeError(`the key's alg is ${JSON.stringify(jwk.alg)}, but such a key is for ${alg}`);
  if (jwk?.use !== undefined && jwk.use !== "sig")
    throw new TypeError(`the key's use is ${JSON.stringify(jwk.use)}, not "sig"`);

  if (alg === "HS256") return { kid: kidOf(named?.kid ?? jwk?.kid, key), alg, signing: key, verifying: key };
  const verifying = key.type === "private" ? createPublicKey(key) : key;
  const kid = kidOf(named?.kid ?? jwk?.kid, verifying);
  return {
    kid,
    alg,
    ...(key.type === "private" ? { signing: key } : undefined),
    verifying,
    publicJwk: { ...verifying.export({ format: "jwk" }), kid, alg, use: "sig" },
  };
}

function isNamed(input: KeyInput): input is { readonly key: KeyMaterial; readonly kid: string } {
  return typeof input === "object" && input !== null && "key" in input && !(input instanceof KeyObject);
}

function isJwk(material: KeyMaterial): material is Jwk {
  return typeof material === "object" && material !== null && typeof (material as Jwk).kty === "string";
}

function keyObject(material: KeyMaterial): KeyObject {
  if (typeof material === "string")
    return material.trimStart().startsWith("-----BEGIN") ? fromPem(material) : createSecretKey(secretBytes(material));
  if (material instanceof Uint8Array) return createSecretKey(secretBytes(material));
  if (isJwk(material)) return fromJwk(material);
  if (material instanceof KeyObject) return checkedSecret(material);
  if (Object.prototype.toString.call(material) === "[object CryptoKey]") return fromCryptoKey(material);
  throw new TypeError("a key is a JWK, PEM text, a KeyObject, a CryptoKey, or a secret of 32 bytes or more");
}

function fromPem(text: string): KeyObject {
  try {
    if (/-----BEGIN (EC )?PRIVATE KEY-----/.test(text)) return createPrivateKey(text);
    if (/-----BEGIN PUBLIC KEY-----/.test(text)) return createPublicKey(text);
  } catch {
    // The cause might show the key.
  }
  throw new TypeError("the PEM text holds no unencrypted private key and no public key");
}

function fromJwk(jwk: Jwk): KeyObject {
  if (jwk.kty === "oct") {
    if (typeof jwk.k !== "string") throw new TypeError("the JWK has no k");
    return createSecretKey(secretBytes(jwk.k));
  }
  try {
    return jwk.d === undefined
      ? createPublicKey({ key: jwk, format: "jwk" })
      : createPrivateKey({ key: jwk, format: "jwk" });
  } catch {
    throw new TypeError("the JWK is not a valid EC, OKP or oct key");
  }
}

const CRYPTO_KEY_ALGORITHMS: Readonly<Record<string, TokenAlgorithm>> = {
  ECDSA: "ES256",
  Ed25519: "EdDSA",
  HMAC: "HS256",
};

function fromCryptoKey(key: webcrypto.CryptoKey): KeyObject {
  const { name, hash } = key.algorithm as { name: string; hash?: { name: string } };
  if (CRYPTO_KEY_ALGORITHMS[name] === undefined || (name === "HMAC" && hash?.name !== "SHA-256"))
    throw new TypeError(`a CryptoKey for ${name} is not for ES256, EdDSA or HS256`);
  return checkedSecret(KeyObject.from(key));
}

function checkedSecret(key: KeyObject): KeyObject {
  if (key.type === "secret") secretBytes(key.export());
  return key;
}

function algorithmOf(key: KeyObject): TokenAlgorithm {
  if (key.type === "secret") return "HS256";
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key;
  if (type === "ec" && details?.namedCurve === "prime256v1") return "ES256";
  if (type === "ed25519") return "EdDSA";
  throw new TypeError(`a key of type ${[type, details?.namedCurve].filter(Boolean).join(" ")} signs no tokens here`);
}

function kidOf(given: string | undefined, key: KeyObject): string {
  if (given === undefined) return thumbprint(key.export({ format: "jwk" }));
  if (typeof given !== "string" || given === "" || given.length > MAX_KID)
    throw new TypeError(`a kid is a text of 1 to ${MAX_KID} characters`);
  return given;
}

/** JWK thumbprint (RFC 7638): SHA-256 over the required members in the order of their names, base64url. */
export function thumbprint(jwk: JsonWebKey): string {
  const { crv, k, kty, x, y } = jwk;
  const members = { EC: { crv, kty, x, y }, OKP: { crv, kty, x }, oct: { k, kty } }[kty ?? ""];
  if (members === undefined) throw new TypeError("thumbprint: kty is not EC, OKP or oct");
  return createHash("sha256").update(JSON.stringify(members)).digest("base64url");
}
