import {
  CrossSiteRequestError,
  createSessions,
  days,
  headerTransport,
  hours,
  InsecureTransportError,
  minutes,
  type OldSession,
  type RequestFacts,
  type RouteOptions,
  SessionEndedError,
  StoreUnavailableError,
  seconds,
  type UpgradeSource,
} from "coatcheck";
import { memoryStore } from "coatcheck/memory";
import { TestClock, UnreliableStore } from "coatcheck/testing";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { SessionRecord, SessionStore } from "../../src/stores/store.ts";
import { recorded, type Settings, type Visit, type VisitSession } from "./support.ts";

const GRACE = minutes(5);
const SID = "old-session-of-ada";
const DATA = { userId: "ada", cart: ["lamp"], theme: "dark" };

/** The sessions of another library: the cookie is `old=<sid>.good`. */
class OldLibrary implements UpgradeSource {
  readonly grace = GRACE;
  readonly sessions = new Map<string, OldSession>();
  /** What was asked of the store. */
  readonly asked: string[] = [];
  /** What its store does before it answers. */
  work: (operation: string) => Promise<void> = async () => {};

  constructor(sid = SID, session: Partial<OldSession> = {}) {
    this.sessions.set(sid, { data: DATA, expiresAt: undefined, kept: undefined, ...session });
  }

  present(request: RequestFacts) {
    const sid = /(?:^|; )old=([^;]*)\.good/.exec(request.header("cookie") ?? "")?.[1];
    if (sid === undefined) return undefined;
    return {
      key: sid,
      proof: `${sid}.good`,
      read: async (now: number) => {
        this.asked.push(`read ${sid}`);
        await this.work("read");
        const session = this.sessions.get(sid);
        return session?.expiresAt !== undefined && session.expiresAt <= now ? undefined : session;
      },
    };
  }

  userId(data: Readonly<Record<string, unknown>>) {
    return data.userId as string | undefined;
  }

  async end(sid: string) {
    this.asked.push(`end ${sid}`);
    await this.work("end");
    this.sessions.delete(sid);
  }

  async endAll() {
    await this.work("end");
    this.sessions.clear();
  }

  clear = () => ({ name: "old", line: "old=; Expires=Thu, 01 Jan 1970 00:00:00 GMT" });
}

interface Asking extends RouteOptions {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly secure?: boolean;
  /** The answer gets lost on its way. */
  readonly lost?: boolean;
}

function setUp(settings: Settings & { readonly old?: OldLibrary; readonly shared?: SessionStore } = {}) {
  const { old = new OldLibrary(), shared = memoryStore(), ...rest } = settings;
  const clock = (settings.clock as TestClock | undefined) ?? new TestClock();
  const store = new UnreliableStore(shared);
  const sessions = createSessions<Visit & { userId?: string }>({ clock, upgradeFrom: old, ...(rest as object), store });
  const events = recorded(sessions);
  const records = async () => {
    const found: SessionRecord[] = [];
    for await (const record of shared.all()) found.push(record);
    return found;
  };
  return {
    clock,
    store,
    old,
    sessions,
    events,
    types: () => events.map(({ type }) => type),
    /** Without marks. */
    native: async () => (await records()).filter(({ meta }) => meta.upgradedTo === undefined),
    browser: (cookies: Record<string, string> = { old: `${SID}.good` }) => new Browser(sessions, cookies),
  };
}

/** A browser with a jar of cookies. */
class Browser {
  readonly jar: Map<string, string>;
  readonly #sessions: ReturnType<typeof createSessions<Visit>>;

  constructor(sessions: unknown, cookies: Record<string, string>) {
    this.#sessions = sessions as ReturnType<typeof createSessions<Visit>>;
    this.jar = new Map(Object.entries(cookies));
  }

  get native(): string | undefined {
    return this.jar.get("__Host-Http-sid");
  }

  copy(): Browser {
    return new Browser(this.#sessions, Object.fromEntries(this.jar));
  }

  async request<Result = void>(
    handler: (session: VisitSession & { data: Visit & { userId?: string } }) => Result | Promise<Result>,
    { method = "GET", headers = {}, secure = true, lost = false, ...route }: Asking = {},
  ): Promise<Result> {
    const cookie = [...this.jar].map(([name, value]) => `${name}=${value}`).join("; ");
    const all: Record<string, string | undefined> = { cookie: cookie === "" ? undefined : cookie, ...headers };
    const facts: RequestFacts = { method, header: (name) => all[name], secure, host: "shop.example", ip: undefined };
    const exchange = await this.#sessions.open(facts, route);
    try {
      const result = await handler(exchange.session);
      await exchange.commit();
      return result;
    } finally {
      const { cookies } = exchange.responseChanges();
      exchange.end();
      for (const one of lost ? [] : cookies) {
        const value = one.line.slice(one.name.length + 1).split(";")[0] ?? "";
        if (value === "") this.jar.delete(one.name);
        else this.jar.set(one.name, value);
      }
    }
  }
}

const look = (session: VisitSession) => ({ user: session.userId, isNew: session.isNew, cart: session.data.cart });
const ADA = { user: "ada", isNew: false, cart: ["lamp"] };
const STRANGER = { user: undefined, isNew: true, cart: undefined };

describe("a visitor with a valid old cookie", () => {
  it("is given a native session with the same data and the same user", async () => {
    const { browser, sessions, types, old } = setUp();
    const ada = browser();
    expect(await ada.request((session) => ({ ...session.data }))).toEqual(DATA);
    expect(await ada.request(look)).toEqual(ADA);
    expect(await sessions.forUser("ada").list()).toHaveLength(1);
    expect(types()).toEqual(["upgraded"]);
    expect(old.asked).toEqual([`read ${SID}`]);
  });

  it("costs the old store nothing more, and keeps the old cookie through the grace", async () => {
    const { browser, clock, old, store } = setUp();
    const ada = browser();
    await ada.request(look);
    await clock.advance(GRACE - 1);
    const reads = store.calls("read");
    await ada.request(look);
    expect(store.calls("read") - reads).toBe(1);
    expect([...ada.jar.keys()]).toEqual(["old", "__Host-Http-sid"]);
    expect(old.asked).toEqual([`read ${SID}`]);
  });

  it("has proven nothing lately: a recent authentication is still asked for", async () => {
    const { browser } = setUp();
    await expect(browser().request((session) => session.requireRecentAuth())).rejects.toMatchObject({
      code: "recent_auth_required",
    });
  });

  it("gets the data in its present shape, as of version 0", async () => {
    const { browser } = setUp({
      version: 1,
      migrations: { 0: ({ cart }) => ({ cart: [...(cart as string[]), "migrated"] }) },
    });
    expect(await browser().request((session) => ({ ...session.data }))).toEqual({ cart: ["lamp", "migrated"] });
  });

  it("is remembered only if the old cookie was kept as long as a remembered session may be idle", async () => {
    for (const [kept, remember] of [
      [days(14), true],
      [days(14) - 1, undefined],
      [undefined, undefined],
    ] as const) {
      const { browser, native } = setUp({ old: new OldLibrary(SID, { kept }) });
      await browser().request(look);
      expect((await native())[0]?.meta.remember).toBe(remember);
    }
  });

  it("may have no user", async () => {
    const { browser } = setUp({ old: new OldLibrary(SID, { data: { cart: ["lamp"] } }) });
    expect(await browser().request(look)).toEqual({ ...ADA, user: undefined });
  });

  it("counts for the limit of sessions", async () => {
    const { sessions, browser, clock } = setUp({ sessionsPerUser: { max: 1, atLimit: "evict-oldest" } });
    const other = browser({});
    await other.request((session) => session.login("ada"));
    await clock.advance(1);
    expect(await browser().request(look)).toEqual(ADA);
    expect(await sessions.forUser("ada").list()).toHaveLength(1);
    expect(await other.request(look)).toEqual(STRANGER);
  });

  it("is given it also beside a native cookie that opens nothing", async () => {
    const { browser } = setUp();
    const ada = browser({ old: `${SID}.good`, "__Host-Http-sid": `${"A".repeat(22)}.${"B".repeat(43)}` });
    expect(await ada.request(look)).toEqual(ADA);
    expect(await ada.request(look)).toEqual(ADA);
  });

  it("keeps a native session that is alive, whatever the old cookie says", async () => {
    const { browser, old } = setUp();
    const bob = browser({});
    await bob.request((session) => session.login("bob"));
    bob.jar.set("old", `${SID}.good`);
    expect(await bob.request((session) => session.userId)).toBe("bob");
    expect(old.asked).toEqual([]);
  });
});

describe("requests that race", () => {
  it("meet in one session, in whatever order they run, and none undoes a logout", async () => {
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), fc.boolean(), async (scheduler, logsOut) => {
        const shared = memoryStore();
        const step = (name: string) => scheduler.schedule(Promise.resolve(), name);
        const scheduled = new Proxy(shared, {
          get: (target, verb) => {
            const value = Reflect.get(target, verb);
            if (typeof value !== "function") return value;
            return verb === "all"
              ? value.bind(target)
              : (...args: unknown[]) => step(String(verb)).then(() => value.apply(target, args));
          },
        });
        const old = new OldLibrary();
        old.work = step;
        // Two processes on one store, so that nothing but the store brings the requests together.
        const [one, other] = [setUp({ old, shared: scheduled }), setUp({ old, shared: scheduled })];
        const browsers = [one.browser(), other.browser(), one.browser()];
        let ended = false;
        const add = (name: string) => (session: VisitSession) => {
          if (session.userId === "ada") session.update("cart", (cart = []) => [...cart, name]);
        };
        const requests = browsers.map((browser, index) =>
          browser.request(add(`item ${index}`), { method: index === 2 ? "GET" : "POST" }).then(async () => {
            if (!logsOut || index !== 0) return;
            await browser.request((session) => session.logout(), { method: "POST" });
            ended = true;
          }),
        );
        await scheduler.waitFor(Promise.allSettled(requests));
        const results = await Promise.allSettled(requests);
        const native = await one.native();
        if (logsOut) {
          expect(ended).toBe(true);
          expect(native.filter(({ userId }) => userId === "ada")).toEqual([]);
          expect(old.sessions.size).toBe(0);
          return;
        }
        expect(results.map(({ status }) => status)).toEqual(["fulfilled", "fulfilled", "fulfilled"]);
        expect(native).toHaveLength(1);
        expect(JSON.parse(native[0]?.data.get("cart") ?? "").sort()).toEqual(["item 0", "item 1", "item 2", "lamp"]);
        expect(new Set(browsers.map((browser) => browser.native)).size).toBe(1);
        expect(
          one.events.filter(({ type }) => type === "upgraded").length +
            other.events.filter(({ type }) => type === "upgraded").length,
        ).toBe(1);
        expect([...one.types(), ...other.types()]).not.toContain("storeUnavailable");
      }),
      { numRuns: 200 },
    );
  });

  it("that lose their answers get the same token again", async () => {
    const { browser, native } = setUp();
    const ada = browser();
    await ada.request(look, { lost: true });
    expect(ada.native).toBeUndefined();
    expect(await ada.request(look)).toEqual(ADA);
    expect(await native()).toHaveLength(1);
  });

  it("go on when the store loses the answer to what they wrote", async () => {
    for (const skip of [0, 1]) {
      const { browser, store, native } = setUp();
      const ada = browser();
      const held = store.hold("create");
      const request = ada.request(look);
      await held.reached;
      if (skip === 0) store.loseAnswer("create");
      held.release();
      if (skip === 1) store.loseAnswer("create", { times: 1 });
      expect(await request).toEqual(ADA);
      expect(await native()).toHaveLength(1);
    }
  });
});

describe("the old session is retired", () => {
  it("by the first request with the native cookie after the grace: the token is new, the old cookie gone", async () => {
    const { browser, clock, old, types } = setUp();
    const ada = browser();
    await ada.request(look);
    const thief = new Map(ada.jar);
    await clock.advance(GRACE);
    expect(await ada.request(look)).toEqual(ADA);
    expect([...ada.jar.keys()]).toEqual(["__Host-Http-sid"]);
    expect(ada.native).not.toBe(thief.get("__Host-Http-sid"));
    expect(old.asked).toEqual([`read ${SID}`, `end ${SID}`]);
    expect(types()).toEqual(["upgraded", "renewed"]);

    await clock.advance(seconds(10));
    const copy = browser({ old: `${SID}.good` });
    expect(await copy.request(look)).toEqual(STRANGER);
    expect(copy.jar.size).toBe(0);
    expect(await ada.request(look)).toEqual(ADA);
  });

  it("not before the client has shown that it has the native cookie, however long that takes", async () => {
    const { browser, clock, old } = setUp();
    const ada = browser();
    await ada.request(look, { lost: true });
    await clock.advance(GRACE * 2);
    await ada.request(look, { lost: true });
    expect(await ada.request(look)).toEqual(ADA);
    expect(old.sessions.size).toBe(1);
    expect(await ada.request(look)).toEqual(ADA);
    expect(old.sessions.size).toBe(0);
  });

  it("later, when its store is down: the visitor notices nothing", async () => {
    const { browser, clock, old } = setUp();
    const ada = browser();
    await ada.request(look);
    await clock.advance(GRACE);
    old.work = async () => {
      throw new Error("down");
    };
    expect(await ada.request(look)).toEqual(ADA);
    expect(ada.jar.has("old")).toBe(true);
    old.work = async () => {};
    expect(await ada.request(look)).toEqual(ADA);
    expect(ada.jar.has("old")).toBe(false);
  });

  it("by a login and by renew, whose rotation the old cookie does not survive", async () => {
    for (const rotate of [
      (session: VisitSession) => session.login("ada"),
      (session: VisitSession) => session.login("bob"),
      (session: VisitSession) => session.renew(),
    ]) {
      const { browser, clock, old } = setUp();
      const ada = browser();
      await ada.request(look);
      const copy = ada.copy();
      copy.jar.delete("__Host-Http-sid");
      await ada.request(rotate, { method: "POST" });
      expect(old.sessions.size).toBe(0);
      expect([...ada.jar.keys()]).toEqual(["__Host-Http-sid"]);
      await clock.advance(seconds(10));
      expect(await copy.request(look)).toEqual(STRANGER);
    }
  });

  it("as soon as upgradeFrom is taken away, as far as the native token goes", async () => {
    const shared = memoryStore();
    const { browser, clock } = setUp({ shared });
    const ada = browser();
    await ada.request(look);
    const later = createSessions<Visit>({ store: shared, clock });
    const same = new Browser(later, Object.fromEntries(ada.jar));
    expect(await same.request(look)).toEqual(ADA);
    expect(same.native).not.toBe(ada.native);
  });
});

describe("logout", () => {
  it.each(["logout", "destroy"] as const)("%s ends the old session too", async (how) => {
    const { browser, old } = setUp();
    const ada = browser();
    await ada.request(look);
    const copy = ada.copy();
    await ada.request((session) => session[how](), { method: "POST" });
    expect(ada.jar.size).toBe(0);
    expect(old.sessions.size).toBe(0);
    expect(await copy.request(look)).toEqual(STRANGER);
    expect(copy.jar.has("old")).toBe(false);
  });

  it("fails when the old store is down, and nobody is taken for logged out", async () => {
    const { browser, old } = setUp();
    const ada = browser();
    await ada.request(look);
    old.work = async () => {
      throw new Error("down");
    };
    await expect(ada.request((session) => session.logout(), { method: "POST" })).rejects.toThrow(StoreUnavailableError);
    expect(await ada.request(look)).toEqual(ADA);
  });

  it.each([
    ["by the user on another device", (sessions) => sessions.forUser("ada").revokeAll()],
    ["of everybody", (sessions) => sessions.revokeEveryone()],
  ] satisfies [string, (sessions: ReturnType<typeof setUp>["sessions"]) => Promise<number>][])(
    "%s is not undone by the old cookie",
    async (_name, revoke) => {
      const { browser, sessions } = setUp();
      const ada = browser();
      await ada.request(look);
      await revoke(sessions);
      expect(await ada.request(look)).toEqual(STRANGER);
      expect(ada.jar.has("old")).toBe(false);
    },
  );

  it("of everybody ends the native sessions also when the old ones cannot be ended, and says so", async () => {
    const { browser, sessions, old } = setUp();
    const ada = browser();
    await ada.request(look);
    old.work = async () => {
      throw new Error("down");
    };
    await expect(sessions.revokeEveryone()).rejects.toThrow(StoreUnavailableError);
    old.work = async () => {};
    old.sessions.clear();
    expect(await ada.request(look)).toEqual(STRANGER);
  });

  it("of a session that has idled out is not undone by the old cookie", async () => {
    const { browser, clock, sessions } = setUp();
    const ada = browser();
    await ada.request(look);
    await clock.advance(hours(1));
    await sessions.cleanUp();
    expect(await ada.request(look)).toEqual(STRANGER);
  });
});

describe("no session is given", () => {
  it("for a signature that is not right, and the old store is not asked", async () => {
    const { browser, old } = setUp();
    expect(await browser({ old: `${SID}.forged` }).request(look)).toEqual(STRANGER);
    expect(old.asked).toEqual([]);
  });

  it("for an old session that is not there or has expired, whose cookie is cleared", async () => {
    const clock = new TestClock();
    for (const old of [new OldLibrary("other"), new OldLibrary(SID, { expiresAt: clock.now() })]) {
      const { browser, native } = setUp({ old, clock });
      const ada = browser();
      expect(await ada.request(look)).toEqual(STRANGER);
      expect(ada.jar.size).toBe(0);
      expect(await native()).toEqual([]);
    }
  });

  it("while either store is down: that is an error, no logout", async () => {
    for (const which of ["old", "native"] as const) {
      const { browser, old, store, events } = setUp();
      const ada = browser();
      if (which === "native") store.fail("read");
      else
        old.work = async () => {
          throw new Error("down");
        };
      await expect(ada.request(look)).rejects.toThrow(StoreUnavailableError);
      expect(ada.jar.has("old")).toBe(true);
      expect(events.at(-1)).toMatchObject({ type: "storeUnavailable" });
      expect(await ada.request((session) => [session.isNew, session.readOnly], { storeDown: "anonymous" })).toEqual([
        true,
        true,
      ]);
      expect(ada.jar.has("old")).toBe(true);
      store.recover();
      old.work = async () => {};
      expect(await ada.request(look)).toEqual(ADA);
    }
  });

  it("by a store that does not answer in time", async () => {
    const { browser, old, clock } = setUp();
    old.work = () => new Promise(() => {});
    const request = browser().request(look);
    const failed = expect(request).rejects.toThrow(StoreUnavailableError);
    await clock.advance(seconds(2));
    await failed;
  });

  it("over a connection that would not protect the token", async () => {
    const { browser, native } = setUp();
    await expect(browser().request(look, { secure: false })).rejects.toThrow(InsecureTransportError);
    expect(await native()).toEqual([]);
  });

  it("for a write from another site", async () => {
    const { browser, native } = setUp();
    const headers = { "sec-fetch-site": "cross-site" };
    await expect(browser().request(look, { method: "POST", headers })).rejects.toThrow(CrossSiteRequestError);
    expect(await native()).toEqual([]);
  });

  it("for two native cookies", async () => {
    const { browser, native } = setUp();
    const twice = browser({ old: `${SID}.good`, "__Host-Http-sid": "a; __Host-Http-sid=b" });
    expect(await twice.request(look)).toEqual(STRANGER);
    expect(await native()).toEqual([]);
  });
});

it("a WebSocket's upgrade uses the session, and the next page gets the token", async () => {
  const { browser, sessions, native } = setUp();
  const ada = browser();
  const headers: Record<string, string> = { cookie: `old=${SID}.good`, origin: "https://shop.example" };
  const session = await sessions.openUpgrade({
    method: "GET",
    header: (name) => headers[name],
    secure: true,
    host: "shop.example",
    ip: undefined,
  });
  expect(session.userId).toBe("ada");
  expect(await ada.request(look)).toEqual(ADA);
  expect(await native()).toHaveLength(1);
});

it("a request under way during the retirement may read, and is refused when it writes", async () => {
  const { browser, clock } = setUp();
  const ada = browser();
  await ada.request(look);
  const late = ada.copy();
  late.jar.delete("__Host-Http-sid");
  await clock.advance(GRACE);
  await ada.request(look);
  expect(await late.request(look)).toEqual(ADA);
  const change = (session: VisitSession) => {
    session.data.theme = "light";
  };
  const write = late.request(change, { method: "POST" });
  await expect(write).rejects.toThrow(SessionEndedError);
});

it("neither records nor events hold what could open a session", async () => {
  const { browser, store, events, sessions } = setUp();
  const ada = browser();
  await ada.request(look);
  const kept: unknown[] = [];
  for await (const record of store.all()) kept.push({ ...record, data: [...record.data] });
  const text = JSON.stringify([kept, events, await sessions.forUser("ada").list()]);
  expect(text).not.toContain(`${SID}.good`);
  expect(text).not.toContain(ada.native?.split(".")[1]);
});

it("an answer of userId that is no user's id is the programmer's error", async () => {
  for (const userId of ["", "x".repeat(257), {}, true]) {
    const { browser } = setUp({ old: new OldLibrary(SID, { data: { userId } }) });
    await expect(browser().request(look)).rejects.toThrow(TypeError);
  }
});

it("needs a transport by cookie", () => {
  const options = { store: memoryStore(), transport: headerTransport(), upgradeFrom: new OldLibrary() };
  expect(() => createSessions(options)).toThrow(TypeError);
});
