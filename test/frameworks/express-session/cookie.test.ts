import { readFileSync } from "node:fs";
import { createServer, request } from "node:https";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { everywhere, expiresIn, type Handler, idIn, onBoth, SECRET, storedIn, type Untyped } from "./support.ts";

const setUser: Handler = (request, response) => {
  request.session.user = "bob";
  response.end();
};

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date"], now: new Date("2030-01-01T00:00:00Z") });
});
afterEach(() => {
  vi.useRealTimers();
});

everywhere("options.cookie", ({ session, kind, serve }) => {
  const attributes = async (cookie: Untyped, headers: Record<string, string> = {}, options: Untyped = {}) => {
    const served = await serve({ cookie, ...options }, setUser);
    return (await served.send("/", { headers })).setCookie?.attributes;
  };

  it("is { path: '/', httpOnly: true } by default, until the browser closes", async () => {
    expect(await attributes(undefined)).toEqual({ path: "/", httponly: true });
  });

  it.each([
    ["domain", { domain: "shop.example" }, { domain: "shop.example" }],
    ["domain with a dot", { domain: ".shop.example" }, { domain: ".shop.example" }],
    ["httpOnly: false", { httpOnly: false }, { httponly: undefined }],
    ["path", { path: "/" }, { path: "/" }],
    ["partitioned: true", { partitioned: true }, { partitioned: true }],
    ["partitioned: false", { partitioned: false }, { partitioned: undefined }],
    ["priority: low", { priority: "low" }, { priority: "Low" }],
    ["priority: medium", { priority: "medium" }, { priority: "Medium" }],
    ["priority: high", { priority: "high" }, { priority: "High" }],
    ["sameSite: true", { sameSite: true }, { samesite: "Strict" }],
    ["sameSite: false", { sameSite: false }, { samesite: undefined }],
    ["sameSite: strict", { sameSite: "strict" }, { samesite: "Strict" }],
    ["sameSite: lax", { sameSite: "lax" }, { samesite: "Lax" }],
    ["sameSite: none", { sameSite: "none" }, { samesite: "None" }],
    ["secure: false", { secure: false }, { secure: undefined }],
    ["signed: false, which says nothing", { signed: false }, {}],
  ])("%s", async (_, cookie, expected) => {
    const found = await attributes(cookie);
    for (const [name, value] of Object.entries(expected)) expect(found?.[name]).toBe(value);
  });

  it("writes all attributes in the same order", async () => {
    const served = await serve(
      {
        proxy: true,
        cookie: {
          sameSite: "none",
          priority: "high",
          partitioned: true,
          secure: true,
          httpOnly: true,
          expires: new Date("2033-05-18T03:33:20Z"),
          path: "/",
          domain: "shop.example",
        },
      },
      setUser,
    );
    const { headers } = await served.send("/", { headers: { "X-Forwarded-Proto": "https" } });
    expect(headers["set-cookie"]?.[0]).toMatch(
      /^connect\.sid=s%3A[\w-]{32}\.[\w%]+; Domain=shop\.example; Path=\/; Expires=\w{3}, 18 May 2033 03:33:\d\d GMT; HttpOnly; Secure; Partitioned; Priority=High; SameSite=None$/,
    );
  });

  it("encode: changes nothing, for the value is always percent-encoded", async () => {
    const served = await serve({ cookie: { encode: (value: string) => value.toUpperCase() } }, setUser);
    const answer = await served.get();
    expect(answer.setCookie?.value).toMatch(/^s%3A[\w-]{32}\./);
    expect((await served.get("/", answer.cookie)).setCookies).toEqual([]);
  });

  it.each([
    ["expires", { expires: new Date(Number.NaN) }, "option expires is invalid"],
    ["domain", { domain: "a;b" }, "option domain is invalid"],
    ["path", { path: "/\u0000" }, "option path is invalid"],
    ["sameSite", { sameSite: "yes" }, "option sameSite is invalid"],
    ["priority", { priority: "urgent" }, "option priority is invalid"],
  ])(
    "gives the application an error of %s, and the client its answer without a cookie",
    async (name, cookie, message) => {
      const served = await serve({ cookie }, (request, response) => {
        if (request.session) request.session.user = "bob";
        response.end("answer");
      });
      // No request is under such a path, except in the cookie itself.
      if (name === "path") {
        expect((await served.get()).setCookies).toEqual([]);
        return;
      }
      const error = served.nextError();
      expect(await served.get()).toMatchObject({ status: 200, body: "answer", setCookies: [] });
      expect((await error).message).toBe(message);
    },
  );

  describe("path", () => {
    it("has sessions only under it", async () => {
      const served = await serve({ saveUninitialized: true, cookie: { path: "/shop" } });
      expect((await served.get("/")).setCookies).toEqual([]);
      expect((await served.get("/sho")).setCookies).toEqual([]);
      expect((await served.get("/?/shop")).setCookies).toEqual([]);
      expect((await served.get("/shop")).setCookie?.attributes.path).toBe("/shop");
      expect((await served.get("/shop/lamps?page=2")).setCookies).toHaveLength(1);
      expect((await served.get("/shop?page=2")).setCookies).toHaveLength(1);
    });

    it("is that of the whole application, where the session is mounted below", async () => {
      const before: Handler = (request, _response, next) => {
        request.originalUrl = request.url;
        request.url = request.url.replace("/shop", "") || "/";
        next();
      };
      const served = await serve({ saveUninitialized: true, cookie: { path: "/shop/in" } }, { before });
      expect((await served.get("/shop/in")).setCookies).toHaveLength(1);
      expect((await served.get("/shop/shop/in")).setCookies).toEqual([]);
    });

    it.runIf(kind === "node:http")("is looked for in absolute URLs, and not in *", async () => {
      const urls = ["http://shop.example/shop/in", "http://shop.example", "*"];
      const before: Handler = (request, _response, next) => {
        request.url = urls.shift();
        next();
      };
      const served = await serve({ saveUninitialized: true, cookie: { path: "/shop" } }, { before });
      expect((await served.get()).setCookies).toHaveLength(1);
      expect((await served.get()).setCookies).toEqual([]);
      expect((await served.get()).setCookies).toEqual([]);
    });
  });

  describe("secure", () => {
    it("true: sets no cookie over plain HTTP, and keeps the session", async () => {
      const store = new session.MemoryStore();
      const served = await serve({ store, cookie: { secure: true } }, (request, response) => {
        request.session.user = "bob";
        response.end(request.sessionID);
      });
      const answer = await served.get();
      expect(answer.setCookies).toEqual([]);
      expect(await storedIn(store, answer.body)).toMatchObject({ user: "bob" });
    });

    it.each([
      ["secure", "http", { secure: undefined }],
      ["secure", "https", { secure: true }],
      ["sameSite", "http", { samesite: "Lax" }],
      ["sameSite", "https", { samesite: "None" }],
    ])("auto: %s over %s", async (option, protocol, expected) => {
      const found = await attributes({ [option]: "auto" }, { "X-Forwarded-Proto": protocol }, { proxy: true });
      for (const [name, value] of Object.entries(expected)) expect(found?.[name]).toBe(value);
      expect(await attributes({ [option]: "auto" }, { "X-Forwarded-Proto": "https" }, { proxy: false })).toEqual({
        path: "/",
        httponly: true,
        ...(option === "sameSite" ? { samesite: "Lax" } : {}),
      });
    });
  });

  describe("as a function", () => {
    it("is asked for each request, with the request", async () => {
      const served = await serve(
        { cookie: (request: Untyped) => ({ path: "/", maxAge: 1000, domain: `${request.url.slice(1)}.example` }) },
        setUser,
      );
      expect((await served.get("/one")).setCookie?.attributes.domain).toBe("one.example");
      expect((await served.get("/two")).setCookie?.attributes.domain).toBe("two.example");
    });

    it("says under which path there are sessions", async () => {
      const served = await serve({ saveUninitialized: true, cookie: () => ({ path: "/shop" }) });
      expect((await served.get("/")).setCookies).toEqual([]);
      expect((await served.get("/shop")).setCookies).toHaveLength(1);
    });

    it("is not asked for the settings of a session that there is", async () => {
      let maxAge = 1000;
      const served = await serve({ cookie: () => ({ maxAge }) }, (request, response) => {
        request.session.n = (request.session.n ?? 0) + 1;
        response.end();
      });
      const { cookie } = await served.get();
      maxAge = 5000;
      expect(expiresIn(await served.get("/", cookie))).toBe(1000);
    });
  });
});

everywhere("req.session.cookie", ({ session, serve }) => {
  it("maxAge: the cookie expires so many milliseconds after the answer", async () => {
    const served = await serve({ cookie: { maxAge: 20_000 } }, setUser);
    const answer = await served.get();
    expect(answer.setCookie?.attributes.expires).toBe("Tue, 01 Jan 2030 00:00:20 GMT");
  });

  it("maxAge may be changed for one session, also to a large one", async () => {
    const served = await serve({ cookie: { maxAge: 2000 } }, (request, response) => {
      request.session.n = (request.session.n ?? 0) + 1;
      if (request.url === "/5000") request.session.cookie.maxAge = 5000;
      if (request.url === "/3000000000") request.session.cookie.maxAge = 3_000_000_000;
      response.end(String(request.session.cookie.originalMaxAge));
    });
    const first = await served.get("/");
    expect(first.setCookie?.attributes.expires).toBe("Tue, 01 Jan 2030 00:00:02 GMT");
    const second = await served.get("/5000", first.cookie);
    expect(second.setCookie?.attributes.expires).toBe("Tue, 01 Jan 2030 00:00:05 GMT");
    const third = await served.get("/3000000000", first.cookie);
    expect(third.setCookie?.attributes.expires).toBe("Mon, 04 Feb 2030 17:20:00 GMT");
    expect((await served.get("/", first.cookie)).body).toBe("3000000000");
  });

  it("maxAge is what is left, and the whole again after the answer", async () => {
    const served = await serve({ cookie: { maxAge: 60_000 } }, (request, response) => {
      request.session.user = "bob";
      response.end(String(request.session.cookie.maxAge));
    });
    const { cookie } = await served.get();
    vi.advanceTimersByTime(30_000);
    expect((await served.get("/", cookie)).body).toBe("30000");
    vi.advanceTimersByTime(45_000);
    expect((await served.get("/", cookie)).body).toBe("15000");
  });

  it("originalMaxAge is what the session began with, for all its requests", async () => {
    const served = await serve({ cookie: { maxAge: 2000 } }, (request, response) => {
      request.session.n = (request.session.n ?? 0) + 1;
      response.end(String(request.session.cookie.originalMaxAge));
    });
    const { cookie, body } = await served.get();
    expect(body).toBe("2000");
    vi.advanceTimersByTime(500);
    expect((await served.get("/", cookie)).body).toBe("2000");
  });

  it("expires in the store is what the browser was told, also when nothing changed", async () => {
    const store = new session.MemoryStore();
    const served = await serve({ store, cookie: { maxAge: 60_000 } }, (request, response) => {
      if (request.url === "/change") request.session.n = (request.session.n ?? 0) + 1;
      response.end(request.sessionID);
    });
    const first = await served.get("/change");
    const expires = async () => new Date((await storedIn(store, idIn(first))).cookie.expires).toUTCString();
    expect(await expires()).toBe(first.setCookie?.attributes.expires);
    vi.advanceTimersByTime(10_000);
    const second = await served.get("/change", first.cookie);
    expect(await expires()).toBe(second.setCookie?.attributes.expires);
    vi.advanceTimersByTime(10_000);
    expect((await served.get("/", first.cookie)).setCookies).toEqual([]);
    expect(await expires()).toBe(new Date(Date.now() + 60_000).toUTCString());
  });

  it.each(["/date", "/null", "/false"])("expires may be set: %s", async (path) => {
    const served = await serve({ cookie: { maxAge: 1000 } }, (request, response) => {
      request.session.n = (request.session.n ?? 0) + 1;
      if (path === "/date") request.session.cookie.expires = new Date(Date.now() + 3_600_000);
      if (path === "/null") request.session.cookie.expires = null;
      if (path === "/false") request.session.cookie.expires = false;
      response.end();
    });
    const first = await served.get(path);
    if (path === "/date") {
      expect(expiresIn(first)).toBe(3_600_000);
      return;
    }
    expect(first.setCookie?.attributes).not.toHaveProperty("expires");
    // A cookie that ends with the browser is set once.
    if (path === "/null") expect((await served.get(path, first.cookie)).setCookies).toEqual([]);
  });

  it("expires in the past takes the cookie away", async () => {
    const served = await serve({}, (request, response) => {
      request.session.user = "bob";
      request.session.cookie.expires = new Date(0);
      request.session.cookie.originalMaxAge = -1;
      response.end();
    });
    expect(Date.parse(String((await served.get()).setCookie?.attributes.expires))).toBeLessThan(Date.now());
  });

  it("the rest may be set", async () => {
    const served = await serve({ proxy: true, cookie: { secure: true, maxAge: 1000 } }, (request, response) => {
      request.session.user = "bob";
      Object.assign(request.session.cookie, { httpOnly: false, secure: false, sameSite: "lax", domain: "a.example" });
      response.end();
    });
    expect((await served.get()).setCookie?.attributes).toEqual({
      domain: "a.example",
      path: "/",
      expires: expect.any(String),
      samesite: "Lax",
    });
  });

  it("is set when something changed, if it expires; else once", async () => {
    for (const maxAge of [60_000, undefined]) {
      const served = await serve({ cookie: { maxAge } }, (request, response) => {
        if (request.method === "POST") request.session.n = (request.session.n ?? 0) + 1;
        response.end();
      });
      const { cookie } = await served.send("/", { method: "POST" });
      expect((await served.get("/", cookie)).setCookies).toHaveLength(0);
      expect((await served.send("/", { method: "POST", cookie })).setCookies).toHaveLength(maxAge ? 1 : 0);
    }
  });

  it("is set over TLS when it is secure", async () => {
    const pem = readFileSync(new URL("../localhost.pem", import.meta.url), "utf8");
    const middleware = session({ secret: SECRET, resave: false, saveUninitialized: true, cookie: { secure: true } });
    const server = createServer({ key: pem, cert: pem }, (incoming, response) => {
      middleware(incoming, response, () => response.end());
    });
    try {
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      const { port } = server.address() as AddressInfo;
      const lines = await new Promise<string[] | undefined>((resolve, reject) => {
        request({ port, host: "127.0.0.1", agent: false, rejectUnauthorized: false }, (response) => {
          response.resume();
          resolve(response.headers["set-cookie"]);
        })
          .once("error", reject)
          .end();
      });
      expect(lines?.[0]).toMatch(/; HttpOnly; Secure$/);
    } finally {
      server.closeAllConnections();
      server.close();
    }
  });

  it("is written beside cookies that the application sets, before and in writeHead", async () => {
    const lines: Record<string, Handler> = {
      setHeader: (_request, response) => response.setHeader("Set-Cookie", "a=1"),
      list: (_request, response) => response.setHeader("Set-Cookie", ["a=1", "b=2"]),
      writeHead: (_request, response) => response.writeHead(200, { "Set-Cookie": "a=1" }),
      both: (_request, response) => {
        response.setHeader("Set-Cookie", "a=1");
        response.writeHead(200, "OK", { "X-Own": "1" });
      },
      flat: (_request, response) => response.writeHead(200, ["Set-Cookie", "a=1", "Set-Cookie", "b=2"]),
    };
    const served = await serve({ saveUninitialized: true }, (request, response) => {
      lines[request.url.slice(1)]?.(request, response, () => {});
      response.end();
    });
    for (const [name, others] of Object.entries({
      setHeader: ["a"],
      list: ["a", "b"],
      writeHead: ["a"],
      both: ["a"],
      flat: ["a", "b"],
    }))
      expect((await served.get(`/${name}`)).setCookies.map((line) => line.name)).toEqual([...others, "connect.sid"]);
  });
});

onBoth("Cookie", ({ session: { Cookie } }) => {
  it("has express-session's defaults", () => {
    const cookie = new Cookie();
    expect(cookie).toMatchObject({ path: "/", httpOnly: true, maxAge: null, expires: null, originalMaxAge: null });
    expect(Object.keys(cookie)).toEqual(["path", "_expires", "originalMaxAge", "httpOnly"]);
  });

  it("takes options, of maxAge and expires the last", () => {
    const expires = new Date(Date.now() + 5000);
    expect(new Cookie({ expires }).expires).toBe(expires);
    expect(new Cookie({ expires }).maxAge).toBe(5000);
    expect(new Cookie({ expires, maxAge: 9000 }).maxAge).toBe(9000);
    expect(new Cookie({ maxAge: 9000, expires }).maxAge).toBe(5000);
    expect(new Cookie({ maxAge: 9000 }).originalMaxAge).toBe(9000);
    expect(new Cookie({ path: "/shop", httpOnly: false, sameSite: "lax", secure: "auto" })).toMatchObject({
      path: "/shop",
      httpOnly: false,
      sameSite: "lax",
      secure: "auto",
    });
  });

  it("counts maxAge down", () => {
    const cookie = new Cookie({ maxAge: 9000 });
    vi.advanceTimersByTime(4000);
    expect(cookie.maxAge).toBe(5000);
    cookie.maxAge = 1000;
    expect([cookie.maxAge, cookie.originalMaxAge]).toEqual([1000, 1000]);
    cookie.expires = false;
    expect(cookie.maxAge).toBe(false);
  });

  it("refuses options that are no object, and a maxAge that is no number", () => {
    expect(() => new Cookie("secure" as Untyped)).toThrow(new TypeError("argument options must be a object"));
    expect(() => new Cookie({ maxAge: "9" } as Untyped)).toThrow(new TypeError("maxAge must be a number or Date"));
    expect(new Cookie({ maxAge: new Date(Date.now() + 7000) } as Untyped).maxAge).toBe(7000);
  });

  it("does not take data and does take what it does not know", () => {
    const cookie = new Cookie({ data: 1, other: 2 } as Untyped) as Untyped;
    expect(cookie.data).toMatchObject({ path: "/" });
    expect(cookie.other).toBe(2);
  });

  it("is written as JSON in express-session's order", () => {
    expect(JSON.stringify(new Cookie())).toBe('{"originalMaxAge":null,"expires":null,"httpOnly":true,"path":"/"}');
    vi.setSystemTime(0);
    const all = new Cookie({
      sameSite: "none",
      secure: true,
      priority: "low",
      partitioned: true,
      domain: "a.example",
      maxAge: 1000,
    });
    expect(JSON.stringify(all)).toBe(
      '{"originalMaxAge":1000,"partitioned":true,"priority":"low","expires":"1970-01-01T00:00:01.000Z","secure":true,"httpOnly":true,"domain":"a.example","path":"/","sameSite":"none"}',
    );
  });

  it("serializes itself with a name and a value", () => {
    expect(new Cookie({ sameSite: true }).serialize("a", "b c")).toBe("a=b%20c; Path=/; HttpOnly; SameSite=Strict");
  });
});
