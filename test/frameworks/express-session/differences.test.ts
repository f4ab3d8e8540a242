import { request } from "node:http";
import { connect, createServer as createHttp2Server } from "node:http2";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import {
  deferred,
  genuine,
  type Handler,
  idIn,
  kinds,
  lab,
  packages,
  SECRET,
  type Served,
  sessionsIn,
  storedIn,
  type Untyped,
  watched,
} from "./support.ts";

const [, { session }] = packages;

/** Where this library behaves otherwise than express-session 1.19, and why. What the genuine one does is shown too. */
describe("otherwise than express-session", () => {
  describe.each(kinds)("on %s", (kind) => {
    const ours = lab(session, kind);
    const theirs = lab(genuine, kind);

    describe("nothing of a response leaves before the session is saved", () => {
      const slowStore = (of: typeof session) => {
        const store = new of.MemoryStore();
        const asked = deferred();
        const released = deferred();
        const { set } = store;
        store.set = (id: string, data: Untyped, callback?: () => void) => {
          asked.resolve();
          released.promise.then(() => set.call(store, id, data, callback));
        };
        return { store, asked, released };
      };
      const login: Handler = (incoming, response) => {
        if (incoming.url === "/ping") return response.end();
        incoming.session.user = "bob";
        response.statusCode = 302;
        response.setHeader("Location", "/profile");
        response.setHeader("Content-Length", "5");
        response.end("moved");
      };

      it("not the head of a redirect", async () => {
        const { store, asked, released } = slowStore(session);
        const served = await ours.serve({ store }, login);
        const { sent, head } = await asking(served, asked);
        await served.get("/ping");
        expect(sent.socket?.bytesRead).toBe(0);
        released.resolve();
        await head;
      });

      it("the genuine one sends the head and most of the body", async () => {
        const { store, asked, released } = slowStore(genuine);
        const served = await theirs.serve({ store }, login);
        const { sent, head } = await asking(served, asked);
        await head;
        expect(sent.socket?.bytesRead).toBeGreaterThan(0);
        released.resolve();
      });

      it("not the first part of a stream, whose changes are saved with it", async () => {
        const { store, asked, released } = slowStore(session);
        const next = deferred();
        const served = await ours.serve({ store }, (incoming, response) => {
          if (incoming.url === "/ping") return response.end();
          incoming.session.user = "bob";
          response.write("first");
          next.promise.then(() => response.end("last"));
        });
        const { sent, head } = await asking(served, asked);
        await served.get("/ping");
        expect(sent.socket?.bytesRead).toBe(0);
        released.resolve();
        await head;
        expect(Object.values(await sessionsIn(store))).toMatchObject([{ user: "bob" }]);
        next.resolve();
      });
    });

    describe("what changes after the head was written, but before a byte has left, still gets a cookie", () => {
      const late: Record<string, Handler> = {
        "/writeHead": (incoming, response) => {
          response.writeHead(200, { "Content-Type": "text/plain", "Set-Cookie": "a=1" });
          incoming.session.n = 1;
          response.end("done");
        },
        "/write": (incoming, response) => {
          response.write("do");
          incoming.session.n = 1;
          response.end("ne");
        },
        "/flushHeaders": (incoming, response) => {
          response.flushHeaders();
          incoming.session.n = 1;
          response.end("done");
        },
        "/later": (incoming, response) => {
          response.writeHead(200, { "Content-Type": "text/plain" });
          setImmediate(() => {
            incoming.session.n = 1;
            response.end("done");
          });
        },
      };
      const handler: Handler = (incoming, response, next) => late[incoming.url]?.(incoming, response, next);

      it.each(["/writeHead", "/later", "/write", "/flushHeaders"])("%s", async (path) => {
        const answer = await (await ours.serve({}, handler)).get(path);
        expect(answer.body).toBe("done");
        expect(answer.setCookies.at(-1)?.name).toBe("connect.sid");
        const lost = await (await theirs.serve({}, handler)).get(path);
        expect(lost.setCookies.map(({ name }) => name)).not.toContain("connect.sid");
      });

      it("and the headers of writeHead stay", async () => {
        const answer = await (await ours.serve({}, handler)).get("/writeHead");
        expect(answer.headers["content-type"]).toBe("text/plain");
        expect(answer.setCookies.map(({ name }) => name)).toEqual(["a", "connect.sid"]);
      });
    });

    describe("callbacks may be left out for promises", () => {
      it("save, reload, regenerate, destroy", async () => {
        const store = new session.MemoryStore();
        const seen: unknown[] = [];
        const served = await ours.serve({ store }, async (incoming, response) => {
          const { id } = incoming.session;
          incoming.session.n = 1;
          seen.push(await incoming.session.save());
          incoming.session.n = 2;
          seen.push(await incoming.session.reload());
          seen.push(incoming.session.n);
          seen.push(await incoming.session.regenerate());
          seen.push(incoming.session.id === id);
          seen.push(await incoming.session.destroy());
          seen.push(typeof incoming.session);
          response.end();
        });
        await served.get();
        expect(served.errors).toEqual([]);
        expect(seen).toEqual([undefined, undefined, 1, undefined, false, undefined, "undefined"]);
        expect(await sessionsIn(store)).toEqual({});
      });

      it("which are rejected with the error of the store, and do no harm when nobody waits for them", async () => {
        const store = new session.MemoryStore();
        store.set = (_id, _session, callback) => callback?.(new Error("no set"));
        store.destroy = (_id, callback) => callback?.(new Error("no destroy"));
        const unhandled: unknown[] = [];
        const note = (reason: unknown) => void unhandled.push(reason);
        process.on("unhandledRejection", note);
        try {
          const served = await ours.serve({ store }, async (incoming, response) => {
            incoming.session.save();
            const said = [
              await incoming.session.save().catch((error: Error) => error.message),
              await incoming.session.reload().catch((error: Error) => error.message),
              await incoming.session.regenerate().catch((error: Error) => error.message),
              await incoming.session.destroy().catch((error: Error) => error.message),
            ];
            response.end(said.join());
          });
          expect((await served.get()).body).toBe("no set,failed to load session,no destroy,no destroy");
          expect(unhandled).toEqual([]);
        } finally {
          process.off("unhandledRejection", note);
        }
      });
    });

    describe("an error can be answered", () => {
      it.each([
        ["a maxAge that is no number", { cookie: { maxAge: "1000" } }, "maxAge must be a number or Date"],
        ["cookie options that are no object", { cookie: "secure" }, "argument options must be a object"],
      ])("%s (the genuine one never answers)", async (_, options, message) => {
        const served = await ours.serve(options, (incoming, response) => response.end(incoming.sessionID));
        expect(await served.get()).toMatchObject({ status: 500, body: message });
      });

      it("data that is no JSON (the genuine one never answers)", async () => {
        const served = await ours.serve({}, (incoming, response) => {
          incoming.session.big = 1n;
          response.end("answer");
        });
        const answer = await served.get();
        expect(answer.status).toBe(500);
        expect(answer.body).toMatch(/BigInt/);
        expect(answer.setCookies).toEqual([]);
      });

      it("data that is no JSON, in a stream", async () => {
        const served = await ours.serve({}, (incoming, response) => {
          incoming.session.big = 1n;
          response.write("answer");
        });
        expect((await served.get()).status).toBe(500);
      });

      it("a store whose set throws (the genuine one never answers)", async () => {
        const store = new session.MemoryStore();
        store.set = () => {
          throw new Error("no set");
        };
        const served = await ours.serve({ store }, (incoming, response) => {
          incoming.session.n = 1;
          response.end("answer");
        });
        const error = served.nextError();
        expect(await served.get()).toMatchObject({ status: 200, body: "answer" });
        expect((await error).message).toBe("no set");
      });

      it("a header that cannot be sent", async () => {
        const served = await ours.serve({}, (incoming, response) => {
          incoming.session.n = 1;
          response.writeHead(200, { "X-Bad": "a\nb" });
          response.end("answer");
        });
        expect((await served.get()).status).toBe(500);
      });
    });

    describe("less is written into the store", () => {
      const setsOf = async (of: typeof ours, handler: Handler) => {
        const store = watched(new of.session.MemoryStore());
        const served = await of.serve({ store }, handler);
        const { cookie } = await served.get("/set");
        store.calls.set = 0;
        await served.get("/", cookie);
        return store.calls.set;
      };

      it("a regenerated session that was saved is not saved again", async () => {
        const handler: Handler = (incoming, response) => {
          incoming.session.regenerate(() => {
            incoming.session.user = "bob";
            incoming.session.save(() => response.end());
          });
        };
        expect(await setsOf(ours, handler)).toBe(1);
        expect(await setsOf(theirs, handler)).toBe(2);
      });

      it("a session that was reloaded, and is as the store has it, is not saved", async () => {
        const handler: Handler = (incoming, response) => {
          if (incoming.url === "/set") {
            incoming.session.n = 1;
            return response.end();
          }
          const { sessionStore: store, sessionID: id } = incoming;
          store.get(id, (_error: unknown, data: Untyped) => {
            // As another request does.
            Object.getPrototypeOf(store).set.call(store, id, { ...data, n: 2 }, () => {
              incoming.session.reload(() => response.end());
            });
          });
        };
        expect(await setsOf(ours, handler)).toBe(0);
        expect(await setsOf(theirs, handler)).toBe(1);
      });
    });

    describe("options", () => {
      it("cookie as a function may answer `auto`", async () => {
        const options = { proxy: true, cookie: () => ({ secure: "auto", sameSite: "auto" }) };
        const set: Handler = (incoming, response) => {
          incoming.session.n = 1;
          response.end();
        };
        const over = async (protocol: string) =>
          (await (await ours.serve(options, set)).send("/", { headers: { "X-Forwarded-Proto": protocol } })).setCookie
            ?.attributes;
        expect(await over("https")).toEqual({ path: "/", httponly: true, secure: true, samesite: "None" });
        expect(await over("http")).toEqual({ path: "/", httponly: true, samesite: "Lax" });
        const served = await theirs.serve(options, set);
        const error = served.nextError();
        await served.send("/", { headers: { "X-Forwarded-Proto": "https" } });
        expect((await error).message).toBe("option sameSite is invalid");
      });

      it("two middlewares on one store keep their own", async () => {
        const set: Handler = (incoming, response) => {
          incoming.session.n = 1;
          response.end();
        };
        const first = async (of: typeof ours) => {
          const store = new of.session.MemoryStore();
          const served = await of.serve({ store, cookie: { path: "/", maxAge: 1000 } }, set);
          await of.serve({ store, cookie: { path: "/", httpOnly: false } }, set);
          return (await served.get()).setCookie?.attributes;
        };
        expect(await first(ours)).toHaveProperty("expires");
        expect(await first(theirs)).not.toHaveProperty("expires");
      });

      it("a store of another base class gives sessions with promises", async () => {
        const store = new genuine.MemoryStore();
        const served = await ours.serve({ store }, async (incoming, response) => {
          incoming.session.n = (incoming.session.n ?? 0) + 1;
          await incoming.session.save();
          response.end(`${incoming.session instanceof session.Session} ${incoming.session.n}`);
        });
        const { cookie } = await served.get();
        expect((await served.get("/", cookie)).body).toBe("true 2");
      });

      it("a store with createSession of its own is asked for sessions", async () => {
        class Own extends genuine.MemoryStore {
          override createSession(incoming: Untyped, data: Untyped): Untyped {
            return super.createSession(incoming, { ...data, own: true });
          }
        }
        const served = await ours.serve({ store: new Own() }, (incoming, response) => {
          incoming.session.n ??= 1;
          response.end(String(incoming.session.own));
        });
        const { cookie } = await served.get();
        expect((await served.get("/", cookie)).body).toBe("true");
      });
    });

    it("res.end takes a callback", async () => {
      const ended = deferred();
      const served = await ours.serve({}, (incoming, response) => {
        incoming.session.n = 1;
        response.end("done", "utf8", () => ended.resolve());
      });
      expect((await served.get()).body).toBe("done");
      await ended.promise;
    });

    it("keeps a session that was changed when the response had begun, and warns that its cookie is lost", async () => {
      const warned = warning();
      const next = deferred();
      const store = new session.MemoryStore();
      const served = await ours.serve({ store }, (incoming, response) => {
        response.write("first");
        next.promise.then(() => {
          incoming.session.n = 1;
          response.end("last");
        });
      });
      const asked = deferred();
      const { head } = await asking(served, asked, true);
      await head;
      next.resolve();
      expect(await warned).toMatchObject({ code: "COATCHECK_SESSION_TOO_LATE" });
      expect(Object.values(await sessionsIn(store))).toMatchObject([{ n: 1 }]);
    });
  });

  describe("a cookie keeps its time to the millisecond", () => {
    beforeEach(() => {
      vi.useFakeTimers({ toFake: ["Date"] });
    });
    afterEach(() => {
      vi.useRealTimers();
    });

    it("however often it is touched", () => {
      const cookie = new session.Cookie({ maxAge: 1000 });
      for (let i = 0; i < 3; i++) {
        vi.advanceTimersByTime(100);
        cookie.maxAge = cookie.originalMaxAge;
      }
      expect([cookie.maxAge, cookie.originalMaxAge]).toEqual([1000, 1000]);
    });
  });

  it("HTTP/2 works (the genuine one throws)", async () => {
    const store = new session.MemoryStore();
    const middleware = session({ secret: SECRET, resave: false, saveUninitialized: false, store });
    const server = createHttp2Server((incoming, response) => {
      middleware(incoming as Untyped, response as Untyped, () => {
        const { session: own } = incoming as Untyped;
        own.n = (own.n ?? 0) + 1;
        response.setHeader("X-Own", "1");
        response.write("n=");
        response.end(String(own.n));
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const client = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    const get = (cookie = "") =>
      new Promise<{ body: string; line: string | undefined }>((resolve, reject) => {
        const stream = client.request({ ":path": "/", ...(cookie ? { cookie } : {}) });
        let body = "";
        let line: string | undefined;
        stream.setEncoding("utf8");
        stream.once("response", (headers) => {
          line = headers["set-cookie"]?.[0];
        });
        stream.on("data", (chunk) => {
          body += chunk;
        });
        stream.once("end", () => resolve({ body, line }));
        stream.once("error", reject);
        stream.end();
      });
    try {
      const first = await get();
      expect(first).toMatchObject({ body: "n=1", line: expect.stringContaining("connect.sid=") });
      expect(await get(first.line?.split(";")[0])).toEqual({ body: "n=2", line: undefined });
    } finally {
      client.close();
      server.close();
    }
  });

  it("console.log of a session shows its cookie", async () => {
    const { inspect } = await import("node:util");
    const served = await lab(session, "Express 5").serve({}, (incoming, response) => {
      incoming.session.n ??= 1;
      response.end(inspect(incoming.session));
    });
    const { cookie } = await served.get();
    expect((await served.get("/", cookie)).body).toContain("path: '/'");
  });

  it("what the store keeps of a session is the same, to the letter", async () => {
    vi.useFakeTimers({ toFake: ["Date"], now: 0 });
    try {
      const texts = [];
      for (const { session: of } of packages) {
        const store = new of.MemoryStore();
        const served = await lab(of, "Express 5").serve(
          { store, genid: () => "id", proxy: true, cookie: { maxAge: 1000, sameSite: "auto", secure: "auto" } },
          (incoming, response) => {
            incoming.session.user = { name: "bob" };
            incoming.session[7] = true;
            response.end();
          },
        );
        const answer = await served.send("/", { headers: { "X-Forwarded-Proto": "https" } });
        texts.push([(store as Untyped).sessions.id, answer.headers["set-cookie"]]);
        expect(await storedIn(store, idIn(answer))).toMatchObject({ user: { name: "bob" } });
        await served.get("/", answer.cookie);
        texts.at(-1)?.push((store as Untyped).sessions.id);
      }
      expect(texts[1]).toEqual(texts[0]);
    } finally {
      vi.useRealTimers();
    }
  });
});

/** Sends a request, and resolves when the store is asked to save. */
async function asking(served: Served, asked: { promise: Promise<void> }, atOnce = false) {
  const sent = request(served.url, { agent: false });
  const head = new Promise<void>((resolve, reject) => {
    sent.once("response", (response) => {
      response.resume();
      resolve();
    });
    sent.once("error", reject);
  });
  sent.end();
  if (!atOnce) await asked.promise;
  return { sent, head };
}

/** The next warning of the process. */
function warning(): Promise<Error & { code?: string }> {
  return new Promise((resolve) => process.once("warning", resolve));
}
