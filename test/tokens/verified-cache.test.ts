import { minutes, seconds } from "coatcheck";
import { generateKey } from "coatcheck/tokens";
import { describe, expect, it } from "vitest";
import { VerifiedCache } from "../../src/tokens/verified-cache.ts";
import { issuer, refused } from "./support.ts";

describe("the cache of verified tokens", () => {
  it("a token that comes again is not verified again, and gives the same claims", async () => {
    const { tokens } = issuer("ES256", { cache: 10, claims: ["plan"] as never });
    const token = tokens.sign({ sub: "ada", plan: { seats: [1] } } as never);
    const first = await tokens.verify(token);
    expect(await tokens.verify(token)).toBe(first);
    // Shared by requests, so that nobody can change it for the others.
    expect(Object.isFrozen(first)).toBe(true);
    expect(Object.isFrozen((first as unknown as { plan: { seats: number[] } }).plan.seats)).toBe(true);
    const without = issuer("ES256");
    const other = without.tokens.sign({ sub: "ada" });
    expect(await without.tokens.verify(other)).not.toBe(await without.tokens.verify(other));
  });

  it("does not outlive the token, a leeway included", async () => {
    const shop = issuer("HS256", { cache: 10 });
    const token = shop.tokens.sign({ sub: "ada" });
    await shop.tokens.verify(token);
    await shop.clock.advance(minutes(10) + seconds(5) - 1);
    await shop.tokens.verify(token);
    await shop.clock.advance(1);
    expect(await refused(shop, token)).toBe("expired");
  });

  it("does not outlive the key's retirement", async () => {
    const shop = issuer("HS256", { cache: 10 });
    const token = shop.tokens.sign({ sub: "ada" });
    await shop.tokens.verify(token);
    shop.tokens.keys.promote(shop.tokens.keys.add(generateKey("HS256")));
    shop.tokens.keys.remove(shop.key.kid);
    expect(await refused(shop, token)).toBe("unknown-key");
  });

  it("asks every time whether the token was revoked", async () => {
    let revoked = false;
    const shop = issuer("HS256", { cache: 10, revocation: { isRevoked: () => revoked } });
    const token = shop.tokens.sign({ sub: "ada" });
    await shop.tokens.verify(token);
    revoked = true;
    expect(await refused(shop, token)).toBe("revoked");
  });

  it("another text is another token: one changed character is verified anew, and refused", async () => {
    const shop = issuer("HS256", { cache: 10 });
    const token = shop.tokens.sign({ sub: "ada" });
    await shop.tokens.verify(token);
    for (let i = 0; i < token.length; i++)
      await refused(shop, token.slice(0, i) + (token[i] === "A" ? "B" : "A") + token.slice(i + 1));
  });

  it("refused tokens are not kept", async () => {
    const shop = issuer("HS256", { cache: 10 });
    const token = shop.tokens.sign({ sub: "ada" }, { audience: "https://mail.example" });
    expect(await refused(shop, token)).toBe("audience");
    expect(await refused(shop, token)).toBe("audience");
  });

  it("holds at most twice its size, and keeps what is used", () => {
    const cache = new VerifiedCache(10);
    const entry = (n: number) => ({ claims: { n }, key: {} }) as never;
    cache.set("used", entry(0));
    for (let n = 1; n <= 1000; n++) {
      cache.set(`t${n}`, entry(n));
      expect(cache.get("used")).toEqual(entry(0));
    }
    const kept = Array.from({ length: 1000 }, (_, n) => cache.get(`t${n + 1}`)).filter((found) => found !== undefined);
    expect(kept.length).toBeLessThanOrEqual(20);
    expect(kept.length).toBeGreaterThanOrEqual(9);
    expect(cache.get("t1000")).toEqual(entry(1000));
    cache.delete("t1000");
    expect(cache.get("t1000")).toBeUndefined();
  });
});
