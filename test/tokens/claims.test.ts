import { minutes, seconds } from "coatcheck";
import { describe, expect, it } from "vitest";
import { AUDIENCE, forge, goodClaims, ISSUER, issuer, refused, START } from "./support.ts";

/** Offers a rightly signed token with these claims. Raw JSON where JavaScript has no such value. */
async function offered(changes: Record<string, unknown> | ((json: string) => string), at = 0): Promise<string> {
  const shop = issuer();
  await shop.clock.advance(at);
  const payload = typeof changes === "function" ? changes(JSON.stringify(goodClaims())) : goodClaims(changes);
  const token = forge(shop.key, { payload });
  try {
    await shop.tokens.verify(token);
    return "accepted";
  } catch {
    return (await refused(shop, token)) ?? "";
  }
}

describe("times", () => {
  it("JW-09: valid while now < exp + leeway, to the millisecond", async () => {
    const life = seconds(600);
    for (const [at, outcome] of [
      [0, "accepted"],
      [life - 1, "accepted"],
      [life, "accepted"],
      [life + 4999, "accepted"],
      [life + 5000, "expired"],
      [life + minutes(60), "expired"],
    ] as const)
      expect(await offered({}, at), `after ${at} ms`).toBe(outcome);
  });

  it("JW-09: tokens of the future, by iat or nbf, are refused beyond the leeway", async () => {
    for (const [ahead, outcome] of [
      [0, "accepted"],
      [5, "accepted"],
      [5.001, "not-yet-valid"],
      [6, "not-yet-valid"],
      [3600, "not-yet-valid"],
    ] as const) {
      expect(await offered({ nbf: START + ahead })).toBe(outcome);
      expect(await offered({ iat: START + ahead, exp: START + ahead + 600 })).toBe(outcome);
    }
  });

  it("JW-09: times that are no finite numbers of seconds are refused", async () => {
    for (const name of ["exp", "iat", "nbf", "auth_time"])
      for (const odd of ["1893456300", "", null, true, [START], { s: START }, -1, -0.5])
        expect(await offered({ [name]: odd }), `${name} ${JSON.stringify(odd)}`).toBe("claims");
    // JSON.parse makes Infinity of it.
    for (const name of ["exp", "iat", "nbf"])
      expect(
        await offered((json) => json.replace("{", `{"${name}":1e400,`).replace(new RegExp(`,"${name}":\\d+`), "")),
      ).toBe("claims");
    expect(await offered((json) => json.replace(/"exp":\d+/, '"exp":NaN'))).toBe("malformed");
    expect(await offered({ nbf: 0 })).toBe("accepted");
    expect(await offered({ exp: START + 599.5 })).toBe("accepted");
  });

  it("JW-09: the leeway is 5 seconds, and 60 at most", async () => {
    const wide = issuer("ES256", { leeway: seconds(60) });
    const token = forge(wide.key);
    await wide.clock.advance(seconds(659));
    await wide.tokens.verify(token);
    await wide.clock.advance(seconds(1));
    expect(await refused(wide, token)).toBe("expired");
    const none = issuer("ES256", { leeway: 0 });
    await none.clock.advance(seconds(600));
    expect(await refused(none, forge(none.key))).toBe("expired");
    for (const leeway of [60_001, -1, Number.NaN, Number.POSITIVE_INFINITY, 0.5, "5" as never])
      expect(() => issuer("ES256", { leeway })).toThrow(TypeError);
  });

  it("a token that lives longer than accessLifetime is refused, as its revocation would be forgotten before it ends", async () => {
    expect(await offered({ exp: START + 600 })).toBe("accepted");
    expect(await offered({ exp: START + 601 })).toBe("lifetime");
    expect(await offered({ exp: START * 2 })).toBe("lifetime");
    const long = issuer("ES256", { accessLifetime: minutes(60) });
    await long.tokens.verify(forge(long.key, { payload: goodClaims({ exp: START + 3600 }) }));
  });

  it("the milliseconds of iat_ms have to belong to the second of iat", async () => {
    expect(await offered({ iat_ms: START * 1000 })).toBe("accepted");
    expect(await offered({ iat_ms: START * 1000 + 999 })).toBe("accepted");
    for (const iat_ms of [START * 1000 - 1, START * 1000 + 1000, START * 2000, 0, -1, "1893456000000", null, {}])
      expect(await offered({ iat_ms })).toBe("claims");
  });
});

describe("who and for whom", () => {
  it("JW-10: iss is compared exactly", async () => {
    for (const iss of [
      `${ISSUER}/`,
      ISSUER.slice(0, -1),
      `${ISSUER}.thief.example`,
      ISSUER.toUpperCase(),
      "http://shop.example",
      "",
      null,
      [ISSUER],
      { toString: ISSUER },
      undefined,
    ])
      expect(await offered({ iss }), JSON.stringify(iss)).toBe("issuer");
  });

  it("JW-10: aud names this service, alone or among others; without it the token is refused", async () => {
    for (const aud of [AUDIENCE, [AUDIENCE], ["https://other.example", AUDIENCE]])
      expect(await offered({ aud })).toBe("accepted");
    for (const aud of [
      undefined,
      null,
      "",
      [],
      `${AUDIENCE}/`,
      AUDIENCE.slice(0, -1),
      AUDIENCE.toUpperCase(),
      `${AUDIENCE} https://other.example`,
      ["https://other.example"],
      [[AUDIENCE]],
      [AUDIENCE, 1],
      { 0: AUDIENCE, length: 1 },
      "*",
    ])
      expect(await offered({ aud }), JSON.stringify(aud)).toBe("audience");
  });

  it("JW-10: the same key for two issuers or services does not make the tokens of one those of the other", async () => {
    const shop = issuer();
    const token = shop.tokens.sign({ sub: "ada" });
    expect(await refused(issuerWith(shop.key, { issuer: "https://admin.example" }), token)).toBe("issuer");
    expect(await refused(issuerWith(shop.key, { audience: "https://admin.example" }), token)).toBe("audience");
    expect(await issuerWith(shop.key, {}).tokens.verify(token)).toMatchObject({ sub: "ada" });
  });

  const issuerWith = (keys: ReturnType<typeof issuer>["key"], options: Parameters<typeof issuer>[1]) =>
    issuer("ES256", { keys, ...options });
});

describe("what has to be there", () => {
  it("JW-12: without iss, exp, aud, sub, client_id, iat or jti a token is refused", async () => {
    for (const name of ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"])
      expect(await offered({ [name]: undefined }), name).not.toBe("accepted");
  });

  it("JW-12: claims of the wrong type are refused", async () => {
    for (const name of ["sub", "client_id", "jti", "sid"])
      for (const odd of ["", null, 1, true, ["ada"], {}]) expect(await offered({ [name]: odd }), name).toBe("claims");
    for (const scope of ["", " a", "a ", "a  b", 'a"b', "a\\b", "a\tb", "\u00e4", null, 1, ["a"]])
      expect(await offered({ scope }), String(scope)).toBe("claims");
    for (const amr of ["pwd", [1], [""], null, {}]) expect(await offered({ amr })).toBe("claims");
    expect(await offered({ sid: "s", scope: "a b:c", amr: ["pwd", "otp"], auth_time: START })).toBe("accepted");
  });

  it("of a claim that is there twice the last one counts, everywhere", async () => {
    const shop = issuer();
    const json = JSON.stringify(goodClaims()).replace("{", '{"sub":"eve","exp":1,');
    expect(await shop.tokens.verify(forge(shop.key, { payload: json }))).toMatchObject({
      sub: "ada",
      exp: START + 600,
    });
  });

  it("a claim named __proto__ is data and gives the token no other properties", async () => {
    const shop = issuer();
    const json = JSON.stringify(goodClaims()).replace("{", '{"__proto__":{"scope":"admin"},');
    const token = await shop.tokens.verify(forge(shop.key, { payload: json }));
    expect(token.scope).toBeUndefined();
    expect(Object.getPrototypeOf(token)).toBe(Object.prototype);
  });
});
