import { createHmac } from "node:crypto";
import { CsrfTokenError, createSessions } from "coatcheck";
import { requireCsrfToken, sessionMiddleware, sessionOf } from "coatcheck/express";
import express5 from "express";
import express4 from "express4";
import { afterEach, describe, expect, it } from "vitest";
import { checkCsrfToken, createCsrfToken } from "../../src/csrf/token.ts";
import { http1, type Listener, type Sending, type Served } from "../frameworks/servers.ts";
import { recorded, TestClock, type Visit, visit, watchedStore } from "../frameworks/support.ts";

function shop() {
  const store = watchedStore();
  const sessions = createSessions<Visit>({ store, clock: new TestClock() });
  const ask = (cookie: string, handler?: Parameters<typeof visit<Visit>>[2]) =>
    visit(sessions, { headers: { cookie } }, handler);
  /** A form's token for this cookie. */
  const token = async (cookie: string) => {
    let made = "";
    const { cookie: fresh } = await ask(cookie, async (session) => {
      made = await session.csrfToken();
    });
    return { token: made, cookie: fresh === "" ? cookie : fresh };
  };
  const accepts = async (cookie: string, given: unknown) => {
    let accepted = true;
    await ask(cookie, (session) =>
      session.requireCsrfToken(given).catch((error: unknown) => {
        expect(error).toBeInstanceOf(CsrfTokenError);
        accepted = false;
      }),
    );
    return accepted;
  };
  return { store, sessions, ask, token, accepts, events: recorded(sessions) };
}

describe("csrfToken", () => {
  it("CS-07: a visitor's first form makes a session, and its token is accepted as often as it is sent", async () => {
    const { token, accepts, store } = shop();
    const form = await token("");
    expect(form.cookie).toMatch(/^__Host-Http-sid=/);
    expect(store.calls("create")).toBe(1);
    expect(form.token).toMatch(/^[\w-]{22}\.[\w-]{43}$/);
    expect(await accepts(form.cookie, form.token)).toBe(true);
    expect(await accepts(form.cookie, form.token)).toBe(true);
    // An ordinary page of the same visitor writes nothing more.
    const second = await token(form.cookie);
    expect([store.calls("create"), store.calls("update")]).toEqual([1, 0]);
    expect(await accepts(form.cookie, second.token)).toBe(true);
  });

  it("CS-07: missing, wrong and malformed tokens are refused, each with one event", async () => {
    const { token, accepts, events } = shop();
    const form = await token("");
    events.length = 0;
    const hostile: unknown[] = [
      undefined,
      null,
      "",
      "x",
      form.token.slice(0, -1),
      `${form.token}A`,
      ` ${form.token}`,
      form.token.replace(".", ""),
      form.token.toLowerCase() === form.token ? "x" : form.token.toLowerCase(),
      `${form.token.slice(0, 22)}.${"A".repeat(43)}`,
      `${"A".repeat(22)}${form.token.slice(22)}`,
      [form.token],
      { toString: () => form.token },
      [form.token, form.token],
      42,
      true,
      "\u0000".repeat(66),
      "x".repeat(1_048_576),
    ];
    for (const given of hostile) expect(await accepts(form.cookie, given), String(given).slice(0, 30)).toBe(false);
    expect(events).toHaveLength(hostile.length);
    for (const event of events) expect(event).toMatchObject({ type: "csrfRejected", reason: "token" });
    expect(await accepts(form.cookie, form.token)).toBe(true);
  });

  it("CS-07: another user's token, and one from before login, renewal or logout, are refused", async () => {
    const { token, accepts, ask } = shop();
    const ada = await token("");
    const eve = await token((await ask("", (session) => session.login("eve"))).cookie);
    expect(await accepts(ada.cookie, eve.token)).toBe(false);
    expect(await accepts(eve.cookie, ada.token)).toBe(false);

    const signedIn = (await ask(ada.cookie, (session) => session.login("ada"))).cookie;
    expect(await accepts(signedIn, ada.token)).toBe(false);
    const fresh = await token(signedIn);
    expect(await accepts(signedIn, fresh.token)).toBe(true);
    const renewed = (await ask(signedIn, (session) => session.renew())).cookie;
    expect(await accepts(renewed, fresh.token)).toBe(false);
    await ask(renewed, (session) => session.logout());
    expect(await accepts(renewed, (await token(renewed)).token)).toBe(false);
  });

  it("CS-07: a request without a session has no valid token, not even one it was just given", async () => {
    const { ask } = shop();
    await ask("", async (session) => {
      const token = await session.csrfToken();
      await expect(session.requireCsrfToken(token)).rejects.toBeInstanceOf(CsrfTokenError);
    });
  });

  it("CS-08: a token of session A fails in B, although nothing is stored for it", async () => {
    const { token, accepts, store } = shop();
    const [a, b] = [await token(""), await token("")];
    for (const [mine, theirs] of [
      [a, b],
      [b, a],
    ] as const) {
      expect(await accepts(mine.cookie, mine.token)).toBe(true);
      expect(await accepts(mine.cookie, theirs.token)).toBe(false);
      // Halves of two tokens are none.
      expect(await accepts(mine.cookie, mine.token.slice(0, 23) + theirs.token.slice(23))).toBe(false);
      expect(await accepts(mine.cookie, theirs.token.slice(0, 23) + mine.token.slice(23))).toBe(false);
    }
    for await (const record of store.all()) {
      expect(JSON.stringify([record.meta, [...record.data]])).not.toContain(a.token.slice(23));
    }
  });

  it("CS-08: a cookie and field that an attacker planted together are nothing", async () => {
    const { accepts } = shop();
    const id = "A".repeat(22);
    const secret = "B".repeat(43);
    const planted = await createCsrfToken(id as never, secret as never);
    expect(await checkCsrfToken(id as never, secret as never, planted)).toBe(true);
    expect(await accepts(`__Host-Http-sid=${id}.${secret}`, planted)).toBe(false);
    expect(await accepts(`csrf=${planted}`, planted)).toBe(false);
  });

  it("CS-08: it is an HMAC over fields with their lengths, so that no field can flow into the next", async () => {
    const [id, secret] = ["i".repeat(22), "s".repeat(43)];
    const token = await createCsrfToken(id as never, secret as never);
    const nonce = token.slice(0, 22);
    const expected = createHmac("sha256", secret)
      .update(`16:coatcheck csrf 1${22}:${id}${22}:${nonce}`)
      .digest("base64url");
    expect(token).toBe(`${nonce}.${expected}`);
    // The same characters with the border elsewhere: another id that ends where this nonce begins.
    const moved = [`${id}${nonce.slice(0, 1)}`, `${nonce.slice(1)}x`] as const;
    expect(await checkCsrfToken(moved[0] as never, secret as never, `${moved[1]}.${expected}`)).toBe(false);
    expect(await checkCsrfToken(`${id}:` as never, secret as never, token)).toBe(false);
  });

  it("CS-07: each token is another text, so that compression does not betray it, and both halves are 128 bits or more", async () => {
    const { token } = shop();
    const { cookie } = await token("");
    const tokens = new Set<string>();
    const macs = new Set<string>();
    for (let i = 0; i < 200; i++) {
      const made = (await token(cookie)).token;
      tokens.add(made.slice(0, 22));
      macs.add(made.slice(23));
    }
    expect([tokens.size, macs.size]).toEqual([200, 200]);
    expect(Buffer.from([...tokens][0] ?? "", "base64url")).toHaveLength(16);
    expect(Buffer.from([...macs][0] ?? "", "base64url")).toHaveLength(32);
  });
});

describe("requireCsrfToken in Express", () => {
  let served: Served;
  afterEach(() => served.close());

  for (const [version, create] of [
    ["4", express4 as unknown as typeof express5],
    ["5", express5],
  ] as const)
    it(`CS-07: Express ${version}: unsafe requests bring it in the field _csrf or the header, and never in the URL`, async () => {
      const sessions = createSessions<Visit>({ store: watchedStore(), clock: new TestClock() });
      const app = create();
      app.set("env", "test");
      app.use(
        sessionMiddleware(sessions),
        create.urlencoded({ extended: true }),
        create.json(),
        requireCsrfToken(sessions),
      );
      app.get("/form", (req, res, next) => {
        sessionOf(sessions, req)
          .csrfToken()
          .then((token) => res.send(token), next);
      });
      app.all("/do", (_req, res) => void res.send("done"));
      served = await http1(app as unknown as Listener);
      const form = await served.send("/form").whole;
      const cookie = form.cookies[0]?.split(";")[0] ?? "";
      const token = form.text;
      const status = async (path: string, sending: Sending = {}) =>
        (await served.send(path, { method: "POST", ...sending, headers: { cookie, ...sending.headers } }).whole).status;
      const urlencoded = { "content-type": "application/x-www-form-urlencoded" };
      const json = { "content-type": "application/json" };

      expect(await status("/do", { headers: { "x-csrf-token": token } })).toBe(200);
      expect(await status("/do", { headers: urlencoded, body: `a=1&_csrf=${token}` })).toBe(200);
      expect(await status("/do", { headers: json, body: JSON.stringify({ _csrf: token }) })).toBe(200);
      for (const method of ["GET", "HEAD", "OPTIONS"]) expect(await status("/do", { method })).toBe(200);

      for (const method of ["POST", "PUT", "PATCH", "DELETE"]) expect(await status("/do", { method })).toBe(403);
      expect(await status(`/do?_csrf=${token}&csrf=${token}`)).toBe(403);
      expect(await status("/do", { headers: { "x-xsrf-token": token } })).toBe(403);
      expect(await status("/do", { headers: urlencoded, body: `_csrf[]=${token}` })).toBe(403);
      expect(await status("/do", { headers: urlencoded, body: `_csrf[toString]=${token}` })).toBe(403);
      expect(await status("/do", { headers: urlencoded, body: `_csrf=${token}&_csrf=${token}` })).toBe(403);
      expect(await status("/do", { headers: json, body: "null" }).catch(() => 400)).not.toBe(200);
      expect(await status("/do", { headers: { "content-type": "text/plain" }, body: `_csrf=${token}` })).toBe(403);
      // A wrong header is not saved by a right field.
      expect(await status("/do", { headers: { ...urlencoded, "x-csrf-token": "x" }, body: `_csrf=${token}` })).toBe(
        403,
      );
      expect(await status("/do", { headers: { "x-csrf-token": token, cookie: "" } })).toBe(403);
    });
});
