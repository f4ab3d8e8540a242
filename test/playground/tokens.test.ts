import { statSync } from "node:fs";
import { join } from "node:path";
import { days } from "coatcheck";
import { TestClock } from "coatcheck/testing";
import { createTokens, generateKey } from "coatcheck/tokens";
import { createRemoteJWKSet, jwtVerify } from "jose";
import { beforeAll, beforeEach, describe, expect, it, test } from "vitest";
import { compileShop, failedStart, ShopProcess } from "./shop-process.ts";
import { type OpenShop, openShop, type Reply, SEEDED, temporaryFolder, Visitor } from "./support.ts";

let shop: OpenShop;
let visitor: Visitor;
beforeAll(async () => {
  shop = await openShop();
});
beforeEach(() => {
  visitor = new Visitor(shop.url);
});

const login = (who: Visitor, username = SEEDED.username, password = SEEDED.password): Promise<Reply> =>
  who.post("/token/login", { username, password });
const bearer = (accessToken: string) => ({ authorization: `Bearer ${accessToken}` });
const profile = (who: Visitor, accessToken: string): Promise<Reply> => who.get("/token/profile", bearer(accessToken));

/** What two answers must have in common to be told apart by nothing. */
function whole({ status, text, cookies, headers }: Reply): object {
  const { date: _, ...rest } = headers;
  return { status, text, cookies, rest };
}

describe("logging in for tokens", () => {
  it("RT-11: answers an access token, and the refresh token in a cookie that no script sees", async () => {
    const reply = await login(visitor);
    expect(reply.status).toBe(200);
    expect(reply.json).toEqual({ accessToken: expect.stringMatching(/^ey/), expiresIn: 600 });
    expect(reply.headers["cache-control"]).toBe("no-store");
    expect(reply.cookies).toEqual([
      expect.stringMatching(
        /^rt=[\w-]{22}\.[\w-]{43}\.[\w-]{22}; Max-Age=604\d{3}; Path=\/; HttpOnly; SameSite=Strict$/,
      ),
    ]);
    expect(reply.text).not.toContain(String(visitor.refreshCookie).split(".")[1]);
  });

  it("RT-11: over TLS the cookie is __Host-Http-rt and Secure", async () => {
    const behindProxy = await openShop({ trustProxy: true });
    const reply = await new Visitor(behindProxy.url, { "x-forwarded-proto": "https" }).post("/token/login", SEEDED);
    expect(reply.cookies[0]).toMatch(
      /^__Host-Http-rt=[\w.-]{89}; Max-Age=604\d{3}; Path=\/; Secure; HttpOnly; SameSite=Strict$/,
    );
  });

  test("wrong name and wrong password get the same answer, that of POST /login", async () => {
    const unknown = await login(visitor, "nobody", "wrong password");
    const wrong = await login(visitor, "ada", "wrong password");
    expect(whole(wrong)).toEqual(whole(unknown));
    expect(wrong).toMatchObject({ status: 401, json: { error: "Invalid credentials" }, cookies: [] });
  });

  test.each([
    [{ password: "x" }, "Enter your username."],
    [{ username: "ada" }, "Enter your password."],
    [{ username: { $gt: "" }, password: "x" }, "Enter your username."],
    [[], "Send a JSON object, or a form, as the body."],
  ])("refuses %j", async (body, error) => {
    expect(await visitor.post("/token/login", body)).toMatchObject({ status: 400, json: { error }, cookies: [] });
  });

  test("without a body it is a 400, and broken JSON too", async () => {
    expect((await visitor.send("POST", "/token/login")).status).toBe(400);
    const headers = { "content-type": "application/json" };
    expect((await visitor.send("POST", "/token/login", { body: "{", headers })).status).toBe(400);
  });

  test("a login in the same browser takes the place of the one before", async () => {
    await login(visitor);
    const before = visitor.twin();
    await login(visitor);
    expect((await before.post("/token/refresh")).status).toBe(400);
    expect((await visitor.post("/token/refresh")).status).toBe(200);
  });
});

describe("the profile", () => {
  test("is that of the token's user", async () => {
    const { accessToken } = (await login(visitor)).json;
    const reply = await profile(new Visitor(shop.url), accessToken);
    expect(reply.json).toEqual({ username: "ada", userId: "1", loginTime: expect.any(Number) });
    expect(Math.abs(reply.json.loginTime - Date.now())).toBeLessThan(60_000);
  });

  it("JW-19: without a valid token it is a 401 that says how to authenticate", async () => {
    const none = await visitor.get("/token/profile");
    expect(none).toMatchObject({ status: 401, json: { error: expect.any(String) } });
    expect(none.headers["www-authenticate"]).toBe("Bearer");
    const { accessToken } = (await login(visitor)).json;
    for (const token of ["x", `${accessToken}x`, visitor.refreshCookie?.slice(3)]) {
      const wrong = await profile(visitor, token as string);
      expect(wrong.status).toBe(401);
      expect(wrong.headers["www-authenticate"]).toBe('Bearer error="invalid_token"');
    }
    expect((await visitor.get(`/token/profile?access_token=${accessToken}`)).status).toBe(401);
  });

  test("the session's cookie does not open it, nor the token the session's profile", async () => {
    const { accessToken } = (await login(new Visitor(shop.url))).json;
    await visitor.login();
    expect((await visitor.get("/token/profile")).status).toBe(401);
    expect((await new Visitor(shop.url).get("/profile", bearer(accessToken))).status).toBe(401);
  });
});

describe("refreshing", () => {
  test("gives another access token and another refresh token", async () => {
    const { accessToken } = (await login(visitor)).json;
    const first = visitor.refreshCookie;
    const reply = await visitor.post("/token/refresh");
    expect(reply.json).toEqual({ accessToken: expect.any(String), expiresIn: 600 });
    expect(reply.json.accessToken).not.toBe(accessToken);
    expect(reply.headers["cache-control"]).toBe("no-store");
    expect(first).toBeDefined();
    expect(visitor.refreshCookie).not.toBe(first);
    expect((await profile(visitor, reply.json.accessToken)).status).toBe(200);
  });

  it("RT-09: unknown, used, revoked, logged out and expired get the same answer, byte for byte", async () => {
    const clock = new TestClock();
    const own = await openShop({ clock });
    const refused = async (prepare: (who: Visitor) => unknown): Promise<Reply> => {
      const who = new Visitor(own.url);
      await login(who);
      const old = who.twin();
      await prepare(who);
      return old.post("/token/refresh");
    };
    const replies = [
      await refused((who) => who.post("/token/refresh")),
      await refused((who) => who.post("/token/logout")),
      await refused(() => own.sessions.forUser("1").revokeAll()),
      await refused(() => clock.advance(days(7))),
    ];
    for (const cookie of [`rt=${"A".repeat(22)}.${"A".repeat(43)}.${"A".repeat(22)}`, "rt=x", undefined]) {
      const who = new Visitor(own.url);
      who.cookie = cookie;
      replies.push(await who.post("/token/refresh"));
    }
    const [first] = replies as [Reply];
    expect(first).toMatchObject({ status: 400, json: { error: "invalid_grant" }, cookies: [] });
    expect(first.headers["cache-control"]).toBe("no-store");
    for (const reply of replies) expect(whole(reply)).toEqual(whole(first));
  });

  it("RT-02: a replayed refresh token ends the family with its access tokens", async () => {
    await login(visitor);
    const thief = visitor.twin();
    const { accessToken } = (await visitor.post("/token/refresh")).json;
    expect((await thief.post("/token/refresh")).status).toBe(400);
    expect((await visitor.post("/token/refresh")).status).toBe(400);
    expect((await profile(visitor, accessToken)).status).toBe(401);
  });

  it("RT-03: of 50 parallel refreshes one succeeds, and its successor lives unless a request came after that", async () => {
    await login(visitor);
    const tabs = Array.from({ length: 50 }, () => visitor.twin());
    const replies = await Promise.all(tabs.map((tab) => tab.post("/token/refresh")));
    const count = (wanted: number) => replies.filter(({ status }) => status === wanted).length;
    expect(count(200)).toBe(1);
    expect(count(409) + count(400)).toBe(49);
    const winner = tabs[replies.findIndex(({ status }) => status === 200)] as Visitor;
    expect((await winner.post("/token/refresh")).status).toBe(count(400) === 0 ? 200 : 400);
  });

  test("the cookie of a session is no refresh token, and the reverse", async () => {
    await visitor.login();
    const session = new Visitor(shop.url);
    session.cookie = `rt=${visitor.cookie?.split("=")[1]}`;
    expect(await session.post("/token/refresh")).toMatchObject({ status: 400, text: '{"error":"invalid_grant"}' });
    const tokens = new Visitor(shop.url);
    await login(tokens);
    const [id, secret] = String(tokens.refreshCookie).slice(3).split(".");
    const forged = new Visitor(shop.url);
    forged.cookie = `sid=${id}.${secret}`;
    expect((await forged.get("/profile")).status).toBe(401);
    expect((await visitor.get("/profile")).status).toBe(200);
    expect((await tokens.post("/token/refresh")).status).toBe(200);
  });

  it("CS-01: pages of other sites can neither refresh, log in nor log out", async () => {
    await login(visitor);
    for (const path of ["/token/refresh", "/token/login", "/token/logout"])
      for (const headers of [{ "sec-fetch-site": "cross-site" }, { origin: "https://evil.example" }]) {
        const reply = await visitor.twin().post(path, SEEDED, headers);
        expect(reply).toMatchObject({ status: 403, cookies: [] });
      }
    expect((await visitor.post("/token/refresh", {}, { "sec-fetch-site": "same-origin" })).status).toBe(200);
  });
});

describe("logging out", () => {
  it("LO-10: ends refresh and access tokens, forgets the cookie, and is harmless a second time", async () => {
    const { accessToken } = (await login(visitor)).json;
    const copy = visitor.twin();
    const reply = await visitor.post("/token/logout");
    expect(reply).toMatchObject({ status: 200, json: { success: true } });
    expect(reply.headers["cache-control"]).toBe("no-store");
    expect(reply.cookies).toEqual([expect.stringMatching(/^rt=; Max-Age=0;/)]);
    expect((await copy.post("/token/refresh")).status).toBe(400);
    expect((await profile(visitor, accessToken)).status).toBe(401);
    expect((await visitor.post("/token/logout")).status).toBe(200);
  });

  it("LO-10: the list of devices shows it, and ends it", async () => {
    const own = await openShop();
    const phone = new Visitor(own.url, { "user-agent": "Phone" });
    const { accessToken } = (await login(phone)).json;
    const desk = new Visitor(own.url, { "user-agent": "Desk" });
    await desk.login();
    const { sessions } = (await desk.get("/sessions")).json;
    const device = sessions.find((session: { device: { userAgent: string } }) => session.device.userAgent === "Phone");
    expect((await desk.delete(`/sessions/${device.id}`)).status).toBe(200);
    expect((await phone.post("/token/refresh")).status).toBe(400);
    expect((await profile(phone, accessToken)).status).toBe(401);
  });
});

describe("keys", () => {
  it("JW-15: other services verify with the published keys, which are public", async () => {
    const { accessToken } = (await login(visitor)).json;
    const { json, headers } = await visitor.get("/.well-known/jwks.json");
    expect(json.keys).toEqual([
      {
        kty: "EC",
        crv: "P-256",
        x: expect.any(String),
        y: expect.any(String),
        kid: expect.any(String),
        alg: "ES256",
        use: "sig",
      },
    ]);
    expect(headers["cache-control"]).toBe("public, max-age=300");
    const keys = createRemoteJWKSet(new URL(`${shop.url}/.well-known/jwks.json`));
    expect((await jwtVerify(accessToken, keys, { typ: "at+jwt" })).payload.sub).toBe("1");
    const tokens = createTokens({
      keys: json.keys,
      issuer: "https://cloakroom.example",
      audience: "https://cloakroom.example",
    });
    expect((await tokens.verify(accessToken)).sub).toBe("1");
  });

  describe("in a process of its own", () => {
    beforeAll(compileShop, 60_000);
    const start = (folder: string, env: Record<string, string> = {}) => ShopProcess.start({ DATA_DIR: folder, ...env });

    test("a restart keeps tokens valid", { timeout: 60_000 }, async () => {
      const folder = temporaryFolder();
      const before = await start(folder);
      const who = new Visitor(before.url);
      const { accessToken } = (await login(who)).json;
      expect(statSync(join(folder, "token-key.json")).mode & 0o777).toBe(0o600);
      expect(await before.stop("SIGTERM")).toBe(0);

      const after = await start(folder);
      const again = who.twin(after.url);
      expect((await profile(again, accessToken)).status).toBe(200);
      const refreshed = await again.post("/token/refresh");
      expect(refreshed.status).toBe(200);
      expect((await profile(again, refreshed.json.accessToken)).status).toBe(200);
      expect(await after.stop("SIGTERM")).toBe(0);
    });

    test("processes that start together use one key", { timeout: 60_000 }, async () => {
      const folder = temporaryFolder();
      const [one, other] = (await Promise.all([start(folder), start(folder)])) as [ShopProcess, ShopProcess];
      const who = new Visitor(one.url);
      const { accessToken } = (await login(who)).json;
      expect((await profile(who.twin(other.url), accessToken)).status).toBe(200);
      expect((await who.twin(other.url).post("/token/refresh")).status).toBe(200);
    });

    test("TOKEN_KEY is used instead, and a wrong one is told without being shown", { timeout: 60_000 }, async () => {
      const key = generateKey("EdDSA");
      const { url } = await start(temporaryFolder(), { TOKEN_KEY: JSON.stringify(key) });
      expect((await new Visitor(url).get("/.well-known/jwks.json")).json.keys).toMatchObject([{ kid: key.kid }]);
      for (const wrong of ['{"kty":"EC","d":"half', "hunter2hunter2"]) {
        const { code, said } = await failedStart({ DATA_DIR: temporaryFolder(), TOKEN_KEY: wrong });
        expect(code).toBe(1);
        expect(said).toMatch(/^The shop cannot open: /);
        expect(said).not.toContain(wrong.slice(3));
      }
    });
  });
});
