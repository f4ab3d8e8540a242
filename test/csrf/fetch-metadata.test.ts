import { CrossSiteRequestError, type CsrfOptions, cookieTransport, createSessions } from "coatcheck";
import { sessionMiddleware, sessionOf } from "coatcheck/express";
import express5 from "express";
import express4 from "express4";
import { afterEach, describe, expect, it, vi } from "vitest";
import { CrossSiteCheck } from "../../src/csrf/fetch-metadata.ts";
import { http1, type Listener, type Served } from "../frameworks/servers.ts";
import {
  type Facts,
  facts,
  recorded,
  sets,
  TestClock,
  type Visit,
  visit,
  watchedStore,
} from "../frameworks/support.ts";

/** Whether the check lets a request pass. */
function passes(request: Facts, options: CsrfOptions = {}, hasToken = false): boolean {
  try {
    new CrossSiteCheck(options).assertAllowed(facts(request), hasToken);
    return true;
  } catch (error) {
    expect(error).toBeInstanceOf(CrossSiteRequestError);
    return false;
  }
}

const OWN = "https://shop.example";
const EVIL = "https://evil.example";

describe("the cross-site check", () => {
  it("CS-01: the base cases of Go's CrossOriginProtection", () => {
    const cases: [string, method: string, site: string | undefined, origin: string | undefined, allowed: boolean][] = [
      ["same-origin", "POST", "same-origin", undefined, true],
      ["none: the user typed it", "POST", "none", undefined, true],
      ["cross-site", "POST", "cross-site", undefined, false],
      ["same-site", "POST", "same-site", undefined, false],
      ["neither header", "POST", undefined, undefined, true],
      ["own Origin", "POST", undefined, OWN, true],
      ["other Origin", "POST", undefined, EVIL, false],
      ["Origin null", "POST", undefined, "null", false],
      ["GET", "GET", "cross-site", undefined, true],
      ["HEAD", "HEAD", "cross-site", undefined, true],
      ["OPTIONS", "OPTIONS", "cross-site", undefined, true],
      ["PUT", "PUT", "cross-site", undefined, false],
    ];
    expect(cases).toHaveLength(12);
    for (const [name, method, site, origin, allowed] of cases)
      expect(passes({ method, headers: { "sec-fetch-site": site, origin } }), name).toBe(allowed);
  });

  it("CS-01: the trusted-origin cases of Go's CrossOriginProtection", () => {
    const trusted = { trustedOrigins: ["https://trusted.example"] };
    const cases: [string, site: string | undefined, origin: string | undefined, allowed: boolean][] = [
      ["trusted, no Fetch Metadata", undefined, "https://trusted.example", true],
      ["trusted, cross-site", "cross-site", "https://trusted.example", true],
      ["untrusted, no Fetch Metadata", undefined, "https://untrusted.example", false],
      ["untrusted, cross-site", "cross-site", "https://untrusted.example", false],
    ];
    for (const [name, site, origin, allowed] of cases)
      expect(passes({ method: "POST", headers: { "sec-fetch-site": site, origin } }, trusted), name).toBe(allowed);
  });

  it("CS-01: other methods are unsafe, other values fail, and a repeated header fails", () => {
    for (const method of ["FOO", "TRACE", "CONNECT", "PATCH", "DELETE", "PROPFIND", "QUERY", "get", "Head", ""])
      expect(passes({ method, headers: { "sec-fetch-site": "cross-site" } }), method).toBe(false);
    for (const site of [
      "bogus",
      "",
      "Same-Origin",
      "NONE",
      " same-origin",
      "same-origin, same-origin",
      "none, cross-site",
      "*",
    ])
      expect(passes({ method: "POST", headers: { "sec-fetch-site": site } }), site).toBe(false);
    // What a page of another site can never forge does not help it either.
    expect(passes({ method: "POST", headers: { "sec-fetch-site": "cross-site", origin: OWN } })).toBe(false);
    expect(passes({ method: "POST", headers: { "sec-fetch-site": "same-origin", origin: EVIL } })).toBe(true);
    const twice = `${OWN}, ${OWN}`;
    expect(passes({ method: "POST", headers: { origin: twice } })).toBe(false);
    expect(passes({ method: "POST", headers: { origin: twice } }, { trustedOrigins: [OWN] })).toBe(false);
  });

  it("CS-02: without Fetch Metadata the Origin has to be the request's own scheme, host and port", () => {
    const cases: [origin: string, Facts, allowed: boolean][] = [
      [OWN, {}, true],
      ["https://SHOP.EXAMPLE", {}, true],
      [OWN, { host: "Shop.Example" }, true],
      [OWN, { host: "shop.example:443" }, true],
      ["https://shop.example:443", {}, true],
      ["https://shop.example:8443", { host: "shop.example:8443" }, true],
      ["http://localhost:3000", { host: "localhost:3000", secure: false }, true],
      ["http://shop.example", {}, false],
      [OWN, { secure: false }, false],
      ["https://shop.example:8443", {}, false],
      [OWN, { host: "shop.example:8443" }, false],
      ["https://www.shop.example", {}, false],
      ["https://shop.example.evil.example", {}, false],
      ["https://evil.example?shop.example", {}, false],
      ["https://shop.example@evil.example", {}, false],
      ["null", {}, false],
      ["", {}, false],
      ["null", { host: "null" }, false],
      ["file://", {}, false],
      ["shop.example", {}, false],
      ["https://", { host: "" }, false],
      ["data:text/html,x", {}, false],
    ];
    for (const strict of [false, true])
      for (const [origin, request, allowed] of cases)
        expect(
          passes({ method: "POST", headers: { origin }, ...request }, { strict }, true),
          `${origin} ${strict}`,
        ).toBe(allowed);
  });

  it("CS-02: origins that are configured replace the host of the request", () => {
    const options = { origins: [OWN] };
    const from = (origin: string, host: string) => passes({ method: "POST", host, headers: { origin } }, options);
    expect(from(OWN, "internal:8080")).toBe(true);
    expect(from("https://internal:8080", "internal:8080")).toBe(false);
    expect(from("https://SHOP.example", "shop.example")).toBe(false);
    expect(passes({ method: "POST", headers: { origin: OWN } }, { origins: [] })).toBe(false);
  });

  it("CS-02: with neither header a request passes, unless strict and it brings a token", async () => {
    expect(passes({ method: "POST" }, {}, true)).toBe(true);
    expect(passes({ method: "POST" }, { strict: true }, false)).toBe(true);
    expect(passes({ method: "POST" }, { strict: true }, true)).toBe(false);
    expect(passes({ method: "GET" }, { strict: true }, true)).toBe(true);

    const sessions = createSessions<Visit>({ store: watchedStore(), clock: new TestClock(), csrf: { strict: true } });
    const { cookie } = await visit(sessions, { method: "POST" }, sets(1));
    for (const given of [cookie, "__Host-Http-sid=garbage", `${cookie}; ${cookie}`])
      await expect(visit(sessions, { method: "POST", headers: { cookie: given } })).rejects.toMatchObject({
        reason: "no-evidence",
      });
    expect((await visit(sessions, { method: "POST", headers: { cookie, origin: OWN } })).session.isNew).toBe(false);
  });

  it("CS-04: trusted and own origins are scheme, host and perhaps port, or refused at set-up", () => {
    const valid = ["https://example.com", "https://example.com:8080", "http://example.com"];
    const invalid = [
      "example.com",
      "https://",
      "https://example.com/",
      "https://example.com/path",
      "https://example.com?query=value",
      "https://example.com#fragment",
      "https://ex ample.com",
      "",
      "null",
    ];
    expect([valid.length, invalid.length]).toEqual([3, 9]);
    const more = [
      "*",
      "https://*.example.com",
      "https://EXAMPLE.com",
      "https://example.com:443",
      "https://user@example.com",
      "//x",
    ];
    for (const which of ["trustedOrigins", "origins"]) {
      for (const origin of valid) expect(() => new CrossSiteCheck({ [which]: [origin] }), origin).not.toThrow();
      for (const origin of [...invalid, ...more])
        expect(() => new CrossSiteCheck({ [which]: [valid[0], origin] }), origin).toThrow(TypeError);
    }
    expect(() => createSessions({ store: watchedStore(), csrf: { trustedOrigins: ["example.com"] } })).toThrow(
      /is not an origin/,
    );
  });

  it("CS-09: it comes before there is a session, so login is covered", async () => {
    const store = watchedStore();
    const sessions = createSessions<Visit>({ store, clock: new TestClock() });
    const events = recorded(sessions);
    const login = (headers: Facts["headers"]) =>
      visit(sessions, { method: "POST", headers: headers ?? {} }, (session) => session.login("ada"));
    await expect(login({ "sec-fetch-site": "cross-site" })).rejects.toBeInstanceOf(CrossSiteRequestError);
    await expect(login({ origin: EVIL })).rejects.toMatchObject({ status: 403, publicMessage: "Forbidden." });
    expect(events.map(({ type, ...rest }) => [type, (rest as { reason?: string }).reason])).toEqual([
      ["csrfRejected", "sec-fetch-site"],
      ["csrfRejected", "origin"],
    ]);
    expect(store.calls()).toBe(0);
    expect((await login({ "sec-fetch-site": "same-origin" })).session.userId).toBe("ada");
  });

  it("CS-12: SameSite is not what refuses: with SameSite=None the request of another site is still refused", async () => {
    for (const transport of [
      cookieTransport({ sameSite: "None" }),
      { ...cookieTransport(), write: () => ({ cookies: [], headers: [] }) },
    ]) {
      const sessions = createSessions<Visit>({ store: watchedStore(), clock: new TestClock(), transport });
      await expect(
        visit(sessions, { method: "POST", headers: { "sec-fetch-site": "cross-site" } }),
      ).rejects.toBeInstanceOf(CrossSiteRequestError);
    }
  });

  it("CS-12: it is on unless it is turned off", async () => {
    const store = watchedStore();
    const request: Facts = { method: "POST", headers: { "sec-fetch-site": "cross-site" } };
    await expect(visit(createSessions<Visit>({ store }), request)).rejects.toBeInstanceOf(CrossSiteRequestError);
    expect((await visit(createSessions<Visit>({ store, csrf: false }), request)).session.isNew).toBe(true);
  });

  it("CS-13: an error says which header was the reason and holds nothing that the client sent", async () => {
    const sessions = createSessions<Visit>({ store: watchedStore(), clock: new TestClock() });
    const origin = "https://evil.example/<script>\u001b[31m";
    const error = (await visit(sessions, { method: "POST", headers: { origin } }).catch((e: unknown) => e)) as Error;
    expect(error.message).toMatch(/refused \(origin\).*trustedOrigins/);
    expect(error.message).not.toContain("evil");
  });

  it("CS-14: a route with a proof of its own passes whatever the browser says of its origin", async () => {
    const sessions = createSessions<Visit>({ store: watchedStore(), clock: new TestClock() });
    const { cookie } = await visit(sessions, {}, (session) => session.login("ada"));
    const proven = async (headers: Facts["headers"]) => {
      const exchange = await sessions.open(facts({ method: "POST", headers: { cookie, ...headers } }), {
        crossSite: "allow",
      });
      exchange.end();
      return exchange.session.userId;
    };
    for (const headers of [
      { "sec-fetch-site": "same-origin", origin: OWN },
      { "sec-fetch-site": "same-site", origin: "https://www.shop.example" },
      {},
    ])
      expect(await proven(headers)).toBe("ada");
    // Without the exemption the second of them does not.
    await expect(
      visit(sessions, {
        method: "POST",
        headers: { "sec-fetch-site": "same-site", origin: "https://www.shop.example" },
      }),
    ).rejects.toBeInstanceOf(CrossSiteRequestError);
  });
});

describe("exemptions", () => {
  let served: Served;
  afterEach(async () => {
    vi.restoreAllMocks();
    await served.close();
  });

  for (const [version, create] of [
    ["4", express4 as unknown as typeof express5],
    ["5", express5],
  ] as const)
    it(`CS-05: Express ${version}: a request is exempt exactly when the exempted route is what runs`, async () => {
      const store = watchedStore();
      const sessions = createSessions<Visit>({ store, clock: new TestClock() });
      const app = create();
      app.set("env", "test");
      const ran: string[] = [];
      const handler = (name: string) => (req: never, res: { send(text: string): void }) => {
        ran.push(`${name}: ${sessionOf(sessions, req).isNew}`);
        res.send(name);
      };
      app.post("/bypass", sessionMiddleware(sessions, { crossSite: "allow" }), handler("exempt") as never);
      app.use(sessionMiddleware(sessions));
      app.post(["/bypass/admin", "/admin", "/", "/bypassed"], handler("guarded") as never);
      served = await http1(app as unknown as Listener);
      for (const path of [
        "/bypass",
        "/bypass/",
        "/BYPASS",
        "/bypass?x=/admin",
        "/x/../bypass/",
        "/bypass/../admin",
        "/bypass/%2e%2e/admin",
        "/%2e%2e/bypass",
        "/bypass%2fadmin",
        "/bypass/admin",
        "/bypass//admin",
        "//bypass",
        "//bypass/admin",
        "/bypass;/admin",
        "/bypass%00",
        "/%62ypass",
        "/bypassed",
        "/admin",
        "/./bypass",
        "/bypass/.",
      ]) {
        ran.length = 0;
        const { status } = await served.send(path, { method: "POST", headers: { "sec-fetch-site": "cross-site" } })
          .whole;
        // No redirect, and never another handler than the exempted one.
        expect([200, 400, 403], path).toContain(status);
        expect(ran, path).toEqual(status === 200 ? ["exempt: true"] : []);
      }
      expect(
        (await served.send("/bypass", { method: "POST", headers: { "sec-fetch-site": "cross-site" } }).whole).status,
      ).toBe(200);
      expect((await served.send("/bypass/admin", { method: "POST" }).whole).text).toBe("guarded");
    });

  it("CS-06: a state change by GET is the application's, and an overridden method is checked as what is sent", async () => {
    const sessions = createSessions<Visit>({ store: watchedStore(), clock: new TestClock() });
    const app = express5();
    app.set("env", "test");
    app.use(sessionMiddleware(sessions));
    // As method-override does, mounted after the session.
    app.use((req, _res, next) => {
      req.method = String(req.headers["x-http-method-override"] ?? req.method);
      next();
    });
    const ran = vi.fn();
    app.use((_req, res) => {
      ran();
      res.send("x");
    });
    served = await http1(app as unknown as Listener);
    const headers = { "sec-fetch-site": "cross-site", "x-http-method-override": "GET" };
    expect((await served.send("/", { method: "POST", headers }).whole).status).toBe(403);
    expect(ran).not.toHaveBeenCalled();
  });
});
