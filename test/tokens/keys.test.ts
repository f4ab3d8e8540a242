import {
  createPrivateKey,
  createPublicKey,
  createSecretKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  webcrypto,
} from "node:crypto";
import { generateKey, type KeyInput } from "coatcheck/tokens";
import { describe, expect, it } from "vitest";
import { thumbprint } from "../../src/tokens/keys.ts";
import { ALGORITHMS, issuer, keyObject, refused } from "./support.ts";

const works = async (keys: KeyInput) => {
  const { tokens } = issuer("ES256", { keys });
  return (await tokens.verify(tokens.sign({ sub: "ada" }))).sub === "ada";
};

describe("a key can be given as", () => {
  it.each(["ES256", "EdDSA"] as const)("a JWK, PEM text, a KeyObject or a CryptoKey: %s", async (alg) => {
    const jwk = generateKey(alg);
    const key = keyObject(jwk);
    const name = alg === "ES256" ? { name: "ECDSA", namedCurve: "P-256" } : { name: "Ed25519" };
    const { alg: _, ...plain } = jwk;
    const cryptoKey = (extractable: boolean) =>
      webcrypto.subtle.importKey("jwk", plain as webcrypto.JsonWebKey, name, extractable, ["sign"]);
    const forms: KeyInput[] = [
      jwk,
      plain,
      key,
      key.export({ type: "pkcs8", format: "pem" }) as string,
      await cryptoKey(true),
      await cryptoKey(false),
      { key, kid: "mine" },
    ];
    if (alg === "ES256") forms.push(key.export({ type: "sec1", format: "pem" }) as string);
    for (const form of forms) expect(await works(form)).toBe(true);
    // And the public half, everywhere by the same name.
    const token = issuer(alg, { keys: key }).tokens.sign({ sub: "ada" });
    const publicKey = createPublicKey(key);
    for (const form of [
      publicKey,
      publicKey.export({ format: "jwk" }),
      publicKey.export({ type: "spki", format: "pem" }) as string,
      await webcrypto.subtle.importKey("jwk", publicKey.export({ format: "jwk" }) as never, name, true, ["verify"]),
    ])
      expect(await issuer(alg, { keys: form }).tokens.verify(token)).toMatchObject({ sub: "ada" });
  });

  it("bytes, base64url text, a JWK, a KeyObject or a CryptoKey for HS256", async () => {
    const secret = randomBytes(32);
    const text = secret.toString("base64url");
    const forms: KeyInput[] = [
      secret,
      new Uint8Array(secret),
      text,
      { kty: "oct", k: text },
      createSecretKey(secret),
      await webcrypto.subtle.importKey("raw", secret, { name: "HMAC", hash: "SHA-256" }, true, ["sign"]),
    ];
    const token = issuer("HS256", { keys: secret }).tokens.sign({ sub: "ada" });
    for (const keys of forms)
      expect(await issuer("HS256", { keys }).tokens.verify(token)).toMatchObject({ sub: "ada" });
  });

  it("a secret is copied: what becomes of the bytes later does not matter", async () => {
    const secret = randomBytes(32);
    const { tokens } = issuer("HS256", { keys: secret });
    const token = tokens.sign({ sub: "ada" });
    secret.fill(0);
    await tokens.verify(token);
  });
});

describe("kid", () => {
  it("is the thumbprint of RFC 7638 when none is given, as in the example of RFC 8037", () => {
    const jwk = { kty: "OKP", crv: "Ed25519", x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" };
    expect(thumbprint(jwk)).toBe("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    expect(issuer("EdDSA", { keys: jwk }).tokens.jwks().keys[0]?.kid).toBe(
      "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
    );
    for (const alg of ALGORITHMS) expect(generateKey(alg).kid).toMatch(/^[\w-]{43}$/);
  });

  it("is the one in the JWK, or the one given beside the key", () => {
    const jwk = generateKey("ES256");
    const kidOf = (keys: KeyInput) => issuer("ES256", { keys }).tokens.keys.signing.kid;
    expect(kidOf({ ...jwk, kid: "2030-01" })).toBe("2030-01");
    expect(kidOf({ key: { ...jwk, kid: "2030-01" }, kid: "other" })).toBe("other");
    expect(kidOf(keyObject(jwk))).toBe(jwk.kid);
    for (const kid of ["", 1 as never]) expect(() => kidOf({ ...jwk, kid })).toThrow(TypeError);
  });
});

describe("unfit keys are refused when they are given", () => {
  const refusedKey = (keys: unknown, name = "") =>
    expect(() => issuer("ES256", { keys: keys as KeyInput }), name).toThrow(TypeError);

  it("JW-03: other curves, other types and RSA of any size", () => {
    const pairs: KeyObject[] = [
      generateKeyPairSync("ec", { namedCurve: "P-384" }).privateKey,
      generateKeyPairSync("ec", { namedCurve: "P-521" }).privateKey,
      generateKeyPairSync("ec", { namedCurve: "secp256k1" }).privateKey,
      generateKeyPairSync("rsa", { modulusLength: 1024 }).privateKey,
      generateKeyPairSync("x25519").privateKey,
      generateKeyPairSync("ed448").privateKey,
    ];
    for (const key of pairs) {
      refusedKey(key);
      refusedKey(createPublicKey(key));
      refusedKey(key.export({ type: "pkcs8", format: "pem" }));
    }
    refusedKey({
      ...generateKeyPairSync("ec", { namedCurve: "P-384" }).privateKey.export({ format: "jwk" }),
      alg: "ES256",
    });
  });

  it("JW-03: a secret below 32 bytes, in every form", async () => {
    for (const length of [0, 1, 16, 31]) {
      const secret = randomBytes(length);
      refusedKey(secret);
      refusedKey(secret.toString("base64url"));
      refusedKey({ kty: "oct", k: secret.toString("base64url") });
      refusedKey(createSecretKey(secret));
    }
    const short = await webcrypto.subtle.importKey("raw", randomBytes(31), { name: "HMAC", hash: "SHA-256" }, true, [
      "sign",
    ]);
    refusedKey(short);
    refusedKey(await webcrypto.subtle.generateKey({ name: "HMAC", hash: "SHA-512" }, true, ["sign"]));
    refusedKey(
      (await webcrypto.subtle.generateKey({ name: "ECDH", namedCurve: "P-256" }, true, ["deriveBits"])).privateKey,
    );
  });

  it("SC-08: passwords, placeholders and patterns", () => {
    const weak = [
      "secret",
      "my-super-secret-key-which-is-quite-long-indeed-it-is",
      "correct-horse-battery-staple-correct-horse-battery-staple",
      "CORRECT_HORSE_BATTERY_STAPLE_CORRECT_HORSE_BATTERY_STAPLE",
      "ChangeMe1234567890ChangeMe1234567890ChangeMe1234567890",
      "a".repeat(64),
      "0123".repeat(20),
    ];
    for (const text of weak) {
      refusedKey(text, text);
      refusedKey(Buffer.from(text), text);
      refusedKey({ kty: "oct", k: Buffer.from(text).toString("base64url") }, text);
    }
    for (const bytes of [Buffer.alloc(32), Buffer.alloc(64, 0xff), Buffer.alloc(64, "password")]) refusedKey(bytes);
  });

  it("SC-08: what a random generator made is accepted", () => {
    for (let i = 0; i < 500; i++) issuer("HS256", { keys: randomBytes(32) });
    issuer("HS256", { keys: randomBytes(32).toString("hex") });
    issuer("HS256", { keys: Buffer.from(randomBytes(32).toString("hex")) });
  });

  it("JW-02: a public key as a secret: PEM, DER and JWK as bytes", () => {
    const publicKey = createPublicKey(keyObject(generateKey("ES256")));
    const pem = publicKey.export({ type: "spki", format: "pem" }) as string;
    const jwk = JSON.stringify(publicKey.export({ format: "jwk" }));
    for (const bytes of [Buffer.from(pem), publicKey.export({ type: "spki", format: "der" }), Buffer.from(jwk)]) {
      refusedKey(bytes);
      refusedKey(createSecretKey(bytes));
      refusedKey(bytes.toString("base64url"));
    }
  });

  it("JW-02: a key that says it is for something else", () => {
    const jwk = generateKey("ES256");
    for (const alg of ["HS256", "EdDSA", "ES384", "none", "es256"]) refusedKey({ ...jwk, alg });
    refusedKey({ ...jwk, use: "enc" });
    refusedKey({ ...generateKey("HS256"), alg: "HS512" });
  });

  it("nonsense", () => {
    const { x: _, ...half } = generateKey("ES256");
    const encrypted = keyObject(generateKey("ES256")).export({
      type: "pkcs8",
      format: "pem",
      cipher: "aes-256-cbc",
      passphrase: "x",
    });
    for (const odd of [
      null,
      undefined,
      1,
      {},
      [],
      () => {},
      "",
      "-----BEGIN X-----",
      half,
      { kty: "oct" },
      { kty: "x" },
    ])
      refusedKey(odd, String(odd));
    refusedKey([undefined]);
    refusedKey(encrypted);
    refusedKey({ key: undefined, kid: "x" });
  });

  it("the message does not show the secret", () => {
    for (const keys of ["hunter2".repeat(3), "hunter2-".repeat(8), { ...generateKey("EdDSA"), d: "hunter2" }])
      try {
        issuer("HS256", { keys });
        expect.unreachable();
      } catch (error) {
        expect(String((error as Error).stack) + String((error as Error).cause)).not.toContain("hunter2");
      }
  });
});

describe("generateKey", () => {
  it.each(ALGORITHMS)("makes a private JWK that is ready to be kept as JSON: %s", async (alg) => {
    const key = generateKey(alg);
    expect(key.alg).toBe(alg);
    expect(await works(JSON.parse(JSON.stringify(key)))).toBe(true);
    expect(generateKey(alg)).not.toEqual(key);
    if (alg !== "HS256") expect(createPrivateKey({ key, format: "jwk" }).type).toBe("private");
  });
});

it("a key of another issuer does not verify, even under the same name", async () => {
  const shop = issuer("HS256", { keys: { key: randomBytes(32), kid: "k" } });
  const other = issuer("HS256", { keys: { key: randomBytes(32), kid: "k" } });
  expect(await refused(shop, other.tokens.sign({ sub: "ada" }))).toBe("signature");
});
