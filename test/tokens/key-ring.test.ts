import { minutes, seconds } from "coatcheck";
import { generateKey } from "coatcheck/tokens";
import { describe, expect, it } from "vitest";
import { issuer, refused } from "./support.ts";

const kidOf = (token: string): string => JSON.parse(Buffer.from(token.split(".")[0] ?? "", "base64url").toString()).kid;

describe("rotation", () => {
  it.each(["ES256", "EdDSA", "HS256"] as const)(
    "JW-15: no token is refused while the key changes under load: %s",
    async (alg) => {
      const { tokens, clock, reasons } = issuer(alg);
      const open: string[] = [];
      let checked = 0;
      for (let second = 0; second < 3600; second += 10) {
        // Every 20 minutes another key, in the steps that the ring's comment tells.
        const phase = second % 1200;
        const old = tokens.keys.signing.kid;
        if (phase === 300) tokens.keys.add({ ...generateKey(alg), kid: `at ${second}` });
        if (phase === 400) {
          tokens.keys.promote(`at ${second - 100}`);
          tokens.keys.retire(old);
        }
        open.push(tokens.sign({ sub: "ada" }));
        // The oldest has just not expired.
        if (open.length > 60) open.shift();
        for (const token of [open[0], open.at(-1), open[second % open.length]]) {
          await tokens.verify(token as string);
          checked++;
        }
        await clock.advance(seconds(10));
      }
      expect(reasons).toEqual([]);
      expect(checked).toBe(1080);
    },
  );

  it("JW-15: a retired key verifies for the lifetime of a token and the leeway, and no longer", async () => {
    const shop = issuer();
    const { tokens, clock, key } = shop;
    const token = tokens.sign({ sub: "ada" });
    const next = tokens.keys.add(generateKey("ES256"));
    expect(kidOf(tokens.sign({ sub: "ada" }))).toBe(key.kid);
    tokens.keys.promote(next);
    expect(kidOf(tokens.sign({ sub: "ada" }))).toBe(next);
    tokens.keys.retire(key.kid);
    await clock.advance(minutes(10) + seconds(5) - 1);
    await tokens.verify(token);
    expect(tokens.jwks().keys.map(({ kid }) => kid)).toEqual([key.kid, next]);
    await clock.advance(1);
    // The key is gone, whatever the token says of its end.
    expect(await refused(shop, token)).toBe("unknown-key");
    expect(tokens.jwks().keys.map(({ kid }) => kid)).toEqual([next]);
    // Its name is free again, and to retire twice does not prolong.
    expect(tokens.keys.add(key)).toBe(key.kid);
  });

  it("to retire a key twice does not prolong its time", async () => {
    const shop = issuer("ES256", { keys: [generateKey("ES256"), { ...generateKey("ES256"), kid: "old" }] });
    shop.tokens.keys.retire("old");
    await shop.clock.advance(minutes(9));
    shop.tokens.keys.retire("old");
    await shop.clock.advance(minutes(2));
    expect(shop.tokens.jwks().keys).toHaveLength(1);
  });

  it("JW-15: a stolen key is removed at once, with what it signed, also from the cache", async () => {
    for (const cache of [0, 100]) {
      const shop = issuer("ES256", { cache });
      const token = shop.tokens.sign({ sub: "ada" });
      await shop.tokens.verify(token);
      shop.tokens.keys.promote(shop.tokens.keys.add(generateKey("ES256")));
      await shop.tokens.verify(token);
      shop.tokens.keys.remove(shop.key.kid);
      expect(await refused(shop, token)).toBe("unknown-key");
    }
  });

  it("a header that was verified before does not keep a key alive", async () => {
    const shop = issuer();
    const before = shop.tokens.sign({ sub: "ada" });
    await shop.tokens.verify(before);
    shop.tokens.keys.promote(shop.tokens.keys.add(generateKey("ES256")));
    shop.tokens.keys.remove(shop.key.kid);
    // The same name with another key.
    shop.tokens.keys.add({ ...generateKey("ES256"), kid: shop.key.kid });
    expect(await refused(shop, before)).toBe("signature");
  });

  it("misuse is a TypeError", () => {
    const { tokens, key } = issuer();
    const { keys } = tokens;
    expect(() => keys.retire(key.kid)).toThrow(/promote another/);
    expect(() => keys.remove(key.kid)).toThrow(/promote another/);
    expect(() => keys.add(key)).toThrow(/already/);
    for (const kid of ["x", "__proto__"]) {
      expect(() => keys.promote(kid)).toThrow(TypeError);
      expect(() => keys.retire(kid)).toThrow(TypeError);
      expect(() => keys.remove(kid)).toThrow(TypeError);
    }
    const { d: _, ...publicKey } = generateKey("ES256");
    expect(() => keys.promote(keys.add(publicKey))).toThrow(/public/);
    const other = keys.add(generateKey("ES256"));
    keys.retire(other);
    expect(() => keys.promote(other)).toThrow(/retired/);
  });

  it("JW-02: secrets and key pairs do not share a ring; ES256 and EdDSA do", async () => {
    const [es, ed, hs] = [generateKey("ES256"), generateKey("EdDSA"), generateKey("HS256")];
    for (const keys of [
      [es, hs],
      [hs, es],
      [hs, ed],
      [es, ed, hs],
    ])
      expect(() => issuer("ES256", { keys })).toThrow(/do not share/);
    expect(() => issuer("HS256").tokens.keys.add(es)).toThrow(/do not share/);
    const both = issuer("ES256", { keys: [es, ed] });
    const fromEd = issuer("EdDSA", { keys: [ed, es] });
    await both.tokens.verify(fromEd.tokens.sign({ sub: "ada" }));
    await fromEd.tokens.verify(both.tokens.sign({ sub: "ada" }));
  });
});

describe("jwks", () => {
  it("JW-15: shows public members only", () => {
    const keys = [generateKey("ES256"), generateKey("EdDSA")];
    const jwks = issuer("ES256", { keys }).tokens.jwks();
    for (const [i, jwk] of jwks.keys.entries()) {
      expect(Object.keys(jwk).sort()).toEqual(
        (i === 0 ? ["alg", "crv", "kid", "kty", "use", "x", "y"] : ["alg", "crv", "kid", "kty", "use", "x"]).sort(),
      );
      expect(jwk).toMatchObject({ kid: keys[i]?.kid, alg: keys[i]?.alg, use: "sig", x: keys[i]?.x });
      expect(JSON.stringify(jwks)).not.toContain(keys[i]?.d);
    }
  });

  it("JW-15: never shows a secret", () => {
    const { tokens, key } = issuer("HS256");
    expect(tokens.jwks()).toEqual({ keys: [] });
    expect(JSON.stringify([tokens, tokens.keys, tokens.jwks()])).not.toContain(key.k);
  });
});
