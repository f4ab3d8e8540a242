import { createHmac, createSecretKey, randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { everywhere, type Handler, idIn, onBoth, SECRET, sessionsIn, type Untyped, watched } from "./support.ts";

const counter: Handler = (request, response) => {
  request.session.n = (request.session.n ?? 0) + 1;
  response.end(`n=${request.session.n}`);
};
const end: Handler = (_request, response) => response.end();
const setUser: Handler = (request, response) => {
  request.session.user = "bob";
  response.end();
};

onBoth("options that are refused", ({ session }) => {
  it("refuses a genid that is no function", () => {
    expect(() => session({ secret: SECRET, genid: "x" } as Untyped)).toThrow(
      new TypeError("genid option must be a function"),
    );
  });

  it('refuses an unset that is neither "destroy" nor "keep"', () => {
    expect(() => session({ secret: SECRET, unset: "x" } as Untyped)).toThrow(
      new TypeError('unset option must be "destroy" or "keep"'),
    );
  });

  it("refuses an empty list of secrets", () => {
    expect(() => session({ secret: [] })).toThrow(
      new TypeError("secret option array must contain one or more strings"),
    );
  });

  it("refuses a store that emits no events", () => {
    expect(() => session({ secret: SECRET, store: { get() {}, set() {}, destroy() {} } } as Untyped)).toThrow(
      TypeError,
    );
  });
});

everywhere("options.secret", ({ session, serve }) => {
  const withRequestSecret: Handler = (request, _response, next) => {
    request.secret = SECRET;
    next();
  };

  it("is needed", async () => {
    const served = await serve({ secret: undefined });
    expect(await served.get()).toMatchObject({ status: 500, body: "secret option required for sessions" });
  });

  it("is that of the request when there is none", async () => {
    const served = await serve({ secret: undefined }, { before: withRequestSecret, handler: counter });
    const { cookie, body } = await served.get();
    expect(body).toBe("n=1");
    expect((await served.get("/", cookie)).body).toBe("n=2");
  });

  it.each([
    ["a string", "a string"],
    ["a buffer", randomBytes(32)],
    ["a key", createSecretKey(randomBytes(32))],
    ["a list", ["one", "two"]],
  ])("may be %s", async (_, secret) => {
    const served = await serve({ secret }, counter);
    const { cookie } = await served.get();
    expect((await served.get("/", cookie)).body).toBe("n=2");
  });

  it("signs with HMAC-SHA-256, base64 without padding", async () => {
    const served = await serve({ secret: "s3cr3t" }, counter);
    const answer = await served.get();
    const id = idIn(answer) as string;
    const signature = createHmac("sha256", "s3cr3t").update(id).digest("base64").replace(/=+$/, "");
    expect(decodeURIComponent(answer.setCookie?.value ?? "")).toBe(`s:${id}.${signature}`);
  });

  it("signs with the first of a list, and verifies with all", async () => {
    const store = new session.MemoryStore();
    const old = await serve({ store, secret: "old" }, counter);
    const both = await serve({ store, secret: ["new", "old"] }, counter);
    const one = await serve({ store, secret: "new" }, counter);
    const before = await old.get();
    expect((await both.get("/", before.cookie)).body).toBe("n=2");
    expect((await one.get("/", before.cookie)).body).toBe("n=1");
    const after = await both.get();
    expect((await one.get("/", after.cookie)).body).toBe("n=2");
    expect((await old.get("/", after.cookie)).body).toBe("n=1");
  });

  it("may be replaced in the list while the application runs", async () => {
    const secrets = ["first"];
    const served = await serve({ secret: secrets }, counter);
    const { cookie } = await served.get();
    secrets.unshift("second");
    expect((await served.get("/", cookie)).body).toBe("n=2");
    secrets.pop();
    expect((await served.get("/", cookie)).body).toBe("n=1");
  });
});

everywhere("options.genid", ({ serve }) => {
  const ids = (genid: Handler | ((request: Untyped) => unknown)) => serve({ genid }, counter);

  it("makes the id", async () => {
    const served = await ids(() => "my-own-id");
    expect(idIn(await served.get())).toBe("my-own-id");
  });

  it("is given the request", async () => {
    const served = await ids((request: Untyped) => `for ${request.method}`);
    expect(idIn(await served.get())).toBe("for GET");
  });

  it("may use characters that cookies cannot hold", async () => {
    const served = await ids(() => '%; "ä"');
    const answer = await served.get();
    expect(idIn(answer)).toBe('%; "ä"');
    expect((await served.get("/", answer.cookie)).body).toBe("n=2");
  });

  it("gives its error to the application", async () => {
    const served = await ids(() => {
      throw new Error("no more ids");
    });
    expect(await served.get()).toMatchObject({ status: 500, body: "no more ids" });
  });

  it("is asked once for each new session, and not for others", async () => {
    let asked = 0;
    const served = await ids(() => `id-${++asked}`);
    const { cookie } = await served.get();
    await served.get("/", cookie);
    expect(asked).toBe(1);
  });
});

everywhere("options.name", ({ serve }) => {
  it("is connect.sid by default", async () => {
    const served = await serve({}, counter);
    expect((await served.get()).setCookie?.name).toBe("connect.sid");
  });

  it.each(["name", "key"])("is the cookie's name, also when it is called %s", async (option) => {
    const served = await serve({ [option]: "visit" }, counter);
    const answer = await served.get();
    expect(answer.setCookie?.name).toBe("visit");
    expect((await served.get("/", answer.cookie)).body).toBe("n=2");
  });

  it("that no cookie can have is an error of the application", async () => {
    const served = await serve({ name: "a name" }, counter);
    const error = served.nextError();
    expect(await served.get()).toMatchObject({ status: 200, setCookies: [] });
    expect((await error).message).toBe("argument name is invalid");
  });
});

everywhere("options.resave", ({ session, serve }) => {
  const twice = async (options: Untyped) => {
    const store = watched(new session.MemoryStore());
    const served = await serve({ store, ...options }, setUser);
    const { cookie } = await served.get();
    expect(store.calls.set).toBe(1);
    await served.get("/", cookie);
    return store.calls;
  };

  it("is true by default", async () => {
    expect(await twice({ resave: undefined })).toMatchObject({ set: 2, touch: 0 });
  });

  it("true: saves a session that did not change", async () => {
    expect(await twice({ resave: true })).toMatchObject({ set: 2, touch: 0 });
  });

  it("true: saves a session that nobody looked at", async () => {
    const store = watched(new session.MemoryStore());
    const served = await serve({ store, resave: true, saveUninitialized: true });
    const { cookie } = await served.get();
    await served.get("/", cookie);
    expect(store.calls).toMatchObject({ set: 2, touch: 0 });
  });

  it("false: does not save what did not change, and touches it instead", async () => {
    expect(await twice({ resave: false })).toMatchObject({ set: 1, touch: 1 });
  });

  it("false: saves a session that did change", async () => {
    const store = watched(new session.MemoryStore());
    const served = await serve({ store }, (request, response) => {
      if (request.method === "PUT") request.session.token = request.url;
      response.end(request.session.token);
    });
    const { cookie } = await served.send("/a", { method: "PUT" });
    expect((await served.get("/", cookie)).body).toBe("/a");
    expect(store.calls.set).toBe(1);
    await served.send("/b", { method: "PUT", cookie });
    expect(store.calls.set).toBe(2);
    expect((await served.get("/", cookie)).body).toBe("/b");
  });

  it.each([
    ["an object's property", (data: Untyped) => data.user.age++],
    ["a property that is called cookie, but not the session's own", (data: Untyped) => data.user.cookie++],
    ["an element of a list", (data: Untyped) => data.list.push(1)],
    ["a property that is taken off", (data: Untyped) => delete data.user],
    ["the order of a list", (data: Untyped) => data.list.reverse()],
  ])("false: sees the change of %s", async (_, change) => {
    const store = watched(new session.MemoryStore());
    const served = await serve({ store }, (request, response) => {
      if (request.session.user === undefined)
        Object.assign(request.session, { user: { age: 1, cookie: 1 }, list: [1, 2] });
      else change(request.session);
      response.end();
    });
    const { cookie } = await served.get();
    await served.get("/", cookie);
    expect(store.calls.set).toBe(2);
  });

  it("false: gives the application an error of touch, and the client its answer", async () => {
    const store = new session.MemoryStore();
    const served = await serve({ store }, (request, response) => {
      request.session.user = "bob";
      response.end("answer");
    });
    const { cookie } = await served.get();
    store.touch = (_id: string, _session: unknown, callback: (error: Error) => void) => callback(new Error("no touch"));
    const error = served.nextError();
    await served.get("/", cookie);
    expect((await error).message).toBe("no touch");
  });

  it("false: does without touch in a store that has none", async () => {
    const store = new session.MemoryStore();
    (store as Untyped).touch = undefined;
    const served = await serve({ store }, setUser);
    const { cookie } = await served.get();
    expect(await served.get("/", cookie)).toMatchObject({ status: 200, setCookies: [] });
  });
});

everywhere("options.saveUninitialized", ({ session, serve }) => {
  it.each([undefined, true])(
    "%s: saves a new session that nothing was put into, and sets its cookie",
    async (value) => {
      const store = new session.MemoryStore();
      const served = await serve({ store, saveUninitialized: value }, end);
      const answer = await served.get();
      expect(Object.keys(await sessionsIn(store))).toEqual([idIn(answer)]);
    },
  );

  it("false: does neither", async () => {
    const store = watched(new session.MemoryStore());
    const served = await serve({ store, cookie: { maxAge: 60_000 } }, (request, response) =>
      response.end(request.session.id),
    );
    expect((await served.get()).setCookies).toEqual([]);
    expect(store.calls).toEqual({ get: 0, set: 0, touch: 0, destroy: 0 });
  });

  it("false: saves a new session that something was put into, and sets its cookie", async () => {
    const store = new session.MemoryStore();
    const served = await serve({ store }, setUser);
    const answer = await served.get();
    expect(Object.keys(await sessionsIn(store))).toEqual([idIn(answer)]);
  });

  it("gives the application an error of set, and the client its answer", async () => {
    const store = new session.MemoryStore();
    store.set = (_id, _session, callback) => callback?.(new Error("no set"));
    const served = await serve({ store, saveUninitialized: true }, (_request, response) => response.end("answer"));
    const error = served.nextError();
    expect(await served.get()).toMatchObject({ status: 200, body: "answer" });
    expect((await error).message).toBe("no set");
  });
});

everywhere("options.rolling", ({ session, serve }) => {
  it("is false by default: the cookie is set once", async () => {
    const served = await serve({}, setUser);
    const { cookie } = await served.get();
    expect((await served.get("/", cookie)).setCookies).toEqual([]);
  });

  it.each([
    ["is read", setUser],
    ["is not looked at", end],
  ])("true: sets the cookie with every answer, when the session %s", async (_, handler) => {
    const store = new session.MemoryStore();
    const first = await serve({ store, rolling: true, cookie: { maxAge: 60_000 } }, setUser);
    const served = await serve({ store, rolling: true, cookie: { maxAge: 60_000 } }, handler);
    const before = await first.get();
    const after = await served.get("/", before.cookie);
    expect(idIn(after)).toBe(idIn(before));
    expect(after.setCookie?.attributes).toHaveProperty("expires");
  });

  it("true: sets none for a new session that is not saved", async () => {
    const store = watched(new session.MemoryStore());
    const served = await serve({ store, rolling: true }, end);
    expect((await served.get()).setCookies).toEqual([]);
    expect(store.calls.set).toBe(0);
  });

  it("true: sets one for a new session that is saved", async () => {
    const store = watched(new session.MemoryStore());
    const served = await serve({ store, rolling: true, saveUninitialized: true }, end);
    expect((await served.get()).setCookies).toHaveLength(1);
    expect(store.calls.set).toBe(1);
  });
});

everywhere("options.unset", ({ session, serve }) => {
  const unsetAtTwo: Handler = (request, response) => {
    request.session.n = (request.session.n ?? 0) + 1;
    if (request.session.n === 2) request.session = null;
    response.end();
  };
  const left = async (options: Untyped, handler: Handler) => {
    const store = new session.MemoryStore();
    const served = await serve({ store, ...options }, handler);
    const { cookie } = await served.get();
    expect(Object.values(await sessionsIn(store))).toMatchObject([{ n: 1 }]);
    expect((await served.get("/", cookie)).setCookies).toEqual([]);
    return Object.values(await sessionsIn(store));
  };

  it.each([undefined, "keep"])("%s: keeps the session in the store, and forgets what changed", async (unset) => {
    expect(await left({ unset }, unsetAtTwo)).toMatchObject([{ n: 1 }]);
  });

  it("destroy: removes it when req.session is null", async () => {
    expect(await left({ unset: "destroy" }, unsetAtTwo)).toEqual([]);
  });

  it.each(["/null", "/delete"])("destroy: removes it when nobody has looked at it before (%s)", async (path) => {
    const store = new session.MemoryStore();
    const served = await serve({ store, unset: "destroy" }, (request, response) => {
      if (request.url === "/null") request.session = null;
      else if (request.url === "/delete") delete request.session;
      else request.session.n = 1;
      response.end();
    });
    const { cookie } = await served.get();
    expect((await served.get(path, cookie)).setCookies).toEqual([]);
    expect(await sessionsIn(store)).toEqual({});
  });

  it("destroy: removes it when req.session is deleted", async () => {
    const handler: Handler = (request, response) => {
      request.session.n = (request.session.n ?? 0) + 1;
      if (request.session.n === 2) delete request.session;
      response.end();
    };
    expect(await left({ unset: "destroy" }, handler)).toEqual([]);
  });

  it.each([false, 0, ""])("destroy: req.session = %j is no session, and removes none", async (value) => {
    const store = new session.MemoryStore();
    const served = await serve({ store, unset: "destroy" }, (request, response) => {
      request.session.n = 1;
      if (request.url === "/falsy") request.session = value;
      response.end("answer");
    });
    const { cookie } = await served.get();
    expect(await served.get("/falsy", cookie)).toMatchObject({ status: 200, body: "answer", setCookies: [] });
    expect(Object.values(await sessionsIn(store))).toMatchObject([{ n: 1 }]);
    expect(await served.get("/falsy")).toMatchObject({ status: 200, body: "answer", setCookies: [] });
  });

  it.each(["destroy", "keep"])("%s: sets no cookie for a new session that is unset", async (unset) => {
    const store = new session.MemoryStore();
    const served = await serve({ store, unset, saveUninitialized: true }, (request, response) => {
      request.session = null;
      response.end();
    });
    expect((await served.get()).setCookies).toEqual([]);
    expect(await sessionsIn(store)).toEqual({});
  });

  it("destroy: gives the application an error of the store, and the client its answer", async () => {
    const store = new session.MemoryStore();
    store.destroy = (_id, callback) => callback?.(new Error("no destroy"));
    const served = await serve({ store, unset: "destroy" }, (request, response) => {
      void request.session;
      request.session = null;
      response.end("answer");
    });
    const error = served.nextError();
    expect(await served.get()).toMatchObject({ status: 200, body: "answer" });
    expect((await error).message).toBe("no destroy");
  });
});

everywhere("options.proxy", ({ kind, serve }) => {
  const secure = { secure: true };
  const claims: Handler = (request, _response, next) => {
    const claim = request.headers["x-secure"];
    if (claim !== undefined) Object.defineProperty(request, "secure", { value: claim === "true", configurable: true });
    next();
  };
  const isSet = async (options: Untyped, headers: Record<string, string>) => {
    const served = await serve({ cookie: secure, ...options }, { before: claims, handler: setUser });
    return (await served.send("/", { headers })).setCookies.length > 0;
  };

  it("true: goes by X-Forwarded-Proto, of a list by its first", async () => {
    expect(await isSet({ proxy: true }, { "X-Forwarded-Proto": "https" })).toBe(true);
    expect(await isSet({ proxy: true }, { "X-Forwarded-Proto": "HTTPS" })).toBe(true);
    expect(await isSet({ proxy: true }, { "X-Forwarded-Proto": "https, http" })).toBe(true);
    expect(await isSet({ proxy: true }, { "X-Forwarded-Proto": "http, https" })).toBe(false);
    expect(await isSet({ proxy: true }, {})).toBe(false);
  });

  it("false: goes by nothing but the connection", async () => {
    expect(await isSet({ proxy: false }, { "X-Forwarded-Proto": "https" })).toBe(false);
    expect(await isSet({ proxy: false }, { "X-Forwarded-Proto": "https", "X-Secure": "true" })).toBe(false);
  });

  it("undefined: goes by req.secure", async () => {
    expect(await isSet({}, { "X-Forwarded-Proto": "https" })).toBe(false);
    expect(await isSet({}, { "X-Secure": "true" })).toBe(true);
    expect(await isSet({}, { "X-Secure": "false" })).toBe(false);
  });

  describe.runIf(kind !== "node:http")("with Express", () => {
    it("undefined: goes by the setting `trust proxy`", async () => {
      const before: Handler = (request, _response, next) => {
        request.app.set("trust proxy", 1);
        next();
      };
      const served = await serve({ cookie: secure }, { before, handler: setUser });
      const answer = await served.send("/", { headers: { "X-Forwarded-Proto": "https" } });
      expect(answer.setCookie?.attributes).toMatchObject({ secure: true });
    });
  });
});
