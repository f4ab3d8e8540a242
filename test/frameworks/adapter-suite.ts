import { createHash } from "node:crypto";
import {
  createSessions,
  HeadersSentError,
  hours,
  minutes,
  type SessionEvent,
  type Sessions,
  seconds,
  type UpgradeSource,
} from "coatcheck";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Adapter, Incoming, OnError, Route } from "./adapters.ts";
import type { Answer, Sending, Served } from "./servers.ts";
import {
  type Deferred,
  deferred,
  recorded,
  TestClock,
  type UnreliableStore,
  type Visit,
  watchedStore,
} from "./support.ts";

type Options = Partial<Parameters<typeof createSessions<Visit>>[0]>;

const failing = (): never => {
  throw new Error("onError failed");
};

/** What every adapter has to do in the same way. */
export function adapterSuite(adapter: Adapter): void {
  describe(adapter.name, () => {
    let clock: TestClock;
    let store: UnreliableStore;
    let sessions: Sessions<Visit>;
    let served: Served;
    let events: SessionEvent[];

    beforeEach(() => {
      // Faults of the application are written there.
      vi.spyOn(console, "error").mockImplementation(() => {});
    });
    afterEach(async () => {
      vi.restoreAllMocks();
      store?.recover();
      await served?.close();
    });

    async function start(routes: readonly Route[], options: Options = {}, onError?: OnError): Promise<void> {
      clock = new TestClock();
      store = watchedStore();
      sessions = createSessions<Visit>({ store, clock, ...options });
      events = recorded(sessions);
      served = await adapter.start(sessions, [...standard, ...routes], onError);
    }

    const standard: readonly Route[] = [
      { path: "/nothing", handle: () => ({ body: "hello" }) },
      { path: "/read", handle: ({ session }) => ({ body: JSON.stringify({ ...session.data, user: session.userId }) }) },
      {
        path: "/add",
        handle: ({ session }) => {
          session.data.n = (session.data.n ?? 0) + 1;
          return { body: String(session.data.n) };
        },
      },
      {
        path: "/login",
        async handle({ session }) {
          await session.login("ada");
          return { status: 303, headers: [["Location", "/read"]] };
        },
      },
      {
        path: "/logout",
        async handle({ session }) {
          await session.logout();
          return { body: "bye" };
        },
      },
    ];

    const send = (path: string, cookie?: string, { headers, ...sending }: Sending = {}) =>
      served.send(path, { ...sending, headers: { ...headers, ...(cookie !== undefined && { cookie }) } });
    const get = (path: string, cookie?: string, sending?: Sending) => send(path, cookie, sending).whole;
    const post = (path: string, cookie?: string, sending: Sending = {}) =>
      get(path, cookie, { method: "POST", ...sending });

    const own = (answer: Pick<Answer, "cookies">) =>
      answer.cookies.filter((line) => line.startsWith(`${adapter.cookieName}=`));
    const cookieOf = (answer: Pick<Answer, "cookies">): string => {
      expect(own(answer)).toHaveLength(1);
      return own(answer)[0]?.split(";")[0] ?? "";
    };
    const deletion = expect.stringMatching(new RegExp(`^${adapter.cookieName}=; Max-Age=0; Expires=Thu, 01 Jan 1970 `));
    const kept = async (cookie: string): Promise<Visit & { user?: string }> =>
      JSON.parse((await get("/read", cookie)).text);

    /** Nothing has arrived of a response although the server has had time for others. */
    async function stillWaiting(promise: Promise<unknown>): Promise<void> {
      let settled = false;
      promise.then(
        () => {
          settled = true;
        },
        () => {
          settled = true;
        },
      );
      for (let i = 0; i < 3; i++) expect((await get("/nothing")).status).toBe(200);
      expect(settled).toBe(false);
    }

    it("CK-16, TR-05: a visitor who changes nothing gets no cookie and costs no store call", async () => {
      await start([]);
      for (const answer of [
        await get("/nothing"),
        await post("/nothing"),
        await get("/read"),
        await get("/nothing?sid=x"),
      ]) {
        expect(answer.status).toBe(200);
        expect(answer.cookies).toEqual([]);
        expect(answer.headers["cache-control"]).toBeUndefined();
      }
      const parallel = await Promise.all(Array.from({ length: 100 }, () => get("/read")));
      expect(parallel.flatMap(({ cookies }) => cookies)).toEqual([]);
      expect(store.calls()).toBe(0);
      expect(events).toEqual([]);
    });

    it("TR-05: a write sets one cookie, and the next request finds it", async () => {
      await start([]);
      const answer = await post("/add");
      const cookie = cookieOf(answer);
      const secure = adapter.cookieName === "sid" ? "" : "Secure; ";
      expect(answer.cookies).toEqual([`${cookie}; Path=/; ${secure}HttpOnly; SameSite=Lax`]);
      expect(await kept(cookie)).toEqual({ n: 1 });
      expect((await post("/add", cookie)).text).toBe("2");
      expect(await kept(cookie)).toEqual({ n: 2 });
    });

    it("CK-16: reading is one store read, no write and no Set-Cookie", async () => {
      await start([]);
      const cookie = cookieOf(await post("/add"));
      const before = store.calls();
      const answer = await get("/read", cookie);
      expect([answer.text, answer.cookies]).toEqual(['{"n":1}', []]);
      expect(store.calls() - before).toBe(1);
      expect(store.calls("read")).toBe(1);
      expect((await post("/nothing", cookie)).cookies).toEqual([]);
      expect(store.calls() - before).toBe(2);
    });

    it("TR-05: a redirect is saved before its first byte leaves", async () => {
      await start([
        {
          path: "/order",
          handle({ session }) {
            session.data.text = "ordered";
            return { status: 303, headers: [["Location", "/read"]] };
          },
        },
      ]);
      for (const [path, expected] of [
        ["/login", { user: "ada" }],
        ["/order", { text: "ordered" }],
      ] as const) {
        const hold = store.hold("create");
        const redirect = send(path, undefined, { method: "POST" });
        await hold.reached;
        await stillWaiting(redirect.head);
        hold.release();
        const head = await redirect.head;
        expect([head.status, head.headers.location]).toEqual([303, "/read"]);
        // Follows while the first response is still arriving.
        expect(await kept(cookieOf(head))).toEqual(expected);
        await redirect.whole;
      }
    });

    it("TR-05: a change of an existing session is saved before the first byte leaves, streamed or not", async () => {
      async function* pieces() {
        yield "a";
        yield "b";
      }
      await start([
        {
          path: "/stream",
          handle({ session }) {
            session.data.text = "streamed";
            return { body: pieces() };
          },
        },
      ]);
      const cookie = cookieOf(await post("/add"));
      for (const [path, expected] of [
        ["/add", { n: 2 }],
        ["/stream", { n: 2, text: "streamed" }],
      ] as const) {
        const hold = store.hold("update");
        const sent = send(path, cookie, { method: "POST" });
        await hold.reached;
        await stillWaiting(sent.head);
        hold.release();
        await sent.head;
        expect(await kept(cookie)).toEqual(expected);
        expect((await sent.whole).text).toBe(path === "/add" ? "2" : "ab");
      }
    });

    it("TR-05: a long streamed body that waits for the save arrives whole and in order", async () => {
      const piece = (i: number) => `${i}:${"x".repeat(65_530)}\n`;
      async function* pieces() {
        for (let i = 0; i < 48; i++) yield piece(i);
      }
      await start([
        {
          path: "/long",
          handle({ session }) {
            session.data.n = 1;
            return { body: pieces(), headers: [["Content-Type", "text/plain"]] };
          },
        },
      ]);
      const sha = (text: string) => createHash("sha256").update(text).digest("hex");
      const answer = await get("/long");
      expect(answer.headers["content-type"]).toBe("text/plain");
      expect(sha(answer.text)).toBe(sha(Array.from({ length: 48 }, (_, i) => piece(i)).join("")));
      expect(await kept(cookieOf(answer))).toEqual({ n: 1 });
    });

    it("TR-05: what changes after the first byte is saved before the last one", async () => {
      await start([
        {
          path: "/late",
          handle({ session }) {
            async function* pieces() {
              yield "a";
              session.data.text = "late";
              // Nobody tells a Fetch adapter when the body ends.
              if (!adapter.savesLateChanges) await session.commit();
              yield "b";
            }
            return { body: pieces() };
          },
        },
      ]);
      const cookie = cookieOf(await post("/add"));
      const hold = store.hold("update");
      const sent = send("/late", cookie);
      expect((await sent.head).status).toBe(200);
      await hold.reached;
      await stillWaiting(sent.whole);
      hold.release();
      expect(await sent.whole).toMatchObject({ text: "ab", cookies: [] });
      expect(await kept(cookie)).toEqual({ n: 1, text: "late" });
    });

    it("RN-09: a login after the first byte fails loudly and changes nothing", async () => {
      let caught: unknown;
      await start([
        {
          path: "/late",
          handle({ session }) {
            async function* pieces() {
              yield "a";
              await session.login("eve").catch((error: unknown) => {
                caught = error;
              });
              yield "b";
            }
            return { body: pieces() };
          },
        },
      ]);
      const cookie = cookieOf(await post("/add"));
      for (const sent of [cookie, undefined]) {
        caught = undefined;
        const before = [store.calls("create"), store.calls("update")];
        expect(await get("/late", sent)).toMatchObject({ text: "ab", cookies: [] });
        expect(caught).toBeInstanceOf(HeadersSentError);
        expect([store.calls("create"), store.calls("update")]).toEqual(before);
      }
      expect(await kept(cookie)).toEqual({ n: 1 });
    });

    it("RN-09: a new session that needs a cookie after the first byte breaks the response off, as nothing else would show it", async () => {
      if (!adapter.savesLateChanges) return;
      await start([
        {
          path: "/late",
          handle({ session }) {
            async function* pieces() {
              yield "a";
              session.data.n = 1;
              yield "b";
            }
            return { body: pieces() };
          },
        },
      ]);
      await expect(get("/late")).rejects.toThrow();
      expect(store.calls("create")).toBe(0);
      expect(console.error).toHaveBeenCalledWith(expect.any(HeadersSentError));
    });

    it("CK-11: one line of ours after create, rotate and destroy; the cookies of others stay as they are", async () => {
      const foreign = [
        "a=1; Path=/",
        "b=2; Expires=Thu, 01 Jan 2032 00:00:00 GMT; Path=/",
        `${adapter.cookieName}2=similar`,
        `x${adapter.cookieName}=similar`,
      ];
      const headers = [...foreign, `${adapter.cookieName}=stale; Path=/`].map((line) => ["Set-Cookie", line] as const);
      await start([
        {
          path: "/all",
          async handle({ session }) {
            session.data.n = 1;
            await session.commit();
            await session.login("ada");
            await session.renew();
            await session.destroy();
            return { headers };
          },
        },
        {
          path: "/rotate",
          async handle({ session }) {
            await session.login("ada");
            await session.elevate();
            await session.renew();
            return { headers };
          },
        },
        {
          path: "/again",
          async handle({ session }) {
            await session.logout();
            session.data.n = 7;
            return { headers };
          },
        },
        { path: "/foreign", handle: () => ({ headers: headers.slice(0, 2) }) },
      ]);
      const gone = await post("/all");
      expect([...gone.cookies].sort()).toEqual([...foreign, own(gone)[0]].sort());
      expect(own(gone)).toEqual([deletion]);

      const rotated = await post("/rotate");
      expect(rotated.cookies).toHaveLength(foreign.length + 1);
      const cookie = cookieOf(rotated);
      expect(await kept(cookie)).toEqual({ user: "ada" });

      // Ended and begun anew: the client gets the new token, not the deletion.
      const again = await post("/again", cookie);
      expect(await kept(cookieOf(again))).toEqual({ n: 7 });
      expect((await get("/foreign", cookieOf(again))).cookies).toEqual(foreign.slice(0, 2));
    });

    it("TR-05: answers without a body are saved and carry the cookie too", async () => {
      for (const status of [204, 304, 200]) {
        const path = `/empty${status}`;
        await start([
          {
            path,
            handle({ session }) {
              session.data.n = status;
              return { status };
            },
          },
        ]);
        const answer = await get(path);
        expect([answer.status, answer.text]).toEqual([status, ""]);
        expect(await kept(cookieOf(answer))).toEqual({ n: status });
        const head = await get(path, undefined, { method: "HEAD" });
        expect([head.status, head.text]).toEqual([status, ""]);
        expect(await kept(cookieOf(head))).toEqual({ n: status });
        await served.close();
      }
    });

    it("TR-05: a handler that fails is a 500 that says nothing, and the server goes on", async () => {
      await start([
        {
          path: "/fail",
          handle({ session }) {
            session.data.n = 99;
            throw new Error("secret detail");
          },
        },
        {
          path: "/login-and-fail",
          async handle({ session }) {
            await session.login("ada");
            throw new Error("secret detail");
          },
        },
      ]);
      const cookie = cookieOf(await post("/add"));
      const failed = await post("/fail", cookie);
      expect(failed.status).toBe(500);
      // The error handlers of Express and Fastify show the message unless the application has one of its own.
      if (!/^(?:Express|Fastify)/.test(adapter.name)) expect(failed.text).not.toContain("secret");
      expect(await kept(cookie)).toEqual({ n: adapter.dropsChangesOfFailures ? 1 : 99 });
      // The old token is dead, so the client must learn the new one even now.
      const rotated = await post("/login-and-fail", cookie);
      expect(rotated.status).toBe(500);
      expect((await kept(cookieOf(rotated))).user).toBe("ada");
      expect((await kept(cookie)).user).toBeUndefined();
    });

    it("TR-05: data that cannot be written is a 500, not a crash, and nothing of it is saved", async () => {
      const circular: Record<string, unknown> = {};
      circular.self = circular;
      const values: unknown[] = [10n, circular, () => {}, { toJSON: () => undefined }];
      let next = 0;
      await start([
        {
          path: "/unwritable",
          handle({ session }) {
            session.data.anything = values[next++];
            return { headers: [["Set-Cookie", "a=1"]], body: "fine" };
          },
        },
      ]);
      const cookie = cookieOf(await post("/add"));
      for (const sent of [cookie, undefined]) {
        next = 0;
        for (const _ of values) {
          const answer = await post("/unwritable", sent);
          expect(answer.status).toBe(500);
          expect(answer.text).not.toContain("fine");
          expect(own(answer)).toEqual([]);
        }
      }
      expect(await kept(cookie)).toEqual({ n: 1 });
      expect(store.calls("create")).toBe(1);
    });

    describe("turns", () => {
      let entered: Deferred;
      let gate: Deferred;
      const slow: Route = {
        path: "/slow",
        async handle() {
          entered.resolve();
          await gate.promise;
          return { body: "slow" };
        },
      };
      beforeEach(() => {
        entered = deferred();
        gate = deferred();
      });
      afterEach(() => gate.resolve());

      it("TR-05: unsafe requests of one session go one at a time; safe ones and other sessions do not wait", async () => {
        await start([slow, { ...slow, path: "/free", options: { turns: false } }]);
        const cookie = cookieOf(await post("/add"));
        const first = send("/slow", cookie, { method: "POST" });
        await entered.promise;
        const second = send("/add", cookie, { method: "POST" });
        await stillWaiting(second.head);
        expect((await get("/add", cookie)).text).toBe("2");
        expect((await post("/add")).text).toBe("1");
        gate.resolve();
        expect((await first.whole).text).toBe("slow");
        expect((await second.whole).text).toBe("3");
        expect((await post("/free", cookie)).text).toBe("slow");
      });

      it("TR-05: a client that goes away ends its turn, although its handler is still at work", async () => {
        await start([slow]);
        const cookie = cookieOf(await post("/add"));
        const first = send("/slow", cookie, { method: "POST" });
        await entered.promise;
        const second = send("/add", cookie, { method: "POST" });
        await stillWaiting(second.head);
        first.abort();
        expect((await second.whole).text).toBe("2");
      });

      it("TR-05: a client that goes away while it waits for its turn does not keep it", async () => {
        const never: Route = { path: "/never", handle: () => new Promise(() => {}) };
        await start([slow, never]);
        const cookie = cookieOf(await post("/add"));
        const first = send("/slow", cookie, { method: "POST" });
        await entered.promise;
        const second = send("/never", cookie, { method: "POST" });
        await stillWaiting(second.head);
        second.abort();
        await served.over("/never");
        gate.resolve();
        await first.whole;
        expect((await post("/add", cookie)).text).toBe("2");
      });

      it("TR-05: 100 parallel changes by plain assignment are all kept", async () => {
        await start([]);
        const cookie = cookieOf(await post("/add"));
        const answers = await Promise.all(Array.from({ length: 100 }, () => post("/add", cookie)));
        expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
        expect(await kept(cookie)).toEqual({ n: 101 });
      });

      it("TR-05: two requests that assign the same key without turns: one is kept, the other is a 409", async () => {
        let waiting = 0;
        await start([
          {
            path: "/set",
            options: { turns: false },
            async handle({ session, text }) {
              session.data.text = await text();
              waiting++;
              if (waiting === 2) gate.resolve();
              await gate.promise;
              return { headers: [["Set-Cookie", "other=1"]], body: "done" };
            },
          },
        ]);
        const cookie = cookieOf(await post("/add"));
        const answers = await Promise.all(["x", "y"].map((body) => post("/set", cookie, { body })));
        const [won, lost] = [...answers].sort((a, b) => a.status - b.status);
        expect([won?.status, lost?.status]).toEqual([200, 409]);
        expect(JSON.parse(lost?.text ?? "")).toEqual({ error: expect.stringContaining("try again") });
        expect(lost && own(lost)).toEqual([]);
        expect((await kept(cookie)).text).toBe(answers[0]?.status === 200 ? "x" : "y");
      });
    });

    describe("a store that is down", () => {
      it("TR-05: reads answer 503 with Retry-After, keep the visitor's cookie, and work again afterwards", async () => {
        await start([]);
        const cookie = cookieOf(await post("/login"));
        store.fail();
        for (const answer of [await get("/read", cookie), await post("/add", cookie), await get("/nothing", cookie)]) {
          expect(answer.status).toBe(503);
          expect(answer.headers["retry-after"]).toMatch(/^[1-9]\d*$/);
          expect(answer.headers["cache-control"]).toBe("no-store");
          expect(answer.cookies).toEqual([]);
          expect(JSON.parse(answer.text)).toEqual({ error: expect.any(String) });
        }
        // Who needs no store is served.
        expect((await get("/nothing")).status).toBe(200);
        store.recover();
        expect(await kept(cookie)).toEqual({ user: "ada" });
      });

      it("TR-05: a store that does not answer is down after two seconds", async () => {
        await start([]);
        const cookie = cookieOf(await post("/add"));
        const hold = store.hold("read");
        const sent = send("/read", cookie);
        await hold.reached;
        await stillWaiting(sent.head);
        await clock.advance(seconds(2));
        expect((await sent.whole).status).toBe(503);
        hold.release();
        expect(await kept(cookie)).toEqual({ n: 1 });
      });

      it("TR-05: a write that fails is a 503 without a cookie, and nothing of it is kept", async () => {
        await start([]);
        const cookie = cookieOf(await post("/add"));
        for (const verb of ["create", "update"] as const) {
          store.fail(verb);
          const answer = await post("/add", verb === "create" ? undefined : cookie);
          expect([answer.status, answer.headers["retry-after"], answer.cookies]).toEqual([503, "5", []]);
          expect(answer.text).not.toContain("2");
          store.recover();
        }
        expect(await kept(cookie)).toEqual({ n: 1 });
        expect((await post("/add", cookie)).text).toBe("2");
      });

      it("TR-05: storeDown anonymous goes on without a session, writes nothing, and leaves the cookie alone", async () => {
        await start([
          {
            path: "/calm",
            options: { storeDown: "anonymous" },
            handle({ session, method }) {
              if (method === "POST") session.data.n = 5;
              return { body: String(session.userId) };
            },
          },
        ]);
        const cookie = cookieOf(await post("/login"));
        store.fail();
        expect(await get("/calm", cookie)).toMatchObject({ status: 200, text: "undefined", cookies: [] });
        expect(await post("/calm", cookie)).toMatchObject({ status: 503, cookies: [] });
        expect((await get("/read", cookie)).status).toBe(503);
        store.recover();
        expect((await get("/calm", cookie)).text).toBe("ada");
        expect(store.calls("create")).toBe(1);
      });

      it.each([
        ["throws", () => failing()],
        ["rejects", async () => failing()],
      ])(
        "TR-05: an onError that %s is a mistake of the application, and nobody waits for an answer",
        async (_, onError) => {
          await start([], {}, onError);
          const cookie = cookieOf(await post("/add"));
          store.failNext("read");
          const unopened = await post("/add", cookie);
          store.failNext("update");
          const unsaved = await post("/add", cookie);
          for (const answer of [unopened, unsaved]) expect([answer.status, own(answer)]).toEqual([500, []]);
          expect(await kept(cookie)).toEqual({ n: 1 });
        },
      );

      it("LO-01: a logout that the store cannot carry out is an error, and the user is still logged in", async () => {
        await start([]);
        const cookie = cookieOf(await post("/login"));
        store.fail("remove");
        const answer = await post("/logout", cookie);
        expect([answer.status, own(answer)]).toEqual([503, []]);
        store.recover();
        expect((await kept(cookie)).user).toBe("ada");
      });
    });

    describe("requests of other sites", () => {
      it("CS-13: are answered 403 before the session is touched, with Vary, one event and no detail", async () => {
        let handled = 0;
        await start([
          {
            path: "/count",
            handle() {
              handled++;
              return {};
            },
          },
        ]);
        const cookie = cookieOf(await post("/login"));
        await clock.advance(minutes(29));
        events.length = 0;
        const calls = store.calls();
        const answer = await post("/count", cookie, { headers: { "sec-fetch-site": "cross-site" } });
        expect(answer.status).toBe(403);
        expect(answer.headers.vary).toContain("Sec-Fetch-Site, Origin");
        expect(answer.headers["cache-control"]).toBe("no-store");
        expect(JSON.parse(answer.text)).toEqual({ error: "Forbidden." });
        expect([answer.cookies, handled, store.calls() - calls]).toEqual([[], 0, 0]);
        expect(events).toMatchObject([{ type: "csrfRejected", reason: "sec-fetch-site" }]);
        // It was no activity: the idle timer goes on from the login.
        await clock.advance(minutes(1));
        expect(await kept(cookie)).toEqual({});
      });

      it("CS-09: a cross-site login is refused too, with or without a session", async () => {
        await start([]);
        for (const headers of [
          { "sec-fetch-site": "cross-site" },
          { "sec-fetch-site": "same-site" },
          { origin: "https://evil.example" },
          { origin: "null" },
        ]) {
          const answer = await post("/login", undefined, { headers });
          expect([answer.status, answer.cookies]).toEqual([403, []]);
        }
        expect(store.calls()).toBe(0);
        expect((await post("/login", undefined, { headers: { "sec-fetch-site": "same-origin" } })).status).toBe(303);
        expect((await post("/login", undefined, { headers: { origin: served.origin } })).status).toBe(303);
      });

      it("CS-05: a route can be exempted, and only that route is", async () => {
        await start([
          {
            path: "/hook",
            options: { crossSite: "allow" },
            handle: ({ session }) => ({ body: String(session.userId) }),
          },
        ]);
        const cookie = cookieOf(await post("/login"));
        const headers = { "sec-fetch-site": "cross-site" };
        expect(await post("/hook", cookie, { headers })).toMatchObject({ status: 200, text: "ada" });
        expect((await post("/add", cookie, { headers })).status).toBe(403);
      });

      it("CS-06: a method-override header changes nothing", async () => {
        await start([]);
        for (const name of ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"])
          expect(
            (await post("/add?_method=GET", undefined, { headers: { [name]: "GET", "sec-fetch-site": "cross-site" } }))
              .status,
          ).toBe(403);
        expect(store.calls()).toBe(0);
      });
    });

    it("LT-07: a passive route keeps nobody alive", async () => {
      await start([
        { path: "/poll", options: { passive: true }, handle: ({ session }) => ({ body: String(session.userId) }) },
      ]);
      const cookie = cookieOf(await post("/login"));
      for (let minute = 0; minute < 29; minute++) {
        await clock.advance(minutes(1));
        expect((await get("/poll", cookie)).text).toBe("ada");
      }
      expect(store.calls("touch")).toBe(0);
      await clock.advance(minutes(1));
      expect((await get("/poll", cookie)).text).toBe("undefined");
    });

    it("LT-07: any other request does", async () => {
      await start([]);
      const cookie = cookieOf(await post("/login"));
      for (let i = 0; i < 3; i++) {
        await clock.advance(minutes(29));
        expect(await get("/nothing", cookie)).toMatchObject({ status: 200, cookies: [] });
      }
      expect(store.calls("touch")).toBe(3);
      await clock.advance(hours(11));
      expect((await kept(cookie)).user).toBeUndefined();
    });

    it("TR-01: a response that sets or clears the cookie is no-store, whatever the application wanted", async () => {
      const caching = [
        ["Cache-Control", "public, max-age=3600"],
        ["ETag", '"x"'],
      ] as const;
      await start([
        {
          path: "/cached",
          async handle({ session, method }) {
            if (method === "POST") await session.login("ada");
            if (method === "DELETE") await session.logout();
            return { headers: caching, body: "x" };
          },
        },
      ]);
      expect((await get("/cached")).headers["cache-control"]).toBe("public, max-age=3600");
      const login = await post("/cached");
      expect(login.headers["cache-control"]).toBe("no-store");
      const logout = await post("/cached", cookieOf(login), { method: "DELETE" });
      expect([logout.headers["cache-control"], own(logout)]).toEqual(["no-store", [deletion]]);
      const duplicate = await get("/cached", `${adapter.cookieName}=a; ${adapter.cookieName}=b`);
      expect([duplicate.headers["cache-control"], own(duplicate)]).toEqual(["no-store", [deletion]]);
    });

    it("TR-02: the answers to a user who is logged in are no-store unless the application says otherwise", async () => {
      let headers: [string, string][] = [];
      await start([{ path: "/page", handle: () => ({ headers, body: "x" }) }]);
      const user = cookieOf(await post("/login"));
      const visitor = cookieOf(await post("/add"));
      const caching = async (cookie?: string) => {
        const { headers: got } = await get("/page", cookie);
        return [got["cache-control"], got.vary];
      };
      expect(await caching(user)).toEqual(["no-store", undefined]);
      expect(await caching(visitor)).toEqual([undefined, undefined]);
      expect(await caching()).toEqual([undefined, undefined]);
      for (const [vary, expected] of [
        [undefined, "Cookie"],
        ["Accept-Encoding", "Accept-Encoding, Cookie"],
        ["Accept-Encoding, cookie", "Accept-Encoding, cookie"],
        ["*", "*"],
      ] as const) {
        headers = [
          ["Cache-Control", "private, max-age=60"],
          ...(vary === undefined ? [] : [["Vary", vary] as [string, string]]),
        ];
        expect(await caching(user)).toEqual(["private, max-age=60", expected]);
        expect(await caching()).toEqual(["private, max-age=60", vary]);
      }
    });

    it("TR-02: so are the answers to a visitor whose data, messages or CSRF token the handler has looked at", async () => {
      const looks: Record<string, (session: Incoming["session"]) => unknown> = {
        data: (session) => session.data.n,
        messages: (session) => session.takeFlash(),
        token: (session) => session.csrfToken(),
        nothing: (session) => session.id,
      };
      await start(
        Object.entries(looks).map(([name, look]) => ({
          path: `/look/${name}`,
          async handle({ session }) {
            await look(session);
            return { body: "x" };
          },
        })),
      );
      const visitor = cookieOf(await post("/add"));
      for (const name of Object.keys(looks)) {
        const { headers } = await get(`/look/${name}`, visitor);
        expect([name, headers["cache-control"]]).toEqual([name, name === "nothing" ? undefined : "no-store"]);
      }
      expect((await get("/look/data")).headers["cache-control"]).toBeUndefined();
    });

    it("CK-13: several Cookie lines are one list", async () => {
      await start([]);
      const cookie = cookieOf(await post("/login"));
      const answer = await served.send("/read", { headers: { cookie: ["a=1", cookie, "b=%E0%A4%A; __proto__=1"] } })
        .whole;
      expect(JSON.parse(answer.text)).toEqual({ user: "ada" });
      const twice = await served.send("/read", { headers: { cookie: [cookie, cookie] } }).whole;
      expect([JSON.parse(twice.text), own(twice)]).toEqual([{}, [deletion]]);
    });

    it("an old cookie of another library becomes a session of ours, and is cleared when that ends", async () => {
      const upgradeFrom: UpgradeSource = {
        grace: minutes(5),
        present: (request) =>
          request.header("cookie")?.includes("old=good")
            ? { key: "1", proof: "good", read: async () => ({ data: { n: 7 }, expiresAt: undefined, kept: undefined }) }
            : undefined,
        userId: () => "ada",
        end: async () => {},
        endAll: async () => {},
        clear: () => ({ name: "old", line: "old=; Max-Age=0" }),
      };
      const foreign: Route = {
        path: "/bye",
        async handle({ session }) {
          await session.logout();
          return { headers: [["Set-Cookie", "a=1"]], body: "bye" };
        },
      };
      await start([foreign], { upgradeFrom });
      const first = await get("/read", "old=good");
      expect(JSON.parse(first.text)).toEqual({ n: 7, user: "ada" });
      expect(first.cookies).toHaveLength(1);
      const gone = await get("/bye", `old=good; ${cookieOf(first)}`);
      expect(gone.cookies.toSorted()).toEqual(["a=1", "old=; Max-Age=0", own(gone)[0]].toSorted());
      expect(own(gone)).toEqual([deletion]);
      expect(await get("/read", "old=good")).toMatchObject({ text: "{}", cookies: ["old=; Max-Age=0"] });
      expect((await get("/read", "old=good")).headers["cache-control"]).toBe("no-store");
    });

    it("TR-07: too many or too large cookies are a 431, and losing any one is no error", async () => {
      await start([]);
      const cookie = cookieOf(await post("/login"));
      const many = Array.from({ length: 180 }, (_, i) => `c${i}=1`).join("; ");
      for (const header of [`${cookie}; a=${"x".repeat(8192)}`, `${many}; ${cookie}`]) {
        const answer = await get("/read", header);
        expect([answer.status, answer.cookies]).toEqual([431, []]);
      }
      const jar = ["a=1", cookie, "b=2"];
      for (const dropped of jar) {
        const answer = await get("/read", jar.filter((entry) => entry !== dropped).join("; "));
        expect(JSON.parse(answer.text)).toEqual(dropped === cookie ? {} : { user: "ada" });
      }
    });

    it("ID-06: a valid token in query, path, body or another header is nothing", async () => {
      await start([]);
      const cookie = cookieOf(await post("/login"));
      const token = cookie.split("=")[1] ?? "";
      const form = { "content-type": "application/x-www-form-urlencoded" };
      for (const answer of [
        await get(`/read?${cookie}&sid=${token}&session=${token}`),
        await get(`/read;${cookie}`).then((a) => (a.status === 404 ? { ...a, text: "{}" } : a)),
        await post("/read", undefined, { headers: form, body: `${cookie}&sid=${token}` }),
        await post("/read", undefined, {
          headers: { "content-type": "application/json" },
          body: JSON.stringify({ sid: token }),
        }),
        await get("/read", undefined, { headers: { "x-session-id": token, authorization: `Bearer ${token}` } }),
      ])
        expect(JSON.parse(answer.text)).toEqual({});
    });
  });
}
