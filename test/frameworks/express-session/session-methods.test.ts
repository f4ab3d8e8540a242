import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { everywhere, type Handler, idIn, onBoth, sessionsIn, storedIn, type Untyped, watched } from "./support.ts";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date"] });
});
afterEach(() => {
  vi.useRealTimers();
});

everywhere("req.session", ({ session, serve }) => {
  it("has only data and the cookie as enumerable properties", async () => {
    const served = await serve({}, (request, response) => {
      Object.assign(request.session, { a: 1, b: 2 });
      const names = [];
      for (const name in request.session) names.push(name);
      response.end(JSON.stringify([Object.keys(request.session), names]));
    });
    const first = await served.get();
    const expected = JSON.stringify([
      ["cookie", "a", "b"],
      ["cookie", "a", "b"],
    ]);
    expect(first.body).toBe(expected);
    expect((await served.get("/", first.cookie)).body).toBe(expected);
  });

  it("has the id of req.sessionID, which cannot be changed, and the request", async () => {
    const served = await serve({}, (request, response) => {
      request.session.a = 1;
      const { id } = request.session;
      try {
        request.session.id = "other";
      } catch {
        // In strict mode.
      }
      response.end(
        JSON.stringify([id === request.sessionID, request.session.id === id, request.session.req === request]),
      );
    });
    const first = await served.get();
    expect(first.body).toBe("[true,true,true]");
    expect((await served.get("/", first.cookie)).body).toBe("[true,true,true]");
  });

  it("is an instance of Session, and its cookie of Cookie", async () => {
    const served = await serve({}, (request, response) => {
      request.session.a = 1;
      const { session: own } = request;
      response.end(
        JSON.stringify([
          own instanceof session.Session,
          own.cookie instanceof session.Cookie,
          own.constructor.name,
          own.cookie.expires instanceof Date,
        ]),
      );
    });
    expect((await served.get()).body).toBe('[true,true,"Session",false]');
    const timed = await serve({ cookie: { maxAge: 1000 } }, (request, response) => {
      request.session.a = 1;
      response.end(JSON.stringify([request.session.cookie.expires instanceof Date]));
    });
    const first = await timed.get();
    expect(first.body).toBe("[true]");
    expect((await timed.get("/", first.cookie)).body).toBe("[true]");
  });

  it("is stored as JSON, the cookie first", async () => {
    const store = new session.MemoryStore();
    const served = await serve({ store }, (request, response) => {
      Object.assign(request.session, { user: { name: "bob", tags: ["a"] }, at: new Date(0), no: undefined });
      response.end();
    });
    const answer = await served.get();
    const { sessions } = store as unknown as { sessions: Record<string, string> };
    expect(sessions[idIn(answer) as string]).toBe(
      '{"cookie":{"originalMaxAge":null,"expires":null,"httpOnly":true,"path":"/"},"user":{"name":"bob","tags":["a"]},"at":"1970-01-01T00:00:00.000Z"}',
    );
  });

  it("has the store and its id on the request", async () => {
    const store = new session.MemoryStore();
    const served = await serve({ store }, (request, response) => {
      const { generate, createSession } = request.sessionStore;
      response.end(JSON.stringify([request.sessionStore === store, typeof generate, typeof createSession]));
    });
    expect((await served.get()).body).toBe('[true,"function","function"]');
  });

  it("is not saved, and has no cookie, when req.sessionID is replaced by what is no id", async () => {
    const store = new session.MemoryStore();
    const served = await serve({ store, saveUninitialized: true }, (request, response) => {
      request.sessionID = () => {};
      request.session.a = 1;
      response.end();
    });
    expect((await served.get()).setCookies).toEqual([]);
    expect(await sessionsIn(store)).toEqual({});
  });

  it("keeps its own id when req.sessionID is replaced by another, before anybody has looked at it", async () => {
    const store = new session.MemoryStore();
    const served = await serve({ store, saveUninitialized: true }, (request, response) => {
      if (request.url === "/other") {
        request.sessionID = "other";
        request.session.a = 2;
      }
      response.end();
    });
    const { cookie } = await served.get();
    const ids = Object.keys(await sessionsIn(store));
    expect(idIn(await served.get("/other", cookie))).toBe("other");
    expect(Object.keys(await sessionsIn(store))).toEqual(ids);
    expect(Object.values(await sessionsIn(store))).toMatchObject([{ a: 2 }]);
  });

  it("touches no other session when req.sessionID is replaced and nobody has looked at its own", async () => {
    const store = new session.MemoryStore();
    const touched: string[] = [];
    const touch = store.touch?.bind(store);
    store.touch = (id, ...rest) => {
      touched.push(id);
      touch?.(id, ...rest);
    };
    const served = await serve({ store, resave: false, saveUninitialized: true }, (request, response) => {
      if (request.url === "/other") request.sessionID = "other";
      response.end();
    });
    const { cookie } = await served.get();
    await served.get("/other", cookie);
    expect(touched).not.toContain("other");
    await served.get("/", cookie);
    expect(touched).toEqual(Object.keys(await sessionsIn(store)));
  });

  it("that is replaced whole is saved", async () => {
    const store = new session.MemoryStore();
    const served = await serve({ store }, (request, response) => {
      if (request.url === "/replace") {
        const other = new session.Session(request, { cookie: request.session.cookie, b: 2 });
        request.session = other;
      } else request.session.a = 1;
      response.end();
    });
    const first = await served.get();
    await served.get("/replace", first.cookie);
    expect(await storedIn(store, idIn(first))).toMatchObject({ b: 2 });
    expect(await storedIn(store, idIn(first))).not.toHaveProperty("a");
  });
});

everywhere("session.destroy", ({ session, serve }) => {
  it("removes the session from the store and from the request, and sets no cookie", async () => {
    const store = new session.MemoryStore();
    const served = await serve({ store, saveUninitialized: true }, (request, response) => {
      if (request.url === "/") return response.end();
      const returned = request.session.destroy((error: unknown) => {
        response.end(JSON.stringify([error ?? null, typeof request.session]));
      });
      if (!(returned instanceof session.Session)) throw new Error("destroy is chainable");
    });
    const { cookie } = await served.get();
    const answer = await served.get("/logout", cookie);
    expect(answer).toMatchObject({ body: '[null,"undefined"]', setCookies: [] });
    expect(await sessionsIn(store)).toEqual({});
  });

  it("may be called without a callback", async () => {
    const store = new session.MemoryStore();
    const served = await serve({ store }, (request, response) => {
      if (request.url === "/logout") request.session.destroy();
      else request.session.a = 1;
      response.end();
    });
    const { cookie } = await served.get();
    await served.get("/logout", cookie);
    expect(await sessionsIn(store)).toEqual({});
  });

  it("gives its callback an error of the store", async () => {
    const store = new session.MemoryStore();
    store.destroy = (_id, callback) => callback?.(new Error("no destroy"));
    const served = await serve({ store }, (request, response) =>
      request.session.destroy((error: Error) => response.end(error.message)),
    );
    expect((await served.get()).body).toBe("no destroy");
  });
});

everywhere("session.regenerate", ({ session, serve }) => {
  const login: Handler = (request, response) => {
    const { id } = request.session;
    if (request.url !== "/login") {
      request.session.cart = ["lamp"];
      return response.end();
    }
    request.session.regenerate((error: unknown) => {
      response.end(JSON.stringify([error ?? null, request.session.id === id, request.session.cart ?? null]));
    });
  };

  it("removes the old session, and gives an empty one with another id and a cookie", async () => {
    const store = new session.MemoryStore();
    const served = await serve({ store }, login);
    const first = await served.get();
    const second = await served.get("/login", first.cookie);
    expect(second.body).toBe("[null,false,null]");
    expect(Object.keys(await sessionsIn(store))).toEqual([idIn(second)]);
    expect(idIn(second)).not.toBe(idIn(first));
  });

  it("saves what is put into the new one", async () => {
    const store = new session.MemoryStore();
    const served = await serve({ store }, (request, response) => {
      if (request.url === "/user") return response.end(String(request.session.user));
      request.session.regenerate(() => {
        request.session.user = "bob";
        response.end();
      });
    });
    const { cookie } = await served.get();
    expect((await served.get("/user", cookie)).body).toBe("bob");
  });

  it("gives its callback an error of the store, and a new session all the same", async () => {
    const store = new session.MemoryStore();
    store.destroy = (_id, callback) => callback?.(new Error("no destroy"));
    const served = await serve({ store }, (request, response) => {
      const { id } = request.session;
      request.session.regenerate((error: Error) => response.end(`${error.message} ${request.session.id === id}`));
    });
    expect((await served.get()).body).toBe("no destroy false");
  });
});

everywhere("session.reload", ({ session, serve }) => {
  it("makes req.session anew of what the store has now", async () => {
    const store = new session.MemoryStore();
    const served = await serve({ store }, (request, response) => {
      if (request.url === "/set") {
        request.session.a = 1;
        return response.end();
      }
      const before = request.session;
      request.session.a = "forgotten";
      store.get(request.sessionID, (_error, data) => {
        store.set(request.sessionID, { ...data, b: 2 } as Untyped, () => {
          request.session.reload((error: unknown) => {
            const { a, b } = request.session;
            response.end(JSON.stringify([error ?? null, a, b, request.session === before]));
          });
        });
      });
    });
    const { cookie } = await served.get("/set");
    expect((await served.get("/", cookie)).body).toBe("[null,1,2,false]");
  });

  it("does not change how much time is left", async () => {
    const served = await serve({ cookie: { maxAge: 60_000 } }, (request, response) => {
      if (request.url === "/set") {
        request.session.a = 1;
        return response.end();
      }
      request.session.reload(() => response.end(String(request.session.cookie.maxAge)));
    });
    const { cookie } = await served.get("/set");
    vi.advanceTimersByTime(20_000);
    expect((await served.get("/", cookie)).body).toBe("40000");
  });

  it("gives its callback an error when the session is gone, as often as it is called", async () => {
    const store = new session.MemoryStore();
    const served = await serve({ store }, (request, response) => {
      if (request.url === "/set") {
        request.session.a = 1;
        return response.end();
      }
      store.clear(() => {
        let left = 30;
        const again = (error?: Error): unknown => {
          if (error && error.message !== "failed to load session") return response.end(String(error));
          return left-- === 0 ? response.end("gone") : request.session.reload(again);
        };
        again();
      });
    });
    const { cookie } = await served.get("/set");
    expect((await served.get("/", cookie)).body).toBe("gone");
  });

  it("gives its callback an error of the store", async () => {
    const store = new session.MemoryStore();
    const served = await serve({ store }, (request, response) => {
      void request.session;
      store.get = (_id, callback) => callback(new Error("no get"));
      request.session.reload((error: Error) => response.end(error.message));
    });
    expect((await served.get()).body).toBe("no get");
  });
});

everywhere("session.save", ({ session, serve }) => {
  it("writes the session into the store before its callback is called", async () => {
    const store = new session.MemoryStore();
    const served = await serve({ store }, (request, response) => {
      request.session.a = 1;
      request.session.save((error: unknown) => {
        store.get(request.sessionID, (_error, data) =>
          response.end(JSON.stringify([error ?? null, data?.cookie.path])),
        );
      });
    });
    expect((await served.get()).body).toBe('[null,"/"]');
  });

  it.each([
    ["by default", {}],
    ["with resave and saveUninitialized", { resave: true, saveUninitialized: true }],
  ])("makes the save at the end of the response unnecessary %s", async (_, options) => {
    const store = watched(new session.MemoryStore());
    const served = await serve({ store, ...options }, (request, response) => {
      request.session.a = request.url;
      request.session.save(() => response.end());
    });
    const { cookie } = await served.get("/1");
    expect(store.calls.set).toBe(1);
    await served.get("/2", cookie);
    expect(store.calls.set).toBe(2);
  });

  it("does not make it unnecessary when something changes after it", async () => {
    const store = new session.MemoryStore();
    const served = await serve({ store }, (request, response) => {
      request.session.a = 1;
      request.session.save(() => {
        request.session.a = 2;
        response.end();
      });
    });
    expect(await storedIn(store, idIn(await served.get()))).toMatchObject({ a: 2 });
  });

  it("after a reload makes it unnecessary too", async () => {
    const store = watched(new session.MemoryStore());
    const served = await serve({ store, resave: true, saveUninitialized: true }, (request, response) => {
      request.session.reload(() => request.session.save(() => response.end()));
    });
    const { cookie } = await served.get();
    store.calls.set = 0;
    await served.get("/", cookie);
    expect(store.calls.set).toBe(1);
  });

  it("gives its callback an error of the store", async () => {
    const store = new session.MemoryStore();
    store.set = (_id, _session, callback) => callback?.(new Error("no set"));
    const served = await serve({ store }, (request, response) => {
      request.session.save((error: Error) => response.end(error.message));
    });
    expect((await served.get()).body).toBe("no set");
  });

  it("may be called without a callback", async () => {
    const store = new session.MemoryStore();
    const served = await serve({ store }, (request, response) => {
      request.session.a = 1;
      request.session.save();
      response.end();
    });
    expect(await storedIn(store, idIn(await served.get()))).toMatchObject({ a: 1 });
  });
});

everywhere("session.touch", ({ session, serve }) => {
  it("sets the cookie's time back, and is called by itself", async () => {
    const store = new session.MemoryStore();
    const served = await serve({ store, cookie: { maxAge: 60_000 } }, (request, response) => {
      if (request.url === "/set") request.session.a = 1;
      if (request.url === "/touch") {
        const same = request.session.touch() === request.session && request.session.resetMaxAge() === request.session;
        return response.end(`${same} ${request.session.cookie.maxAge}`);
      }
      response.end();
    });
    const first = await served.get("/set");
    vi.advanceTimersByTime(30_000);
    expect((await served.get("/touch", first.cookie)).body).toBe("true 60000");
    vi.advanceTimersByTime(50_000);
    await served.get("/", first.cookie);
    vi.advanceTimersByTime(50_000);
    expect((await served.get("/touch", first.cookie)).body).toBe("true 60000");
  });
});

onBoth("Store", ({ session }) => {
  const request = () => ({ sessionID: "id", sessionStore: undefined }) as Untyped;

  class Plain extends session.Store {
    readonly texts = new Map<string, string>();
    get(sid: string, callback: (error: unknown, found?: Untyped) => void): void {
      const text = this.texts.get(sid);
      callback(null, text === undefined ? null : JSON.parse(text));
    }
    set(sid: string, data: Untyped, callback?: (error?: unknown) => void): void {
      this.texts.set(sid, JSON.stringify(data));
      callback?.();
    }
    destroy(sid: string, callback?: (error?: unknown) => void): void {
      this.texts.delete(sid);
      callback?.();
    }
  }

  it("is an emitter of events", () => {
    let heard = 0;
    const store = new Plain();
    store.on("connect", () => heard++);
    store.emit("connect");
    expect([heard, store instanceof session.Store]).toEqual([1, true]);
  });

  it("createSession makes a session of stored data, dates of the cookie's texts", () => {
    const store = new Plain();
    const asked = request();
    const cookie = {
      originalMaxAge: 1000,
      expires: new Date(Date.now() + 400).toISOString(),
      httpOnly: true,
      path: "/",
    };
    const made = store.createSession(asked, { cookie, a: 1, save: "no" } as Untyped) as Untyped;
    expect(asked.session).toBe(made);
    expect(made).toBeInstanceOf(session.Session);
    expect([made.id, made.a, made.cookie.maxAge, made.cookie.originalMaxAge]).toEqual(["id", 1, 400, 1000]);
    expect(typeof made.save).toBe("function");
  });

  it("load gives a session outside of requests", async () => {
    const store = new Plain();
    store.set("id", { cookie: {}, a: 1 });
    const load = (sid: string) =>
      new Promise<Untyped>((resolve) => store.load(sid, (...told: Untyped[]) => resolve(told)));
    const [error, loaded] = await load("id");
    expect([error, loaded.a, loaded.id]).toEqual([null, 1, "id"]);
    expect((await load("other"))[1]).toBeUndefined();
    loaded.a = 2;
    loaded.save();
    expect(JSON.parse(store.texts.get("id") as string)).toMatchObject({ a: 2 });
    store.get = (_sid, callback) => callback(new Error("no get"));
    expect((await load("id"))[0].message).toBe("no get");
  });

  it("regenerate destroys a request's session and generates another", async () => {
    const store = new Plain();
    session({ secret: "s", resave: false, saveUninitialized: false, store });
    const asked = { sessionID: "id", headers: {}, connection: {}, socket: {} } as Untyped;
    store.set("id", { cookie: {} });
    await new Promise<void>((done) => store.regenerate(asked, () => done()));
    expect(store.texts.size).toBe(0);
    expect(asked.sessionID).not.toBe("id");
    expect(asked.session.id).toBe(asked.sessionID);
  });
});

onBoth("MemoryStore", ({ session: { MemoryStore, Cookie } }) => {
  const call = (store: Untyped, method: string, ...args: unknown[]): Promise<Untyped[]> =>
    new Promise((resolve) => store[method](...args, (...told: unknown[]) => resolve(told)));
  const data = (maxAge: number | null, more = {}) => ({ cookie: new Cookie({ maxAge }), ...more });

  it("keeps what is set, as JSON", async () => {
    const store = new MemoryStore();
    const given = data(null, { list: [1] });
    expect(await call(store, "set", "a", given)).toEqual([]);
    given.cookie.path = "/changed";
    const [error, found] = await call(store, "get", "a");
    expect([error, found.list, found.cookie.path]).toEqual([null, [1], "/"]);
    expect((await call(store, "get", "b"))[1]).toBeUndefined();
  });

  it("answers later, also where nothing has to be waited for", () => {
    const store = new MemoryStore();
    let answered = 0;
    store.set("a", data(null) as Untyped, () => answered++);
    store.get("a", () => answered++);
    store.destroy("a", () => answered++);
    store.clear(() => answered++);
    expect(answered).toBe(0);
  });

  it("has all, length, destroy and clear", async () => {
    const store = new MemoryStore();
    for (const sid of ["a", "b", "c"]) await call(store, "set", sid, data(null, { sid }));
    expect(Object.keys((await call(store, "all"))[1])).toEqual(["a", "b", "c"]);
    expect(await call(store, "destroy", "a")).toEqual([]);
    expect(await call(store, "length")).toEqual([null, 2]);
    expect(await call(store, "clear")).toEqual([]);
    expect(await call(store, "length")).toEqual([null, 0]);
  });

  it("does not give and does not count what has expired", async () => {
    const store = new MemoryStore();
    await call(store, "set", "short", data(1000));
    await call(store, "set", "long", data(5000));
    vi.advanceTimersByTime(1000);
    expect((await call(store, "get", "short"))[1]).toBeUndefined();
    expect(await call(store, "length")).toEqual([null, 1]);
    vi.advanceTimersByTime(4000);
    expect(Object.keys((await call(store, "all"))[1])).toEqual([]);
  });

  it("touch takes over the cookie, and nothing else", async () => {
    const store = new MemoryStore();
    await call(store, "set", "a", data(1000, { n: 1 }));
    expect(await call(store, "touch", "a", data(5000, { n: 2 }))).toEqual([]);
    const [, found] = await call(store, "get", "a");
    expect([found.n, found.cookie.originalMaxAge]).toEqual([1, 5000]);
    await call(store, "touch", "b", data(5000));
    expect((await call(store, "get", "b"))[1]).toBeUndefined();
  });

  it("may do without callbacks", () => {
    const store = new MemoryStore();
    store.set("a", data(null) as Untyped);
    store.touch?.("a", data(null) as Untyped);
    store.destroy("a");
    store.clear();
  });
});

describe("the classes", () => {
  onBoth("on the function", ({ session }) => {
    it("are Store, MemoryStore, Cookie and Session", () => {
      for (const name of ["Store", "MemoryStore", "Cookie", "Session"] as const) {
        expect(typeof session[name]).toBe("function");
        expect(session[name].name).toBe(name);
      }
      expect(session.MemoryStore.prototype).toBeInstanceOf(session.Store);
    });
  });
});
