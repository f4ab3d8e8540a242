import { generateKey } from "coatcheck/tokens";
import {
  calculateJwkThumbprint,
  createLocalJWKSet,
  exportJWK,
  generateKeyPair,
  importJWK,
  type JWK,
  jwtVerify,
  SignJWT,
} from "jose";
import { describe, expect, it } from "vitest";
import { ALGORITHMS, AUDIENCE, goodClaims, ISSUER, issuer, refused } from "./support.ts";

describe("jose agrees", () => {
  it.each(ALGORITHMS)("our tokens verify there: %s", async (alg) => {
    const { tokens, key, clock } = issuer(alg);
    const token = tokens.sign({ sub: "ada", sid: "s", scope: "a b" });
    const expected = {
      issuer: ISSUER,
      audience: AUDIENCE,
      typ: "at+jwt",
      algorithms: [alg],
      currentDate: new Date(clock.now()),
    };
    const { payload, protectedHeader } = await jwtVerify(
      token,
      await importJWK((tokens.jwks().keys[0] ?? key) as JWK),
      expected,
    );
    expect(payload).toEqual(await tokens.verify(token));
    expect(protectedHeader).toEqual({ alg, typ: "at+jwt", kid: key.kid });
    if (alg !== "HS256") await jwtVerify(token, createLocalJWKSet(tokens.jwks() as { keys: JWK[] }), expected);
  });

  it.each(ALGORITHMS)("its tokens verify here: %s", async (alg) => {
    const shop = issuer(alg);
    const sign = async (claims: Record<string, unknown>) =>
      new SignJWT(claims)
        .setProtectedHeader({ alg, typ: "at+jwt", kid: shop.key.kid })
        .sign(await importJWK(shop.key as JWK));
    expect(await shop.tokens.verify(await sign(goodClaims()))).toEqual(goodClaims());
    expect(await refused(shop, await sign(goodClaims({ aud: "x" })))).toBe("audience");
  });

  it.each(["ES256", "EdDSA"] as const)(
    "keys that it generated are taken, as CryptoKeys and as JWKs: %s",
    async (alg) => {
      const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
      const signer = issuer(alg, { keys: privateKey });
      const token = signer.tokens.sign({ sub: "ada" });
      for (const keys of [publicKey, (await exportJWK(publicKey)) as object])
        await issuer(alg, { keys: keys as never }).tokens.verify(token);
    },
  );

  it.each(ALGORITHMS)("thumbprints are the same: %s", async (alg) => {
    const key = generateKey(alg);
    expect(key.kid).toBe(await calculateJwkThumbprint(key as JWK));
  });
});
