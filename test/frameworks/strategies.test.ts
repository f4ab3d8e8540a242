import { createSessions, type Sessions } from "coatcheck";
import { sealed, snapshotCookie } from "coatcheck/sealed";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type Adapter, adapters, type Route } from "./adapters.ts";
import type { Answer, Sending, Served } from "./servers.ts";
import { deferred, TestClock, type UnreliableStore, type Visit, watchedStore } from "./support.ts";

const KEYS = [Uint8Array.from({ length: 32 }, (_, i) => (i * 59 + 7) % 256)];
const ADAPTERS = adapters.filter(({ name }) => ["Express 5", "Fastify 5", "Fetch behind node:http"].includes(name));
const FOREIGN = ["a=1; Path=/", "b=2; Path=/", "sid2=similar", "sid-snapshot2=similar", "xsid-snapshot=similar"];
const STALE = ["sid=stale; Path=/", "sid-snapshot=stale; Path=/"];
const setCookie = (lines: readonly string[]) => lines.map((line) => ["Set-Cookie", line] as const);

const standard: readonly Route[] = [
  { path: "/read", handle: ({ session }) => ({ body: JSON.stringify({ ...session.data, user: session.userId }) }) },
  {
    path: "/add",
    handle({ session }) {
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
    path: "/all",
    async handle({ session }) {
      session.data.n = 1;
      await session.commit();
      await session.login("ada");
      await session.renew();
      await session.destroy();
      return { headers: setCookie([...FOREIGN, ...STALE]) };
    },
  },
  {
    path: "/rotate",
    async handle({ session }) {
      session.data.n = 1;
      await session.login("ada");
      await session.elevate();
      return { headers: setCookie([...FOREIGN, ...STALE]) };
    },
  },
];

let served: Served;
let sessions: Sessions<Visit>;
beforeEach(() => {
  // Faults of the application are written there.
  vi.spyOn(console, "error").mockImplementation(() => {});
});
afterEach(async () => {
  vi.restoreAllMocks();
  await served.close();
  await sessions.close();
});

/** A browser: keeps what it is given, by name. */
class Jar {
  readonly cookies = new Map<string, string>();

  copy(): Jar {
    const copy = new Jar();
    for (const [name, pair] of this.cookies) copy.cookies.set(name, pair);
    return copy;
  }

  send(path: string, { headers, ...sending }: Sending = {}): Promise<Answer> {
    const cookie = this.cookies.size === 0 ? undefined : [...this.cookies.values()].join("; ");
    return served.send(path, { ...sending, headers: { ...headers, cookie } }).whole.then((answer) => {
      for (const line of answer.cookies) {
        const [pair = ""] = line.split(";");
        const [name = ""] = pair.split("=");
        if (line.includes("Max-Age=0")) this.cookies.delete(name);
        else this.cookies.set(name, pair);
      }
      return answer;
    });
  }

  get = (path: string) => this.send(path);
  post = (path: string) => this.send(path, { method: "POST" });
  read = async () => JSON.parse((await this.get("/read")).text);
}

const names = ({ cookies }: Answer) => cookies.map((line) => line.slice(0, line.indexOf("=")));

describe.each(ADAPTERS)("sealed sessions with $name", (adapter: Adapter) => {
  async function start(routes: readonly Route[] = []): Promise<Jar> {
    sessions = createSessions<Visit>({ clock: new TestClock(), strategy: sealed({ keys: KEYS }) });
    served = await adapter.start(sessions, [...standard, ...routes]);
    return new Jar();
  }

  it("CK-16, TR-01: one cookie for each change, on responses that nobody keeps; none when nothing changed", async () => {
    const jar = await start();
    expect((await jar.get("/read")).cookies).toEqual([]);
    for (const path of ["/add", "/login", "/add"]) {
      const answer = await jar.post(path);
      expect(names(answer)).toEqual(["sid"]);
      expect(answer.cookies[0]).toMatch(/^sid=[\w-]+; Path=\/; HttpOnly; SameSite=Lax$/);
      expect(answer.headers["cache-control"]).toBe("no-store");
    }
    expect((await jar.get("/read")).cookies).toEqual([]);
    expect(await jar.read()).toEqual({ n: 2, user: "ada" });
  });

  it("TR-05: a streamed answer and one without a body carry it too", async () => {
    async function* pieces() {
      yield "a";
      yield "b";
    }
    const sets = (n: number, reply: object) => ({
      path: `/set${n}`,
      handle({ session }: Parameters<Route["handle"]>[0]) {
        session.data.n = n;
        return reply;
      },
    });
    const jar = await start([sets(7, { body: pieces() }), sets(8, { status: 204 })]);
    expect((await jar.get("/set7")).text).toBe("ab");
    expect(await jar.read()).toEqual({ n: 7 });
    expect((await jar.get("/set8")).status).toBe(204);
    expect(await jar.read()).toEqual({ n: 8 });
  });

  it("RN-09: what changes after the first byte is not taken for saved", async () => {
    const late: Route = {
      path: "/late",
      handle({ session }) {
        async function* pieces() {
          yield "a";
          session.data.n = 99;
          if (!adapter.savesLateChanges) await session.commit();
          yield "b";
        }
        return { body: pieces() };
      },
    };
    const jar = await start([late]);
    await jar.post("/add");
    await expect(jar.get("/late")).rejects.toThrow();
    expect(await jar.read()).toEqual({ n: 1 });
  });

  it("CK-11: one line of ours, the last one; the cookies of others stay", async () => {
    const jar = await start();
    const foreign = [...FOREIGN, STALE[1]];
    const gone = await jar.post("/all");
    expect(gone.cookies.filter((line) => !line.startsWith("sid="))).toEqual(foreign);
    expect(gone.cookies.filter((line) => line.startsWith("sid="))).toEqual([expect.stringContaining("Max-Age=0")]);
    const rotated = await jar.post("/rotate");
    expect(rotated.cookies).toHaveLength(foreign.length + 1);
    expect(await jar.read()).toEqual({ n: 1, user: "ada" });
  });

  it("CK-07: one that does not fit is a 500 without a cookie, and the client keeps what it has", async () => {
    const grow: Route = {
      path: "/grow",
      handle({ session }) {
        session.data.text = "x".repeat(5000);
        return { body: "fine" };
      },
    };
    const jar = await start([grow]);
    await jar.post("/add");
    const answer = await jar.post("/grow");
    expect([answer.status, answer.cookies]).toEqual([500, []]);
    expect(await jar.read()).toEqual({ n: 1 });
  });

  it("unsafe requests do not wait for each other", async () => {
    const gate = deferred();
    const entered = deferred();
    const slow: Route = {
      path: "/slow",
      async handle() {
        entered.resolve();
        await gate.promise;
        return {};
      },
    };
    const jar = await start([slow]);
    await jar.post("/add");
    const first = jar.copy().post("/slow");
    await entered.promise;
    expect((await jar.post("/add")).text).toBe("2");
    gate.resolve();
    await first;
  });
});

describe.each(ADAPTERS)("hybrid sessions with $name", (adapter: Adapter) => {
  let store: UnreliableStore;

  async function start(routes: readonly Route[] = []): Promise<Jar> {
    store = watchedStore();
    sessions = createSessions<Visit>({ store, clock: new TestClock(), cache: snapshotCookie({ keys: KEYS }) });
    served = await adapter.start(sessions, [...standard, ...routes]);
    const jar = new Jar();
    await jar.post("/add");
    // The first look begins to follow the revocations.
    await jar.get("/read");
    return jar;
  }

  it("CK-16: safe requests read nothing of the store, unsafe ones once", async () => {
    const jar = await start();
    const reads = store.calls("read");
    for (let i = 0; i < 10; i++) expect(await jar.get("/read")).toMatchObject({ text: '{"n":1}', cookies: [] });
    expect(store.calls("read")).toBe(reads);
    const answer = await jar.post("/add");
    expect([answer.text, ...names(answer)]).toEqual(["2", "sid-version", "sid-snapshot"]);
    expect(store.calls("read")).toBe(reads + 1);
    expect(await jar.read()).toEqual({ n: 2 });
    expect(store.calls("read")).toBe(reads + 1);
  });

  it("CK-11: one line for each name, the last one; the cookies of others stay", async () => {
    const jar = await start();
    const gone = await jar.post("/all");
    expect(gone.cookies.slice(0, FOREIGN.length)).toEqual(FOREIGN);
    expect(gone.cookies.slice(FOREIGN.length)).toEqual([
      expect.stringMatching(/^sid=; Max-Age=0/),
      expect.stringMatching(/^sid-snapshot=; Max-Age=0/),
    ]);
    expect([...jar.cookies.keys()].filter((name) => /^sid(?:-|$)/.test(name) && !name.endsWith("2"))).toEqual([]);
    const rotated = await jar.post("/rotate");
    expect(rotated.cookies.slice(0, FOREIGN.length)).toEqual(FOREIGN);
    expect(names(rotated).slice(FOREIGN.length)).toEqual(["sid", "sid-snapshot"]);
    expect(await jar.read()).toEqual({ n: 1, user: "ada" });
  });

  it("TR-01: a response that caches may keep carries none and stays as it is; any other is no-store", async () => {
    const caching: Route = {
      path: "/page",
      handle: ({ session }) => ({
        headers: control === undefined ? [] : [["Cache-Control", control]],
        body: String(session.data.n),
      }),
    };
    let control: string | undefined;
    const jar = await start([caching]);
    const { cookies } = jar.copy();
    for (const [given, kept, carries] of [
      ["public, max-age=60", "public, max-age=60", false],
      ["s-maxage=60", "s-maxage=60", false],
      ["max-age=60", "max-age=60", false],
      ["private, max-age=60", "private, max-age=60", true],
      ["no-store", "no-store", true],
      [undefined, "no-store", true],
    ] as const) {
      control = given;
      jar.cookies.clear();
      jar.cookies.set("sid", cookies.get("sid") as string);
      const answer = await jar.get("/page");
      expect([answer.text, answer.headers["cache-control"], names(answer)]).toEqual([
        "1",
        kept,
        carries ? ["sid-snapshot"] : [],
      ]);
    }
  });

  it("TR-05: what is saved after the first byte comes without one, and nothing breaks", async () => {
    const late: Route = {
      path: "/late",
      handle({ session }) {
        async function* pieces() {
          yield "a";
          session.data.n = 5;
          if (!adapter.savesLateChanges) await session.commit();
          yield "b";
        }
        return { body: pieces() };
      },
    };
    const jar = await start([late]);
    expect(await jar.get("/late")).toMatchObject({ text: "ab", cookies: [] });
    // The snapshot cannot know of it.
    expect(await jar.read()).toEqual({ n: 1 });
    jar.cookies.delete("sid-snapshot");
    expect(await jar.read()).toEqual({ n: 5 });
  });

  it("TR-05: a handler that fails after a login hands out the new token all the same", async () => {
    const fail: Route = {
      path: "/fail",
      async handle({ session }) {
        await session.login("ada");
        throw new Error("on purpose");
      },
    };
    const jar = await start([fail]);
    expect((await jar.post("/fail")).status).toBe(500);
    expect(await jar.read()).toEqual({ n: 1, user: "ada" });
  });
});
