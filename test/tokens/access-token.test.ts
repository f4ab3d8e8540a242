import { minutes, seconds } from "coatcheck";
import { createTokens, generateKey } from "coatcheck/tokens";
import { describe, expect, expectTypeOf, it } from "vitest";
import { ALGORITHMS, AUDIENCE, ISSUER, issuer, refused, START } from "./support.ts";

const decoded = (token: string) =>
  token
    .split(".")
    .slice(0, 2)
    .map((part) => JSON.parse(Buffer.from(part, "base64url").toString()));

describe("sign", () => {
  it.each(ALGORITHMS)("JW-12: the token has the header and the claims of RFC 9068: %s", async (alg) => {
    const { tokens, key, clock } = issuer(alg);
    await clock.advance(123);
    const [header, claims] = decoded(tokens.sign({ sub: "ada" }));
    expect(header).toEqual({ alg, typ: "at+jwt", kid: key.kid });
    expect(claims).toEqual({
      iss: ISSUER,
      aud: AUDIENCE,
      client_id: AUDIENCE,
      sub: "ada",
      iat: START,
      exp: START + 600,
      jti: expect.stringMatching(/^[\da-f-]{36}$/),
      iat_ms: START * 1000 + 123,
    });
  });

  it("JW-12: session, authentication and scope are told when they are known", async () => {
    const { tokens } = issuer("ES256", { clientId: "shop-app" });
    const claims = { sub: "ada", sid: "s".repeat(22), auth_time: START, scope: "cart:read cart:write", amr: ["pwd"] };
    expect(await tokens.verify(tokens.sign(claims))).toMatchObject({ ...claims, client_id: "shop-app" });
    expect(await tokens.verify(tokens.sign({ ...claims, client_id: "other" }))).toMatchObject({ client_id: "other" });
  });

  it("JW-12: a claim that was not declared is refused, so that a user's record does not get into a token", async () => {
    const { clock, key } = issuer();
    const tokens = createTokens({ keys: key, issuer: ISSUER, audience: AUDIENCE, clock, claims: ["plan"] });
    const user = { sub: "ada", passwordHash: "$argon2id$", plan: "free" };
    expect(() => tokens.sign(user)).toThrow(/passwordHash/);
    for (const name of ["iss", "aud", "exp", "iat", "nbf", "jti", "iat_ms", "__proto__", "constructor"])
      expect(() => tokens.sign(JSON.parse(`{"sub":"ada","${name}":"x"}`)), name).toThrow(TypeError);
    const token = await tokens.verify(tokens.sign({ sub: "ada", plan: { name: "free", seats: 3 } }));
    expect(token.plan).toEqual({ name: "free", seats: 3 });
    expectTypeOf(token.plan).toEqualTypeOf<unknown>();
    // @ts-expect-error it was not declared
    expect(token.role).toBeUndefined();
    for (const taken of ["sub", "iat_ms", "nbf"])
      expect(() => createTokens({ keys: key, issuer: ISSUER, audience: AUDIENCE, claims: [taken] })).toThrow(TypeError);
  });

  it("misuse is a TypeError", () => {
    const { tokens } = issuer();
    for (const claims of [
      {},
      { sub: "" },
      { sub: 1 },
      { sub: "a", sid: "" },
      { sub: "a", scope: "a  b" },
      { sub: "a", scope: ["a"] },
      { sub: "a", auth_time: new Date() },
      { sub: "a", amr: "pwd" },
      { sub: "a", client_id: "" },
    ])
      expect(() => tokens.sign(claims as never), JSON.stringify(claims)).toThrow(TypeError);
    for (const lifetime of [0, 999, minutes(10) + 1, Number.NaN, "600000" as never])
      expect(() => tokens.sign({ sub: "ada" }, { lifetime })).toThrow(TypeError);
  });

  it("a shorter life and another audience can be given", async () => {
    const shop = issuer();
    const short = shop.tokens.sign({ sub: "ada" }, { lifetime: seconds(30) });
    await shop.tokens.verify(short);
    await shop.clock.advance(seconds(35));
    expect(await refused(shop, short)).toBe("expired");
    const elsewhere = shop.tokens.sign({ sub: "ada" }, { audience: "https://mail.example" });
    expect(await refused(shop, elsewhere)).toBe("audience");
    const both = shop.tokens.sign({ sub: "ada" }, { audience: ["https://mail.example", AUDIENCE] });
    expect((await shop.tokens.verify(both)).aud).toEqual(["https://mail.example", AUDIENCE]);
  });

  it("two tokens of the same instant have different ids", () => {
    const { tokens } = issuer("HS256");
    const ids = Array.from({ length: 100 }, () => decoded(tokens.sign({ sub: "ada" }))[1].jti);
    expect(new Set(ids).size).toBe(100);
  });
});

describe("createTokens", () => {
  it("misuse is a TypeError", () => {
    const good = { keys: generateKey("ES256"), issuer: ISSUER, audience: AUDIENCE };
    for (const bad of [
      { keys: [] },
      { keys: undefined },
      { issuer: "" },
      { issuer: undefined },
      { audience: "" },
      { audience: undefined },
      { clientId: "" },
      { accessLifetime: 0 },
      { accessLifetime: Number.POSITIVE_INFINITY },
      { maxBytes: 10 },
      { maxBytes: 65_537 },
      { cache: -1 },
      { cache: 1.5 },
      { cache: true },
    ])
      expect(() => createTokens({ ...good, ...bad } as never), JSON.stringify(bad)).toThrow(TypeError);
  });

  it("a service with public keys alone verifies and does not sign", async () => {
    const shop = issuer("ES256");
    const service = issuer("ES256", { keys: shop.tokens.jwks().keys });
    expect(await service.tokens.verify(shop.tokens.sign({ sub: "ada" }))).toMatchObject({ sub: "ada" });
    expect(() => service.tokens.sign({ sub: "ada" })).toThrow(TypeError);
  });
});

describe("refused tokens", () => {
  it("LG-02: each one makes one event, which tells why and never shows the token", async () => {
    const shop = issuer();
    const events: unknown[] = [];
    const stop = shop.tokens.on("tokenRejected", (event) => void events.push(event));
    const token = shop.tokens.sign({ sub: "ada" });
    await refused(shop, `${token}x`);
    expect(events).toEqual([{ type: "tokenRejected", at: shop.clock.now(), reason: "signature" }]);
    expect(JSON.stringify(events)).not.toContain(token.slice(0, 20));
    stop();
    await refused(shop, `${token}x`);
    expect(events).toHaveLength(1);
  });

  it("LG-03: a listener that throws changes nothing", async () => {
    const shop = issuer();
    shop.tokens.on("tokenRejected", () => {
      throw new Error("listener");
    });
    expect(await refused(shop, "x")).toBe("malformed");
  });
});
