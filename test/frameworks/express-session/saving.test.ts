import { createServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";
import { describe, expect, it } from "vitest";
import {
  type Answer,
  deferred,
  everywhere,
  type Handler,
  idIn,
  type Served,
  type Serving,
  storedIn,
  type Untyped,
  watched,
} from "./support.ts";

/** Answers that applications give, after `req.session.user` is set. */
const answers: Record<string, Handler> = {
  "a body": (_request, response) => response.end("hello, world"),
  "no body": (_request, response) => response.end(),
  "null for a body": (_request, response) => response.end(null),
  "Content-Length: 0": (_request, response) => {
    response.setHeader("Content-Length", "0");
    response.end();
  },
  "a body and its length": (_request, response) => {
    response.setHeader("Content-Length", "12");
    response.end("hello, world");
  },
  "a buffer and its length": (_request, response) => {
    response.setHeader("Content-Length", "12");
    response.end(Buffer.from("hello, world"));
  },
  "an encoded body": (_request, response) => response.end("aGVsbG8sIHdvcmxk", "base64"),
  "parts and their length": (_request, response) => {
    response.setHeader("Content-Length", "12");
    response.write("hello, ");
    response.end("world");
  },
  "parts without a length": (_request, response) => {
    response.write("hello, ");
    response.write("world");
    response.end();
  },
  "a head and a body": (_request, response) => {
    response.writeHead(201, { "Content-Type": "text/plain" });
    response.end("hello, world");
  },
  "a flushed head and a body": (_request, response) => {
    response.flushHeaders();
    response.end("hello, world");
  },
  "a stream": (_request, response) => Readable.from(["hello, ", "world"]).pipe(response),
  "a redirect": (_request, response) => {
    response.statusCode = 302;
    response.setHeader("Location", "/next");
    response.end("moved");
  },
};
const bodies: Record<string, string> = {
  "a redirect": "moved",
  "no body": "",
  "null for a body": "",
  "Content-Length: 0": "",
};

everywhere("when the response has arrived", ({ session, serve }) => {
  it.each(Object.keys(answers))("the session is saved, once, for %s", async (name) => {
    const store = watched(new session.MemoryStore());
    const order: string[] = [];
    const asked = deferred();
    const released = deferred();
    const set = store.set;
    store.set = function (this: unknown, id: string, data: Untyped, callback?: () => void) {
      asked.resolve();
      released.promise.then(() => {
        order.push("saved");
        set.call(store, id, data, callback);
      });
    };
    const served = await serve({ store }, {
      before: (incoming, response, next) => (incoming.url === "/ping" ? response.end() : next()),
      handler: (incoming, response, next) => {
        incoming.session.user = "bob";
        answers[name]?.(incoming, response, next);
      },
    } satisfies Serving);
    const answering = served.get().then((answer) => {
      order.push("arrived");
      return answer;
    });
    await asked.promise;
    await served.get("/ping");
    released.resolve();
    const answer = await answering;
    expect(order).toEqual(["saved", "arrived"]);
    expect(answer.body).toBe(bodies[name] ?? "hello, world");
    expect(store.calls.set).toBe(1);
    expect(await storedIn(store, idIn(answer))).toMatchObject({ user: "bob" });
    expect(served.errors).toEqual([]);
  });

  it("what a later part of the response changes is saved too", async () => {
    const store = new session.MemoryStore();
    const next = deferred();
    const served = await serve({ store }, (incoming, response) => {
      incoming.session.n = 1;
      response.write("first");
      next.promise.then(() => {
        incoming.session.n = 2;
        response.end("last");
      });
    });
    const { answer } = await begun(served);
    next.resolve();
    expect(await storedIn(store, idIn(await answer))).toMatchObject({ n: 2 });
  });

  it("a session is touched once, when it did not change", async () => {
    const store = watched(new session.MemoryStore());
    const served = await serve({ store }, (incoming, response) => {
      if (incoming.url === "/set") incoming.session.n = 1;
      response.write("a");
      response.end("b");
    });
    const { cookie } = await served.get("/set");
    await served.get("/", cookie);
    expect(store.calls).toMatchObject({ set: 1, touch: 1 });
  });

  it("an answer to HEAD has the cookie and no body", async () => {
    const served = await serve({}, (incoming, response) => {
      incoming.session.n = 1;
      response.setHeader("Content-Length", "5");
      response.end("hello");
    });
    const answer = await served.send("/", { method: "HEAD" });
    expect(answer).toMatchObject({ body: "", headers: { "content-length": "5" }, setCookie: { name: "connect.sid" } });
  });

  it("a body of many parts is whole", async () => {
    const part = "x".repeat(50_000);
    const served = await serve({}, (incoming, response) => {
      incoming.session.n = 1;
      Readable.from(Array.from({ length: 40 }, () => part)).pipe(response);
    });
    expect((await served.get()).body.length).toBe(40 * part.length);
  });
});

everywhere("res.end", ({ session, serve }) => {
  it("a second time does nothing, with or without a body", async () => {
    const served = await serve({ saveUninitialized: true }, (_incoming, response) => {
      response.setHeader("Content-Type", "text/plain");
      response.end("once");
      response.end();
      response.end("twice");
    });
    const answer = await served.get();
    expect(answer).toMatchObject({ body: "once", headers: { "content-type": "text/plain" } });
    await served.get("/", answer.cookie);
    expect(served.errors).toEqual([]);
  });

  it("has begun the response, so that a header comes too late as without a session", async () => {
    const late = (response: ServerResponse): string => {
      response.end();
      try {
        response.setHeader("X-Late", "1");
        return "set";
      } catch (error) {
        return `${(error as { code?: string }).code} ${(error as Error).message}`;
      }
    };
    const plain: string[] = [];
    const server = createServer((_incoming, response) => void plain.push(late(response)));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    server.closeAllConnections();
    server.close();

    const withSession: unknown[] = [];
    const served = await serve({ saveUninitialized: true }, (_incoming, response) => {
      withSession.push(late(response), response.headersSent);
    });
    await served.get();
    expect(withSession).toEqual([plain[0], true]);
  });

  it.each(["before", "after"])("and res.write may be wrapped %s the session", async (when) => {
    const seen: string[] = [];
    const wrap = (response: Untyped) => {
      const { end, write } = response;
      response.end = function (...args: unknown[]) {
        seen.push("end");
        return end.apply(this, args);
      };
      response.write = function (...args: unknown[]) {
        seen.push("write");
        return write.apply(this, args);
      };
    };
    const served = await serve({}, {
      before: (_incoming, response, next) => {
        if (when === "before") wrap(response);
        next();
      },
      handler: (incoming, response) => {
        if (when === "after") wrap(response);
        incoming.session.n = 1;
        response.write("hello, ");
        response.end("world");
      },
    } satisfies Serving);
    const answer = await served.get();
    expect(answer.body).toBe("hello, world");
    expect(answer.setCookies).toHaveLength(1);
    expect(seen).toContain("write");
    expect(seen).toContain("end");
  });

  it("has begun the response, so that a second head comes too late", async () => {
    const served = await serve({ saveUninitialized: true }, (_incoming, response) => {
      response.writeHead(200);
      try {
        response.writeHead(201);
      } catch (error) {
        response.end((error as { code?: string }).code);
      }
    });
    expect(await served.get()).toMatchObject({ status: 200, body: "ERR_HTTP_HEADERS_SENT" });
  });

  it("waits for a store that answers at once, as well", async () => {
    class SyncStore extends session.Store {
      readonly texts: Record<string, string> = {};
      get(sid: string, callback: (error: unknown, found?: Untyped) => void): void {
        callback(null, this.texts[sid] && JSON.parse(this.texts[sid]));
      }
      set(sid: string, data: Untyped, callback?: (error?: unknown) => void): void {
        this.texts[sid] = JSON.stringify(data);
        callback?.();
      }
      destroy(sid: string, callback?: (error?: unknown) => void): void {
        delete this.texts[sid];
        callback?.();
      }
    }
    const store = new SyncStore();
    const served = await serve({ store, unset: "destroy" }, (incoming, response) => {
      incoming.session.n = (incoming.session.n ?? 0) + 1;
      const { n } = incoming.session;
      if (n === 2) {
        incoming.session = null;
        response.write("gone ");
      }
      response.end(`n=${n}`);
    });
    const { cookie, body } = await served.get();
    expect(body).toBe("n=1");
    expect((await served.get("/", cookie)).body).toBe("gone n=2");
    expect(store.texts).toEqual({});
  });

  it("works when the client has gone away", async () => {
    const store = new session.MemoryStore();
    const saved = deferred<Untyped>();
    const set = store.set;
    store.set = function (this: unknown, id: string, data: Untyped, callback?: () => void) {
      saved.resolve(data.n);
      set.call(store, id, data, callback);
    };
    const served = await serve({ store }, (incoming, response) => {
      incoming.session.n = 1;
      response.once("close", () => response.end("too late"));
    });
    const asked = request(served.url).once("error", () => {});
    asked.end();
    served.server.once("request", () => asked.destroy());
    expect(await saved.promise).toBe(1);
  });
});

describe("a server that is closed while a response waits", () => {
  everywhere("for the store", ({ session, serve }) => {
    it("is not kept from it", async () => {
      const store = new session.MemoryStore();
      const asked = deferred();
      store.set = () => asked.resolve();
      const served = await serve({ store }, (incoming, response) => {
        incoming.session.n = 1;
        response.end("never");
      });
      const sent = request(served.url).once("error", () => {});
      sent.end();
      await asked.promise;
      served.server.closeAllConnections();
    });
  });
});

/** Sends a request, and resolves when its answer has begun. */
function begun(served: Served): Promise<{ readonly answer: Promise<Answer> }> {
  return new Promise((resolve, reject) => {
    request(served.url, { agent: false }, (response: IncomingMessage) => {
      const answer = new Promise<Answer>((done, failed) => {
        response.on("data", () => {});
        response.once("error", failed);
        response.once("end", () => {
          const [line = ""] = response.headers["set-cookie"] ?? [];
          const [pair = ""] = line.split(";");
          const value = pair.slice(pair.indexOf("=") + 1);
          done({ setCookie: { name: "connect.sid", value, attributes: {} } } as unknown as Answer);
        });
      });
      resolve({ answer });
    })
      .once("error", reject)
      .end();
  });
}
