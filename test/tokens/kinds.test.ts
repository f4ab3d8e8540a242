import { describe, expect, it } from "vitest";
import { checkCsrfToken, createCsrfToken } from "../../src/csrf/token.ts";
import { newSecret, newSessionId, parseToken } from "../../src/session/token.ts";
import { CompactJws } from "../../src/tokens/jws.ts";
import { TOKEN_TYPES } from "../../src/tokens/kinds.ts";
import { forge, goodClaims, goodHeader, issuer, refused } from "./support.ts";

describe("kinds of tokens", () => {
  it("JW-11: every kind offered to every verifier: only the diagonal passes", async () => {
    // All with one key, as if an application had but one.
    const shop = issuer("HS256");
    const now = shop.clock.now();
    const [id, secret] = [newSessionId(), newSecret()];
    const signedKinds = Object.entries(TOKEN_TYPES).map(([kind, typ]) => {
      const jws = new CompactJws(typ, shop.tokens.keys, 8192);
      return {
        kind,
        token: forge(shop.key, { header: goodHeader(shop.key, { typ }) }),
        accepts: async (token: string) => typeof jws.verify(token, now) !== "string",
      };
    });
    const kinds = [
      ...signedKinds,
      {
        kind: "access, by its public face",
        token: shop.tokens.sign({ sub: "ada" }),
        accepts: (token: string) =>
          shop.tokens.verify(token).then(
            () => true,
            () => false,
          ),
      },
      {
        kind: "session and refresh",
        token: `${id}.${secret}`,
        accepts: async (token: string) => parseToken(token) !== undefined,
      },
      {
        kind: "csrf",
        token: await createCsrfToken(id, secret),
        accepts: (token: string) => checkCsrfToken(id, secret, token),
      },
    ];
    const passed: string[] = [];
    for (const offered of kinds)
      for (const verifier of kinds)
        if (await verifier.accepts(offered.token)) passed.push(`${offered.kind} -> ${verifier.kind}`);
    const access = ["access", "access, by its public face"];
    // A CSRF token has the shape of a session token, but names no session and no secret.
    const shape = ["csrf -> session and refresh"];
    expect(passed.sort()).toEqual(
      [
        ...kinds.map(({ kind }) => `${kind} -> ${kind}`),
        ...access.flatMap((a) => access.filter((b) => b !== a).map((b) => `${a} -> ${b}`)),
        ...shape,
      ].sort(),
    );
  });

  it("JW-11: typ is compared without regard to case, with application/ or without", async () => {
    const shop = issuer();
    const offered = (typ: unknown) => forge(shop.key, { header: goodHeader(shop.key, { typ }) });
    for (const typ of ["at+jwt", "AT+JWT", "At+Jwt", "application/at+jwt", "Application/AT+jwt"])
      await shop.tokens.verify(offered(typ));
    for (const typ of [
      undefined,
      null,
      "",
      "JWT",
      "jwt",
      "rt+jwt",
      "at+jwt ",
      " at+jwt",
      "at+jwt;x=y",
      "text/at+jwt",
      "application/application/at+jwt",
      "application/",
      "at+jwt+jwt",
      "xat+jwt",
      ["at+jwt"],
      { toString: "at+jwt" },
      1,
    ])
      expect(await refused(shop, offered(typ)), JSON.stringify(typ)).toBe("type");
  });

  it("JW-11: an ID token of the same issuer, key and audience is no access token", async () => {
    const shop = issuer();
    const idToken = forge(shop.key, {
      header: { alg: "ES256", kid: shop.key.kid, typ: "JWT" },
      payload: goodClaims({ nonce: "n", email: "ada@example.org" }),
    });
    expect(await refused(shop, idToken)).toBe("type");
  });
});
