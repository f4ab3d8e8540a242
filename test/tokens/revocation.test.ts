import { StoreUnavailableError } from "coatcheck";
import type { RevocableFacts } from "coatcheck/tokens";
import { describe, expect, it } from "vitest";
import { forge, goodClaims, issuer, refused, START } from "./support.ts";

const N = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;

/** The same signature in its other spelling: s becomes n - s. */
function malleated(token: string): string {
  const [header, payload, signature = ""] = token.split(".");
  const bytes = Buffer.from(signature, "base64url");
  const s = N - BigInt(`0x${bytes.subarray(32).toString("hex")}`);
  const other = Buffer.concat([bytes.subarray(0, 32), Buffer.from(s.toString(16).padStart(64, "0"), "hex")]);
  return `${header}.${payload}.${other.toString("base64url")}`;
}

describe("revocation", () => {
  it("LO-09: a revoked session's token stays revoked when its signature is spelled otherwise", async () => {
    for (const cache of [0, 10]) {
      const revokedSessions = new Set<string>();
      const shop = issuer("ES256", {
        cache,
        revocation: { isRevoked: ({ sid }) => sid !== undefined && revokedSessions.has(sid) },
      });
      const token = shop.tokens.sign({ sub: "ada", sid: "s1" });
      const twin = malleated(token);
      expect(twin).not.toBe(token);
      // Both are signatures of the same key over the same claims.
      expect((await shop.tokens.verify(token)).jti).toBe((await shop.tokens.verify(twin)).jti);
      revokedSessions.add("s1");
      expect(await refused(shop, token)).toBe("revoked");
      expect(await refused(shop, twin)).toBe("revoked");
      await shop.tokens.verify(shop.tokens.sign({ sub: "ada", sid: "s2" }));
    }
  });

  it("LO-09: it is asked by session, user and instant of issue, never by the text", async () => {
    const asked: RevocableFacts[] = [];
    const { tokens, clock } = issuer("HS256", { revocation: { isRevoked: (facts) => asked.push(facts) < 0 } });
    await clock.advance(123);
    await tokens.verify(tokens.sign({ sub: "ada", sid: "s1" }));
    await tokens.verify(tokens.sign({ sub: "ada" }));
    expect(asked).toEqual([
      { sid: "s1", sub: "ada", issuedAt: START * 1000 + 123 },
      { sid: undefined, sub: "ada", issuedAt: START * 1000 + 123 },
    ]);
  });

  it("LO-09: of two tokens of the same second, the one from before the user's revocation dies and the one after it lives", async () => {
    let revokedAt = Number.NEGATIVE_INFINITY;
    const shop = issuer("ES256", { revocation: { isRevoked: ({ issuedAt }) => issuedAt <= revokedAt } });
    await shop.clock.advance(100);
    const before = shop.tokens.sign({ sub: "ada" });
    await shop.clock.advance(1);
    revokedAt = shop.clock.now();
    await shop.clock.advance(1);
    const after = shop.tokens.sign({ sub: "ada" });
    expect(await refused(shop, before)).toBe("revoked");
    await shop.tokens.verify(after);
    // A token that tells only its second counts as issued at its beginning.
    expect(await refused(shop, forge(shop.key, { payload: goodClaims() }))).toBe("revoked");
  });

  it("is asked only after everything else was found right", async () => {
    let asked = 0;
    const shop = issuer("ES256", { revocation: { isRevoked: () => ++asked < 0 } });
    await refused(shop, forge(shop.key, { payload: goodClaims({ aud: "x" }) }));
    await refused(shop, forge(shop.key, { signature: () => Buffer.alloc(64, 1) }));
    await refused(shop, "x");
    expect(asked).toBe(0);
  });

  it("may answer later; only a plain no lets a token through", async () => {
    for (const [answer, accepted] of [
      [false, true],
      [Promise.resolve(false), true],
      [true, false],
      [Promise.resolve(true), false],
      [undefined, false],
      [Promise.resolve(undefined), false],
      [0, false],
      ["", false],
    ] as const) {
      const shop = issuer("ES256", { revocation: { isRevoked: () => answer as boolean } });
      const token = shop.tokens.sign({ sub: "ada" });
      if (accepted) await shop.tokens.verify(token);
      else expect(await refused(shop, token)).toBe("revoked");
    }
  });

  it("SC-06: a store that cannot be asked is no answer: its error comes through, and nobody is let in", async () => {
    const down = new StoreUnavailableError("read", { cause: new Error("down") });
    for (const isRevoked of [
      () => {
        throw down;
      },
      () => Promise.reject(down),
    ]) {
      const shop = issuer("ES256", { cache: 10, revocation: { isRevoked } });
      await expect(shop.tokens.verify(shop.tokens.sign({ sub: "ada" }))).rejects.toBe(down);
      expect(shop.reasons).toEqual([]);
    }
  });

  it("LG-02: the event names session and user", async () => {
    const sid = "s".repeat(22);
    const shop = issuer("ES256", { revocation: { isRevoked: () => true } });
    const events: unknown[] = [];
    shop.tokens.on("tokenRejected", (event) => void events.push(event));
    await refused(shop, shop.tokens.sign({ sub: "ada\u0007", sid }));
    expect(events).toEqual([
      { type: "tokenRejected", at: START * 1000, reason: "revoked", sessionId: sid, userId: "ada" },
    ]);
  });
});
