import { randomBytes } from "node:crypto";
import type { ServerResponse } from "node:http";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createSessions, HeadersSentError, SessionConflictError, type SessionEvent, type Sessions } from "coatcheck";
import { sessionMiddleware, sessionOf } from "coatcheck/express";
import { withSession } from "coatcheck/node";
import express5 from "express";
import express4 from "express4";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type NodeHandler, nodeAdapters } from "./adapters.ts";
import { type Answer, http1, type Listener, type Sending, type Served } from "./servers.ts";
import { deferred, recorded, TestClock, type UnreliableStore, type Visit, watchedStore } from "./support.ts";

const sidOf = (answer: Pick<Answer, "cookies">): string =>
  answer.cookies.find((line) => line.startsWith("sid="))?.split(";")[0] ?? "";

/** What Node's own response may do in an adapter's hands. */
for (const adapter of nodeAdapters)
  describe(adapter.name, () => {
    let store: UnreliableStore;
    let sessions: Sessions<Visit>;
    let events: SessionEvent[];
    let served: Served;

    beforeEach(() => {
      vi.spyOn(console, "error").mockImplementation(() => {});
      // HTTP/2 warns of things that only HTTP/1 knows.
      vi.spyOn(process, "emitWarning").mockImplementation(() => {});
    });
    afterEach(async () => {
      vi.restoreAllMocks();
      store.recover();
      await served.close();
    });

    async function serve(handler: NodeHandler): Promise<void> {
      store = watchedStore();
      sessions = createSessions<Visit>({ store, clock: new TestClock() });
      events = recorded(sessions);
      served = await adapter.serve(sessions, (request, response, session) => {
        if (request.url === "/value") return response.end(JSON.stringify(session.data));
        return handler(request, response, session);
      });
    }
    const get = (cookie = "", sending: Sending = {}) =>
      served.send("/", { ...sending, headers: { cookie, ...sending.headers } }).whole;
    const kept = async (answer: Pick<Answer, "cookies">): Promise<Visit> =>
      JSON.parse((await served.send("/value", { headers: { cookie: sidOf(answer) } }).whole).text);

    describe("writeHead", () => {
      const forms: [name: string, args: unknown[], http1Only?: boolean][] = [
        ["a status", [201]],
        [
          "an object",
          [201, { "X-A": "1", "X-B": ["2", "3"], "Set-Cookie": ["c=1", "d=2"], "Cache-Control": "public" }],
        ],
        ["one cookie", [201, { "set-cookie": "c=1" }]],
        ["a message", [201, "Made"]],
        ["a message and an object", [201, "Made", { "X-A": "1", "SET-COOKIE": "c=1" }]],
        ["nothing and an object", [201, undefined, { "X-A": "1", "Set-Cookie": ["c=1", "d=2"] }]],
        ["a flat list", [201, ["X-A", "1", "Set-Cookie", "c=1", "Set-Cookie", "d=2", "Cache-Control", "public"]], true],
        ["a message and a flat list", [201, "Made", ["X-A", "1", "Set-Cookie", "c=1"]], true],
        ["numbers", [201, { "X-A": 1, "Content-Length": 2 }]],
      ];
      for (const [name, args, http1Only = false] of forms)
        it(`CK-11, TR-01: with ${name} it says what it says without a session, and our cookie too`, async () => {
          if (http1Only && adapter.http2) return;
          const call = (response: ServerResponse) =>
            (response.writeHead as (...given: unknown[]) => ServerResponse)(...args.filter((_, i) => i < 3)).end("ok");
          const head = ({ status, statusText, headers, cookies }: Answer) => {
            const { date: _, connection: __, "keep-alive": ___, ...rest } = headers;
            return { status, statusText, headers: rest, foreign: cookies.filter((line) => !line.startsWith("sid=")) };
          };
          await serve((_request, response) => call(response));
          const plain = head(await get());
          await served.close();

          await serve((_request, response, session) => {
            session.data.n = 1;
            call(response);
          });
          const answer = await get();
          const with_ = head(answer);
          expect(with_.foreign).toEqual(plain.foreign);
          expect(with_.headers).toEqual({ ...plain.headers, "cache-control": "no-store" });
          expect([with_.status, with_.statusText]).toEqual([plain.status, plain.statusText]);
          expect(answer.text).toBe("ok");
          expect(answer.cookies.filter((line) => line.startsWith("sid="))).toHaveLength(1);
          expect(await kept(answer)).toEqual({ n: 1 });
        });

      it("TR-05: a list of pairs works too", async () => {
        if (adapter.http2) return;
        await serve((_request, response, session) => {
          session.data.n = 1;
          const pairs = [
            ["X-A", "1"],
            ["Set-Cookie", "c=1"],
            ["Set-Cookie", "d=2"],
          ];
          response.writeHead(200, pairs as never).end();
        });
        const answer = await get();
        expect(answer.headers["x-a"]).toBe("1");
        expect(answer.cookies).toEqual(["c=1", "d=2", expect.stringContaining("sid=")]);
      });

      it("CK-11: headers that were set before are kept, and those given to writeHead win", async () => {
        await serve((_request, response, session) => {
          session.data.n = 1;
          response.setHeader("X-Set", "1");
          response.setHeader("X-Both", "set");
          response.setHeader("Set-Cookie", ["c=1", "sid=old"]);
          response.writeHead(200, { "X-Both": "given" }).end();
        });
        const answer = await get();
        expect(answer.headers).toMatchObject({ "x-set": "1", "x-both": "given" });
        expect(answer.cookies).toEqual(["c=1", expect.stringMatching(/^sid=[\w.-]{66};/)]);
      });

      it("TR-02: what is given to writeHead counts as the application's own word on caching", async () => {
        let given: Record<string, string> | undefined;
        await serve(async (request, response, session) => {
          if (request.method === "POST") await session.login("ada");
          response.writeHead(200, given).end();
        });
        const cookie = sidOf(await get("", { method: "POST" }));
        expect((await get(cookie)).headers["cache-control"]).toBe("no-store");
        given = { "Cache-Control": "private, max-age=5", Vary: "Accept" };
        const relaxed = await get(cookie);
        expect([relaxed.headers["cache-control"], relaxed.headers.vary]).toEqual([
          "private, max-age=5",
          "Accept, Cookie",
        ]);
      });
    });

    it("TR-05: flushHeaders and the pieces after it wait for the save, and callbacks are called", async () => {
      const called: string[] = [];
      await serve((_request, response, session) => {
        session.data.n = 1;
        response.setHeader("Content-Type", "text/event-stream");
        response.flushHeaders();
        response.write("a", () => called.push("a"));
        response.write(Buffer.from("b"), () => called.push("b"));
        response.write("63", "hex");
        response.end("d", () => called.push("end"));
      });
      const hold = (await serveHeld()).hold;
      const sent = served.send("/");
      let arrived = false;
      sent.head.then(() => {
        arrived = true;
      });
      await hold.reached;
      await served.send("/value").whole;
      expect(arrived).toBe(false);
      hold.release();
      const answer = await sent.whole;
      expect([answer.text, answer.headers["content-type"]]).toEqual(["abcd", "text/event-stream"]);
      await served.over("/");
      expect(called.filter((name) => name !== "end")).toEqual(["a", "b"]);
      expect(called).toContain("end");
      expect(await kept(answer)).toEqual({ n: 1 });
    });
    const serveHeld = async () => ({ hold: store.hold("create") });

    // Node asks for a pause after 16 KB. Where it never does, the drain that a held piece was promised is the gate's.
    for (const how of ["pipe", "pipeline"] as const)
      for (const [size, pieces] of [
        [100, 20],
        [40_000, 100],
      ] as const)
        it(`TR-05: a ${how} of ${pieces} pieces of ${size} bytes through a response that waits arrives whole`, async () => {
          const all = Array.from({ length: pieces }, () => randomBytes(size / 2).toString("hex"));
          await serve(async (_request, response, session) => {
            session.data.n = 1;
            const source = Readable.from(all);
            if (how === "pipe") source.pipe(response);
            else await pipeline(source, response);
          });
          const { hold } = await serveHeld();
          const sent = served.send("/");
          await hold.reached;
          await served.send("/value").whole;
          hold.release();
          const answer = await sent.whole;
          expect(answer.text === all.join("")).toBe(true);
          expect(await kept(answer)).toEqual({ n: 1 });
        });

    it("TR-05: while it waits, a response looks as one that has begun", async () => {
      const seen: unknown[] = [];
      const attempt = (run: () => unknown) => {
        try {
          run();
          return "nothing";
        } catch (error) {
          return (error as { code?: string }).code;
        }
      };
      await serve((_request, response, session) => {
        session.data.n = 1;
        seen.push(response.headersSent, response.writableEnded);
        response.statusCode = 201;
        response.end("first");
        seen.push(response.headersSent, response.writableEnded);
        for (const run of [
          () => response.setHeader("X-Late", "1"),
          () => response.appendHeader("X-Late", "1"),
          () => response.removeHeader("X-Late"),
          () => response.writeHead(500),
        ])
          seen.push(attempt(run));
        // What an error handler does that comes too late.
        response.statusCode = 500;
      });
      const answer = await get();
      expect(seen).toEqual([false, false, true, true, ...Array(4).fill("ERR_HTTP_HEADERS_SENT")]);
      expect([answer.status, answer.text, answer.headers["x-late"]]).toEqual([201, "first", undefined]);
    });

    it("TR-05: what is written after the end, while the response waits, is told to its callback and harms nobody", async () => {
      const told: unknown[] = [];
      const said = (error?: Error | null) => told.push((error as NodeJS.ErrnoException).code);
      await serve(async (_request, response, session) => {
        session.data.n = 1;
        const hold = store.hold("create");
        response.end("x");
        await hold.reached;
        response.write("y", said);
        response.end("z", said);
        response.end();
        hold.release();
      });
      const answer = await get();
      expect(answer.text).toBe("x");
      expect(await kept(answer)).toEqual({ n: 1 });
      expect(told).toEqual(["ERR_STREAM_WRITE_AFTER_END", "ERR_STREAM_WRITE_AFTER_END"]);
    });

    it("TR-05: what the handler changes while the response waits is saved as well, even at the last moment", async () => {
      await serve(async (_request, response, session) => {
        session.data.n = 1;
        response.write("a");
        session.data.text = "during";
        await Promise.resolve();
        session.data.cart = ["later"];
        response.end("b");
        session.data.anything = "after end";
      });
      const answer = await get();
      expect(answer.text).toBe("ab");
      expect(await kept(answer)).toEqual({ n: 1, text: "during", cart: ["later"], anything: "after end" });
    });

    it("TR-05: a header that is not valid is a 500 and not a crash, and the new token still arrives", async () => {
      const bad: [string, (response: ServerResponse) => unknown][] = [
        ["no value", (r) => r.writeHead(200, { "X-Bad": undefined }).end("x")],
        ["a header's name", (r) => r.writeHead(200, { "bad name": "1" }).end("x")],
        ["a status", (r) => r.writeHead(9999).end("x")],
      ];
      // HTTP/2 drops the one without a word, and has sent its head before it looks at the other.
      if (!adapter.http2)
        bad.push(
          ["a header's value", (r) => r.writeHead(200, { "X-Bad": "a\r\nSet-Cookie: evil=1" }).end("x")],
          ["a piece of the body", (r) => r.end(12 as never)],
        );
      for (const [what, answerBadly] of bad)
        for (const login of [false, true]) {
          await serve(async (_request, response, session) => {
            if (login) await session.login("ada");
            else session.data.n = 1;
            answerBadly(response);
          });
          const answer = await get();
          expect([answer.status, answer.text.includes("x\n")], what).toEqual([500, false]);
          expect(answer.cookies, what).toEqual([expect.stringMatching(/^sid=[\w.-]{66};/)]);
          expect(answer.headers["cache-control"]).toBe("no-store");
          expect(await kept(answer)).toEqual(login ? {} : { n: 1 });
          await served.close();
        }
      await serve(() => {});
    });

    it("TR-05: a save that fails takes back what was said of the answer, and leaves what holds for every answer", async () => {
      await serve((_request, response, session) => {
        response.setHeader("Access-Control-Allow-Origin", "https://app.example");
        response.setHeader("Content-Security-Policy", "default-src 'self'");
        response.setHeader("X-Request-Id", "7");
        for (const [name, value] of Object.entries({
          Location: "/thanks",
          ETag: '"1"',
          "Content-Type": "text/html",
          "Content-Encoding": "gzip",
          "Clear-Site-Data": '"cookies"',
          "Cache-Control": "public, max-age=3600",
          "Last-Modified": "Thu, 01 Jan 1970 00:00:00 GMT",
        }))
          response.setHeader(name, value);
        response.statusCode = 302;
        session.data.n = 1;
        response.end("thanks");
      });
      store.failNext("create");
      const answer = await get();
      expect([answer.status, answer.cookies]).toEqual([503, []]);
      expect(answer.headers).toMatchObject({
        "access-control-allow-origin": "https://app.example",
        "content-security-policy": "default-src 'self'",
        "x-request-id": "7",
        "retry-after": "5",
        "cache-control": "no-store",
        "content-type": "application/json; charset=utf-8",
      });
      for (const name of ["location", "etag", "content-encoding", "clear-site-data", "last-modified"])
        expect(answer.headers[name], name).toBeUndefined();
      expect(JSON.parse(answer.text)).toEqual({ error: expect.any(String) });
    });

    it("TR-05: a handler that goes on writing after its save has failed harms nobody, and is told", async () => {
      const told: unknown[] = [];
      const said = (error?: Error | null) => told.push((error as NodeJS.ErrnoException | undefined)?.code);
      const errors: unknown[] = [];
      await serve((_request, response, session) => {
        session.data.n = 1;
        response.on("error", (error) => errors.push(error));
        response.write("a");
        // The answer to the failure has just been ended: the response is neither closed nor destroyed yet.
        response.once("end called" as never, () => {
          response.write("b", said);
          response.end("c", said);
          response.end("d");
        });
        const { end } = response;
        response.end = function (this: ServerResponse, ...args: unknown[]) {
          const result = Reflect.apply(end, this, args);
          this.emit("end called");
          return result;
        } as never;
      });
      store.failNext("create");
      const answer = await get();
      expect([answer.status, JSON.parse(answer.text)]).toEqual([503, { error: expect.any(String) }]);
      await served.over("/");
      expect(errors).toEqual([]);
      expect(told).toEqual(["ERR_STREAM_WRITE_AFTER_END", "ERR_STREAM_WRITE_AFTER_END"]);
    });

    it("TR-05: when the last save fails, the client sees that its answer is not complete", async () => {
      for (const failure of ["store", "conflict", "cookie"] as const) {
        await serve(async (request, response, session) => {
          if (request.method === "POST") {
            session.data.n = 1;
            return response.end();
          }
          response.write("half");
          session.data.text = "mine";
          if (failure === "conflict") {
            const record = await store.read(session.id);
            await store.update(session.id, record?.version ?? 0, { set: new Map([["text", '"theirs"']]) });
          }
          return response.end("whole");
        });
        const cookie = failure === "cookie" ? "" : sidOf(await get("", { method: "POST" }));
        if (failure === "store") store.failNext("update");
        await expect(get(cookie), failure).rejects.toThrow();
        if (failure === "cookie") expect(console.error).toHaveBeenCalledWith(expect.any(HeadersSentError));
        if (failure === "store") expect(events.at(-1)?.type).toBe("storeUnavailable");
        await served.close();
      }
      await serve(() => {});
    });

    it("TR-05: middleware that wraps the response afterwards still sees its head go out", async () => {
      let heads = 0;
      let ends = 0;
      await serve((_request, response, session) => {
        // As on-headers, compression and their like do.
        const { writeHead, end } = response;
        response.writeHead = function (this: ServerResponse, ...args: unknown[]) {
          heads++;
          this.setHeader("X-Response-Time", "1ms");
          return writeHead.apply(this, args as never);
        } as never;
        response.end = function (this: ServerResponse, ...args: unknown[]) {
          ends++;
          return end.apply(this, args as never);
        } as never;
        if (session.isNew) session.data.n = 1;
        response.setHeader("Content-Type", "text/plain");
        response.end("x");
      });
      for (const cookie of ["", sidOf(await get())]) {
        [heads, ends] = [0, 0];
        const answer = await get(cookie);
        expect([answer.headers["x-response-time"], answer.text, heads, ends]).toEqual(["1ms", "x", 1, 1]);
        expect(answer.cookies).toHaveLength(cookie === "" ? 1 : 0);
      }
    });

    it("TR-05: header methods that middleware has replaced are still replaced after the save", async () => {
      const names: string[] = [];
      await serve((_request, response, session) => {
        const { setHeader } = response;
        response.setHeader = function (this: ServerResponse, ...args: Parameters<typeof setHeader>) {
          names.push(args[0].toLowerCase());
          return setHeader.apply(this, args);
        } as never;
        session.data.n = 1;
        response.end("x");
      });
      expect(sidOf(await get())).not.toBe("");
      expect(names).toEqual(["cache-control", "set-cookie"]);
    });

    it("TR-05: two kinds of sessions on one response are both saved and both sent", async () => {
      await serve(() => {});
      await served.close();
      const others = createSessions<Visit>({ store, clock: new TestClock(), cookie: { name: "admin" } });
      const nested: Listener = withSession(sessions, (request, response, session) =>
        withSession(others, (_request, _response, admin) => {
          if (request.method === "POST") {
            session.data.text = "shop";
            admin.data.text = "admin";
          }
          response.setHeader("Set-Cookie", "c=1");
          response.write("a");
          response.end(`${session.data.text} ${admin.data.text}`);
        })(request, response),
      );
      served = await http1(nested);
      const answer = await served.send("/", { method: "POST" }).whole;
      expect(answer.cookies.map((line) => line.split("=")[0]).sort()).toEqual(["admin", "c", "sid"]);
      const cookie = answer.cookies.map((line) => line.split(";")[0]).join("; ");
      expect((await get(cookie)).text).toBe("ashop admin");

      // One of the two cannot be saved: nobody is told that all is well.
      store.failNext("create");
      expect(await served.send("/", { method: "POST" }).whole).toMatchObject({ status: 503 });
    });

    it("TR-05: a request that nobody answers costs nothing, and its client may leave", async () => {
      const entered = deferred();
      await serve(() => {
        entered.resolve();
      });
      const sent = served.send("/");
      await entered.promise;
      sent.abort();
      await served.over("/");
      expect(store.calls()).toBe(0);
    });

    it("TR-05: what was changed is saved although the client has left before the answer", async () => {
      const entered = deferred();
      const left = deferred();
      const done = deferred();
      await serve(async (request, response, session) => {
        if (request.method === "GET") return response.end();
        session.data.n = (session.data.n ?? 0) + 1;
        if (session.isNew) return response.end();
        entered.resolve();
        await left.promise;
        response.once("finish", done.resolve).once("error", done.resolve);
        response.end("nobody reads this");
        return done.resolve();
      });
      const first = await get("", { method: "POST" });
      const sent = served.send("/", { method: "POST", headers: { cookie: sidOf(first) } });
      await entered.promise;
      sent.abort();
      await served.send("/value").whole;
      left.resolve();
      await done.promise;
      await served.send("/value").whole;
      expect(await kept(first)).toEqual({ n: 2 });
    });

    it("TR-05: an ordinary answer has no trace of the gate afterwards", async () => {
      let response: ServerResponse | undefined;
      await serve((_request, given, session) => {
        session.data.n = 1;
        response = given;
        given.end("x");
      });
      await get();
      await served.over("/");
      expect([response?.headersSent, response?.writableEnded]).toEqual([true, true]);
      for (const name of ["headersSent", "writableEnded", "setHeader", "appendHeader", "removeHeader"])
        expect(Object.hasOwn(response as object, name), name).toBe(false);
    });
  });

const failing = (): never => {
  throw new Error("onError failed");
};

describe("node:http", () => {
  it("TR-05: what compression middleware in front was told to flush, while the response waited, is not kept back", async () => {
    const store = watchedStore();
    const sessions = createSessions<Visit>({ store, clock: new TestClock() });
    const listener = withSession(sessions, (_request, response, session) => {
      session.data.n = 1;
      response.write("event");
      (response as unknown as { flush(): void }).flush();
    });
    const served = await http1((request, response) => {
      // As the package `compression` does: what is written stays here until it is enough, or flushed.
      const { write } = response;
      const kept: unknown[] = [];
      response.write = ((chunk: unknown) => kept.push(chunk) > 0) as never;
      Object.assign(response, {
        flush: () => kept.splice(0).forEach((chunk) => void Reflect.apply(write, response, [chunk])),
      });
      return listener(request, response);
    });
    const sent = served.send("/");
    const arrived = await Promise.race([sent.head, new Promise((resolve) => setTimeout(resolve, 2000, "nothing"))]);
    sent.abort();
    await served.close();
    expect(arrived).toMatchObject({ status: 200, cookies: [expect.stringMatching(/^sid=/)] });
  });

  it("TR-05: a handler that ends before a slow onError has answered does not make a success of a failed save", async () => {
    const store = watchedStore();
    const sessions = createSessions<Visit>({ store, clock: new TestClock() });
    let asked = () => {};
    const onErrorAsked = new Promise<void>((resolve) => {
      asked = resolve;
    });
    let ended: Promise<void> | undefined;
    const served = await http1(
      withSession(
        sessions,
        (_request, response, session) => {
          session.data.n = 1;
          response.write("a");
          ended = onErrorAsked.then(() => void response.end("b"));
        },
        {
          async onError(_error, _request, response) {
            asked();
            await ended;
            response.writeHead(503).end("down");
          },
        },
      ),
    );
    store.failNext("create");
    const answer = await served.send("/").whole;
    expect([answer.status, answer.cookies]).toEqual([500, []]);
    await served.close();
  });

  it("TR-05: an onError that fails itself is a 500, and nobody waits for an answer", async () => {
    const log = vi.spyOn(console, "error").mockImplementation(() => {});
    for (const onError of [() => failing(), async () => failing()]) {
      const store = watchedStore();
      const sessions = createSessions<Visit>({ store, clock: new TestClock() });
      const served = await http1(
        withSession(
          sessions,
          (_request, response, session) => {
            session.data.n = 1;
            response.end("made");
          },
          { onError },
        ),
      );
      const crossSite = await served.send("/", { method: "POST", headers: { "sec-fetch-site": "cross-site" } }).whole;
      store.failNext("create");
      const down = await served.send("/", { method: "POST" }).whole;
      expect([crossSite.status, down.status]).toEqual([500, 500]);
      await served.close();
    }
    expect(log).toHaveBeenCalledTimes(4);
    vi.restoreAllMocks();
  });
});

describe("Express", () => {
  let served: Served;
  afterEach(async () => {
    vi.restoreAllMocks();
    await served.close();
  });

  for (const [version, create] of [
    ["4", express4 as unknown as typeof express5],
    ["5", express5],
  ] as const) {
    const app = (options: Parameters<typeof sessionMiddleware>[1] = {}) => {
      const store = watchedStore();
      const sessions = createSessions<Visit>({ store, clock: new TestClock() });
      const application = create();
      application.set("env", "test");
      application.use(sessionMiddleware(sessions, options as never));
      return { store, sessions, application };
    };

    it(`TR-05: Express ${version}: json, send, redirect, render helpers and cookies of the application work as ever`, async () => {
      const { sessions, application } = app();
      application.use(create.json());
      application.post("/json", (req, res) => {
        sessionOf(sessions, req).data.cart = req.body.cart;
        res.cookie("theme", "dark").status(201).json({ ok: true });
      });
      application.get("/see", (req, res) => void res.send(sessionOf(sessions, req).data));
      application.post("/go", (req, res) => {
        sessionOf(sessions, req).data.n = 2;
        res.redirect("/see");
      });
      application.get("/twice", (req, res) => {
        sessionOf(sessions, req).data.n = 3;
        res.json({ first: true });
        res.json({ second: true });
      });
      served = await http1(application as unknown as Listener);
      const headers = { "content-type": "application/json" };
      const made = await served.send("/json", { method: "POST", headers, body: '{"cart":["a"]}' }).whole;
      expect([made.status, made.text]).toEqual([201, '{"ok":true}']);
      expect(made.cookies).toEqual(["theme=dark; Path=/", expect.stringContaining("sid=")]);
      const cookie = sidOf(made);
      const gone = await served.send("/go", { method: "POST", headers: { cookie } }).whole;
      expect([gone.status, gone.headers.location]).toEqual([302, "/see"]);
      const seen = await served.send("/see", { headers: { cookie } }).whole;
      expect(JSON.parse(seen.text)).toEqual({ cart: ["a"], n: 2 });
      // The second answer is the application's mistake. It must not become a crash or another session.
      await served.send("/twice", { headers: { cookie } }).whole.catch(() => {});
      expect((await served.send("/see", { headers: { cookie } }).whole).status).toBe(200);
    });

    it(`TR-05: Express ${version}: errors of the session go where onError sends them`, async () => {
      const { store, sessions, application } = app({ onError: (error, _req, _res, next) => next(error) });
      application.post("/", (req, res) => {
        sessionOf(sessions, req).data.n = 1;
        res.status(201).set("Location", "/made").send("made");
      });
      application.use(((error: { code?: string; status?: number }, _req: unknown, res: never, _next: unknown) => {
        (res as { status(n: number): { send(text: string): void } })
          .status(error.status ?? 500)
          .send(`mine: ${error.code}`);
      }) as never);
      served = await http1(application as unknown as Listener);
      store.failNext("create");
      const down = await served.send("/", { method: "POST" }).whole;
      expect(down).toMatchObject({ status: 503, text: "mine: store_unavailable", cookies: [] });
      expect(down.headers.location).toBeUndefined();
      const crossSite = await served.send("/", { method: "POST", headers: { "sec-fetch-site": "cross-site" } }).whole;
      expect(crossSite).toMatchObject({ status: 403, text: "mine: cross_site_request" });
      expect((await served.send("/", { method: "POST" }).whole).status).toBe(201);
    });

    it(`TR-05: Express ${version}: an onError that fails itself is a mistake of the application, and nobody waits for an answer`, async () => {
      for (const onError of [() => failing(), async () => failing()]) {
        const { store, sessions, application } = app({ onError });
        application.post("/", (req, res) => {
          sessionOf(sessions, req).data.n = 1;
          res.send("made");
        });
        application.use(((error: Error, _req: unknown, res: ServerResponse, _next: unknown) => {
          res.statusCode = 500;
          res.end(error.message);
        }) as never);
        served = await http1(application as unknown as Listener);
        const crossSite = await served.send("/", { method: "POST", headers: { "sec-fetch-site": "cross-site" } }).whole;
        store.failNext("create");
        const down = await served.send("/", { method: "POST" }).whole;
        for (const answer of [crossSite, down]) expect([answer.status, answer.text]).toEqual([500, "onError failed"]);
        await served.close();
      }
    });

    it(`TR-05: Express ${version}: the application's mistakes reach its error handlers, where they are logged`, async () => {
      const { sessions, application } = app();
      const logged: unknown[] = [];
      application.post("/", (req, res) => {
        sessionOf(sessions, req).data.anything = 10n;
        res.send("fine");
      });
      application.use(((
        error: unknown,
        _req: unknown,
        res: { status(n: number): { send(t: string): void } },
        _n: unknown,
      ) => {
        logged.push(error);
        res.status(500).send("sorry");
      }) as never);
      served = await http1(application as unknown as Listener);
      expect(await served.send("/", { method: "POST" }).whole).toMatchObject({
        status: 500,
        text: "sorry",
        cookies: [],
      });
      expect(logged).toEqual([expect.any(TypeError)]);
    });

    it(`TR-05: Express ${version}: the first middleware of two counts, and sessionOf without one says what is missing`, async () => {
      const { store, sessions, application } = app({ passive: true });
      application.use(sessionMiddleware(sessions));
      application.get("/", (req, res) => {
        expect(sessionOf(sessions, req)).toBe(req.session);
        res.send("x");
      });
      application.get("/wrong", (req, res) => void res.send(sessionOf(createSessions({ store }), req)));
      served = await http1(application as unknown as Listener);
      expect((await served.send("/").whole).status).toBe(200);
      const wrong = await served.send("/wrong").whole;
      expect([wrong.status, wrong.text.includes("mount sessionMiddleware")]).toEqual([500, true]);
    });

    it(`TR-05: Express ${version}: a conflict is not the application's fault and is answered here`, async () => {
      const { store, sessions, application } = app();
      application.post("/", async (req, res) => {
        const session = sessionOf(sessions, req);
        if (session.isNew) session.data.n = 0;
        else {
          session.data.n = 1;
          await store.update(session.id, 1, { set: new Map([["n", "2"]]) });
        }
        res.send("x");
      });
      const failed = vi.fn();
      application.use(((error: unknown, _req: unknown, _res: unknown, next: (e: unknown) => void) => {
        failed(error);
        next(error);
      }) as never);
      served = await http1(application as unknown as Listener);
      const cookie = sidOf(await served.send("/", { method: "POST" }).whole);
      expect((await served.send("/", { method: "POST", headers: { cookie } }).whole).status).toBe(409);
      expect(failed).not.toHaveBeenCalled();
      expect(new SessionConflictError([]).status).toBe(409);
    });
  }
});
