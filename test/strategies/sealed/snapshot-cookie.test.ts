import {
  createSessions,
  headerTransport,
  hours,
  minutes,
  type RequestFacts,
  SessionEndedError,
  type Sessions,
  seconds,
} from "coatcheck";
import { memoryStore } from "coatcheck/memory";
import { type SnapshotOptions, sealed, snapshotCookie } from "coatcheck/sealed";
import { TestClock, UnreliableStore } from "coatcheck/testing";
import { afterEach, describe, expect, it } from "vitest";
import { neverExpiring, type RequestOptions, recorded, type Visit, type VisitSession } from "../../session/support.ts";
import { KEYS, key } from "./support.ts";

const SID = "__Host-Http-sid";
const SNAPSHOT = `${SID}-snapshot`;
const VERSION = `${SID}-version`;

const open: Sessions<Visit>[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((sessions) => sessions.close()));
});

interface Settings extends Partial<SnapshotOptions> {
  readonly clock?: TestClock;
  readonly store?: ReturnType<typeof memoryStore>;
}

/** Sessions over a counting store, with snapshots at the clients. */
function setUp({ clock = new TestClock(), store: inner = memoryStore(), keys = KEYS, maxAge }: Settings = {}) {
  const store = new UnreliableStore(inner);
  const cache = snapshotCookie({ keys, ...(maxAge === undefined ? undefined : { maxAge }) });
  const sessions = createSessions<Visit>({ clock, store, cache });
  open.push(sessions);
  return { clock, store, sessions, events: recorded(sessions), browser: () => new Browser(sessions) };
}

/** A store that keeps no revocations. */
const silent = () => ({ ...neverExpiring(memoryStore()), revocations: undefined }) as never;

/** Keeps cookies as a browser does, by name and Max-Age. */
class Browser {
  jar = new Map<string, { value: string; until: number }>();
  /** Names of the cookies that the last response set, with a minus for those that it deleted. */
  set: string[] = [];
  readonly #sessions: Sessions<Visit>;

  constructor(sessions: Sessions<Visit>) {
    this.#sessions = sessions;
  }

  copy(sessions = this.#sessions): Browser {
    const copy = new Browser(sessions);
    copy.jar = new Map(this.jar);
    return copy;
  }

  has(name: string): boolean {
    return (this.jar.get(name)?.until ?? 0) > this.#sessions.clock.now();
  }

  async begin({ method = "GET", ...route }: RequestOptions = {}, headers: Record<string, string> = {}) {
    const cookie = [...this.jar].filter(([name]) => this.has(name)).map(([name, { value }]) => `${name}=${value}`);
    const all: Record<string, string | undefined> = {
      ...headers,
      cookie: cookie.length ? cookie.join("; ") : undefined,
    };
    const facts: RequestFacts = {
      method,
      header: (name) => all[name],
      secure: true,
      host: "shop.example",
      ip: undefined,
    };
    const exchange = await this.#sessions.open(facts, route);
    return {
      session: exchange.session as VisitSession,
      finish: async () => {
        if (exchange.needsCommit) await exchange.commit();
        expect(exchange.needsCommit).toBe(false);
        this.#take(exchange.responseChanges().cookies.map(({ line }) => line));
        exchange.end();
      },
    };
  }

  async request<Result>(handler: (session: VisitSession) => Result | Promise<Result>, options?: RequestOptions) {
    const { session, finish } = await this.begin(options);
    const result = await handler(session);
    await finish();
    return result;
  }

  get = <Result>(handler: (session: VisitSession) => Result | Promise<Result>) => this.request(handler);
  post = <Result>(handler: (session: VisitSession) => Result | Promise<Result>) =>
    this.request(handler, { method: "POST" });
  user = () => this.get((session) => session.userId);
  n = () => this.get((session) => session.data.n);

  #take(lines: readonly string[]): void {
    this.set = [];
    for (const line of lines) {
      const [, name = "", value = ""] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
      const maxAge = /Max-Age=(\d+)/.exec(line)?.[1];
      const until =
        maxAge === undefined ? Number.POSITIVE_INFINITY : this.#sessions.clock.now() + Number(maxAge) * 1000;
      this.set.push(maxAge === "0" ? `-${name}` : name);
      this.jar.set(name, { value, until });
    }
  }
}

const sets =
  (n: number) =>
  ({ data }: VisitSession): void => {
    data.n = n;
  };

describe("a snapshot", () => {
  it("CK-16, LO-11: spares safe requests the store for a minute, then costs one read", async () => {
    const { browser, store, clock } = setUp();
    const ada = browser();
    await ada.post((session) => session.login("ada"));
    expect(ada.set).toEqual([SID, SNAPSHOT]);
    // The feed begins to be followed with the first look.
    await ada.user();
    const reads = store.calls("read");
    for (let second = 0; second < 59; second++) {
      expect(await ada.user()).toBe("ada");
      expect(ada.set).toEqual([]);
      await clock.advance(seconds(1));
    }
    expect(store.calls("read")).toBe(reads);
    await clock.advance(seconds(2));
    expect(await ada.user()).toBe("ada");
    expect(store.calls("read")).toBe(reads + 1);
    expect(ada.set).toEqual([SNAPSHOT]);
  });

  it("is encrypted, and in a cookie with the attributes of the session's", async () => {
    const { sessions } = setUp();
    const headers = { header: () => undefined, secure: true, host: "shop.example", ip: undefined };
    const exchange = await sessions.open({ method: "POST", ...headers });
    await exchange.session.login("marzipan");
    exchange.session.data.secret = "marzipan";
    await exchange.commit();
    const [, snapshot] = exchange.responseChanges().cookies;
    expect(snapshot).toMatchObject({ name: SNAPSHOT, optional: true });
    expect(snapshot?.line).toMatch(/^[\w-]+=[\w-]+; Max-Age=60; Path=\/; Secure; HttpOnly; SameSite=Lax$/);
    const [, value = ""] = /=([\w-]+)/.exec(snapshot?.line ?? "") ?? [];
    expect(Buffer.from(value, "base64url").toString("latin1")).not.toContain("marzipan");
  });

  it("visitors without a session get none", async () => {
    const { browser, store } = setUp();
    const visitor = browser();
    await visitor.get(({ data }) => data.n);
    expect([visitor.set, store.calls()]).toEqual([[], 0]);
  });

  it("unsafe requests always read the store, and leave it alone unless they change something", async () => {
    const { browser, store } = setUp();
    const ada = browser();
    await ada.post(sets(1));
    await ada.n();
    const reads = store.calls("read");
    await ada.post(({ data }) => data.n);
    expect([ada.set, store.calls("read")]).toEqual([[], reads + 1]);
  });

  it("a write goes through to the store and renews it, and the next read costs nothing", async () => {
    const { browser, store, sessions } = setUp();
    const ada = browser();
    await ada.post(sets(1));
    await ada.n();
    await ada.post(sets(2));
    expect(ada.set).toEqual([VERSION, SNAPSHOT]);
    const reads = store.calls("read");
    expect(await ada.n()).toBe(2);
    expect(store.calls("read")).toBe(reads);
    // A safe request that writes, too.
    await ada.get(sets(3));
    expect(ada.set).toEqual([VERSION, SNAPSHOT]);
    expect(await ada.n()).toBe(3);
    const elsewhere = new Browser(sessions);
    elsewhere.jar.set(SID, ada.jar.get(SID) as never);
    expect(await elsewhere.n()).toBe(3);
  });

  it("a read that began before a write and answers after it does not hide it", async () => {
    const { browser, clock } = setUp();
    const ada = browser();
    await ada.post(sets(1));
    expect(await ada.n()).toBe(1);
    await clock.advance(minutes(1));
    const slow = await ada.begin();
    await ada.post(sets(2));
    await slow.finish();
    expect(await ada.n()).toBe(2);
    await clock.advance(seconds(30));
    expect(await ada.n()).toBe(2);
  });

  it("a write that was saved by a request which then failed does not stay hidden", async () => {
    const { browser, sessions } = setUp();
    const ada = browser();
    await ada.post(sets(1));
    await ada.n();
    const jar = [...ada.jar].map(([name, { value }]) => `${name}=${value}`).join("; ");
    const all: Record<string, string> = { cookie: jar };
    const facts = { header: (name: string) => all[name], secure: true, host: "shop.example", ip: undefined };
    const exchange = await sessions.open({ method: "POST", ...facts });
    exchange.session.data.n = 2;
    await exchange.session.commit();
    // The handler throws: the adapter commits nothing more.
    const { cookies } = exchange.responseChanges();
    expect(cookies.map(({ name }) => name)).toEqual([VERSION]);
    exchange.end();
  });

  it("concurrent writes from snapshots are neither lost nor doubled", async () => {
    const { browser } = setUp();
    const ada = browser();
    await ada.post(sets(1));
    await ada.n();
    const [one, two] = [await ada.begin(), await ada.begin()];
    one.session.data.theme = "dark";
    two.session.update("n", (value = 0) => value + 1);
    await one.finish();
    await two.finish();
    expect(await ada.get(({ data }) => [data.n, data.theme])).toEqual([2, "dark"]);
  });

  it("LT-06: activity is written once a minute all the same, and seen in the next snapshot", async () => {
    const { browser, store, clock } = setUp({ maxAge: minutes(10) });
    const ada = browser();
    await ada.post((session) => session.login("ada"));
    await ada.user();
    const reads = store.calls("read");
    for (let second = 0; second < 185; second++) {
      await clock.advance(seconds(1));
      await ada.user();
    }
    expect([store.calls("touch"), store.calls("read")]).toEqual([3, reads]);
  });

  it("LT-01: an idle session ends, snapshot or not", async () => {
    const { clock, store, sessions } = { ...setUp() };
    const brief = createSessions<Visit>({
      clock,
      store,
      lifetime: { idle: seconds(20) },
      cache: snapshotCookie({ keys: KEYS }),
    });
    open.push(brief);
    const ada = new Browser(brief);
    await ada.post((session) => session.login("ada"));
    expect(await ada.user()).toBe("ada");
    await clock.advance(seconds(20));
    expect(await ada.user()).toBeUndefined();
    expect(sessions.clock).toBe(clock);
  });

  it("while the store is down, safe requests go on from it, and writes are refused", async () => {
    const { browser, store } = setUp();
    const ada = browser();
    await ada.post((session) => session.login("ada"));
    await ada.user();
    store.fail();
    expect(await ada.user()).toBe("ada");
    await expect(ada.post(sets(1))).rejects.toMatchObject({ code: "store_unavailable" });
    store.recover();
    expect(await ada.user()).toBe("ada");
  });

  it("is left out where the session is too large for it, and an older one then counts no more", async () => {
    const { browser, store } = setUp();
    const ada = browser();
    await ada.post(sets(1));
    await ada.n();
    await ada.post(({ data }) => {
      data.n = 2;
      data.anything = "x".repeat(2000);
    });
    expect(ada.set).toEqual([VERSION]);
    const reads = store.calls("read");
    expect(await ada.n()).toBe(2);
    expect(ada.set).toEqual([]);
    expect(store.calls("read")).toBe(reads + 1);
  });

  it("login, elevate and renew change it, and one of the old secret is a miss", async () => {
    const { browser, store, clock } = setUp();
    const ada = browser();
    await ada.post(sets(1));
    await ada.n();
    for (const change of ["login", "elevate", "renew"] as const) {
      const old = ada.jar.get(SNAPSHOT);
      await clock.advance(1);
      await ada.post(async (session) => {
        if (change === "login") await session.login("ada");
        else await session[change]();
      });
      expect(ada.set).toEqual([SID, VERSION, SNAPSHOT]);
      ada.jar.set(SNAPSHOT, old as never);
      ada.jar.delete(VERSION);
      const reads = store.calls("read");
      expect(await ada.user()).toBe("ada");
      expect(store.calls("read")).toBe(reads + 1);
    }
  });

  it("a WebSocket upgrade reads the store", async () => {
    const { browser, sessions, store } = setUp();
    const ada = browser();
    await ada.post((session) => session.login("ada"));
    await ada.user();
    const reads = store.calls("read");
    const { session, finish } = await ada.begin({}, { upgrade: "websocket", origin: "https://shop.example" });
    expect(session.userId).toBe("ada");
    await finish();
    expect(store.calls("read")).toBe(reads + 1);
    expect(sessions).toBeDefined();
  });
});

describe("a snapshot that is no good is a miss, never a logout", () => {
  async function missed(spoil: (ada: Browser, scene: ReturnType<typeof setUp>) => unknown, settings: Settings = {}) {
    const scene = setUp(settings);
    const ada = scene.browser();
    await ada.post((session) => session.login("ada"));
    await ada.post(sets(1));
    expect(await ada.user()).toBe("ada");
    const reads = scene.store.calls("read");
    expect(await ada.user()).toBe("ada");
    expect(scene.store.calls("read")).toBe(reads);
    await spoil(ada, scene);
    const before = scene.store.calls("read");
    scene.events.length = 0;
    expect(await ada.get((session) => [session.userId, session.data.n])).toEqual(["ada", 1]);
    expect(scene.store.calls("read")).toBe(before + 1);
    expect(scene.events).toEqual([]);
    expect(ada.has(SID)).toBe(true);
  }
  const spoiled = (ada: Browser, change: (value: string) => string, name = SNAPSHOT) => {
    const cookie = ada.jar.get(name) as { value: string; until: number };
    ada.jar.set(name, { ...cookie, value: change(cookie.value) });
  };

  it("CK-17: with a bit flipped, cut short, of another version, or nonsense", async () => {
    const flip = (at: number) => (value: string) => {
      const bytes = Buffer.from(value, "base64url");
      bytes[at] = (bytes[at] as number) ^ 1;
      return bytes.toString("base64url");
    };
    for (const change of [flip(0), flip(3), flip(10), flip(40), (v: string) => v.slice(0, -5), () => "x", () => ""])
      await missed((ada) => spoiled(ada, change));
  });

  it("CK-17: the value of another cookie, and a sealed session of the same keys", async () => {
    await missed((ada) => spoiled(ada, () => (ada.jar.get(SID) as { value: string }).value));
    await missed(async (ada, { clock }) => {
      const sessions = createSessions<Visit>({ clock, cookie: { name: SNAPSHOT }, strategy: sealed({ keys: KEYS }) });
      const other = new Browser(sessions);
      await other.post((session) => session.login("ada"));
      spoiled(ada, () => (other.jar.get(SNAPSHOT) as { value: string }).value);
    });
  });

  it("CK-17: of another session, of the same user even", async () => {
    for (const user of ["ada", "eve"])
      await missed(async (ada, { browser }) => {
        const other = browser();
        await other.post((session) => session.login(user));
        ada.jar.delete(VERSION);
        spoiled(ada, () => (other.jar.get(SNAPSHOT) as { value: string }).value);
      });
  });

  it("older than it may be, although the client keeps it, or from the future", async () => {
    await missed(async (ada, { clock }) => {
      const kept = ada.jar.get(SNAPSHOT) as { value: string };
      await clock.advance(seconds(59));
      expect(ada.has(SNAPSHOT)).toBe(true);
      await clock.advance(seconds(1));
      ada.jar.set(SNAPSHOT, { ...kept, until: Number.POSITIVE_INFINITY });
    });
    await missed(async (ada, { store }) => {
      const clock = new TestClock(new TestClock().now() + seconds(10));
      const ahead = createSessions<Visit>({ clock, store, cache: snapshotCookie({ keys: KEYS }) });
      open.push(ahead);
      const there = ada.copy(ahead);
      await there.post(sets(1));
      await there.n();
      ada.jar = there.jar;
      ada.jar.delete(VERSION);
    });
  });

  it("older than the client's last write, or beside a version that cannot be read", async () => {
    await missed((ada) => spoiled(ada, (version) => String(Number(version) + 1), VERSION));
    for (const text of ["x", "-1", "1e3", "9".repeat(40)]) await missed((ada) => spoiled(ada, () => text, VERSION));
  });

  it("of a key that was retired; an old key still opens it", async () => {
    const clock = new TestClock();
    const store = memoryStore();
    const old = setUp({ clock, store, keys: [key(1)] });
    const ada = old.browser();
    await ada.post((session) => session.login("ada"));
    for (const [keys, cost] of [
      [[key(2), key(1)], 0],
      [[key(2)], 1],
    ] as const) {
      const scene = setUp({ clock, store, keys });
      const there = ada.copy(scene.sessions);
      await there.user();
      const cold = ada.copy(scene.sessions);
      const reads = scene.store.calls("read");
      expect(await cold.user()).toBe("ada");
      expect(scene.store.calls("read") - reads).toBe(cost);
    }
  });
});

describe("a snapshot without its session's cookie", () => {
  it("CK-17: opens nothing, not even beside the session's id and another secret", async () => {
    for (const settings of [{}, { store: silent() }]) {
      const { browser, events } = setUp(settings);
      const ada = browser();
      await ada.post((session) => session.login("ada"));
      await ada.user();
      const thief = ada.copy();
      thief.jar.delete(SID);
      expect(await thief.user()).toBeUndefined();
      const [id] = (ada.jar.get(SID)?.value ?? "").split(".");
      thief.jar.set(SID, { value: `${id}.${"A".repeat(43)}`, until: Number.POSITIVE_INFINITY });
      events.length = 0;
      expect(await thief.user()).toBeUndefined();
      expect(events).toMatchObject([{ type: "unknownToken", reason: "wrong-secret" }]);
    }
  });
});

describe("endings", () => {
  it("LO-01, LO-11: logout clears both cookies, and a copy of both is refused at once in every process", async () => {
    const clock = new TestClock();
    const store = memoryStore();
    const [here, there] = [setUp({ clock, store }), setUp({ clock, store })];
    const ada = here.browser();
    await ada.post((session) => session.login("ada"));
    await ada.user();
    const [copy, far] = [ada.copy(), ada.copy(there.sessions)];
    expect(await far.user()).toBe("ada");
    await ada.post((session) => session.logout());
    expect(ada.set).toEqual([`-${SID}`, `-${SNAPSHOT}`]);
    expect(await copy.user()).toBeUndefined();
    await clock.advance(seconds(1));
    expect(await far.user()).toBeUndefined();
  });

  it("LO-06, LO-11: revocation from outside bites at once", async () => {
    for (const how of ["one", "all", "everyone"] as const) {
      const { browser, sessions, clock } = setUp();
      const ada = browser();
      await ada.post((session) => session.login("ada"));
      const id = await ada.get((session) => session.id);
      await clock.advance(1);
      if (how === "one") await sessions.forUser("ada").revoke(id);
      else if (how === "all") await sessions.forUser("ada").revokeAll();
      else await sessions.revokeEveryone();
      expect(await ada.user()).toBeUndefined();
    }
  });

  it("a write that comes after the session was ended elsewhere is refused", async () => {
    const { browser, sessions } = setUp();
    const ada = browser();
    await ada.post((session) => session.login("ada"));
    await ada.user();
    const slow = await ada.begin();
    await sessions.forUser("ada").revokeAll();
    slow.session.data.n = 1;
    await expect(slow.finish()).rejects.toBeInstanceOf(SessionEndedError);
  });

  it("while the feed is behind, the store is read", async () => {
    const { browser, store, clock } = setUp();
    const ada = browser();
    await ada.post((session) => session.login("ada"));
    await ada.user();
    store.fail("revocations.read");
    await clock.advance(seconds(10));
    const reads = store.calls("read");
    expect(await ada.user()).toBe("ada");
    expect(store.calls("read")).toBe(reads + 1);
    store.recover();
  });

  it("LO-11: with a store that keeps no revocations a snapshot counts for 5 seconds, and that is the delay", async () => {
    const { browser, clock, store, sessions } = setUp({ store: silent() });
    const ada = browser();
    await ada.post((session) => session.login("ada"));
    await clock.advance(seconds(3));
    const reads = store.calls("read");
    expect(await ada.user()).toBe("ada");
    expect(store.calls("read")).toBe(reads);
    await sessions.forUser("ada").revokeAll();
    expect(await ada.user()).toBe("ada");
    await clock.advance(seconds(2));
    expect(await ada.user()).toBeUndefined();
  });

  it("LO-11: touching a session that ended does not make its snapshot count for longer", async () => {
    const clock = new TestClock();
    const store = new UnreliableStore(silent());
    const lifetime = { idle: seconds(10) };
    const sessions = createSessions<Visit>({ clock, store, lifetime, cache: snapshotCookie({ keys: KEYS }) });
    open.push(sessions);
    const ada = new Browser(sessions);
    await ada.post((session) => session.login("ada"));
    await sessions.forUser("ada").revokeAll();
    for (let second = 1; second < 5; second++) {
      await clock.advance(seconds(1));
      expect(await ada.user()).toBe("ada");
    }
    await clock.advance(seconds(1));
    expect(await ada.user()).toBeUndefined();
    expect(store.calls("touch")).toBeGreaterThan(0);
  });
});

it("refuses configurations that would not do what they seem to", async () => {
  const store = memoryStore();
  expect(() => snapshotCookie({ keys: [] })).toThrow(TypeError);
  for (const maxAge of [0, 999, hours(1), Number.NaN])
    expect(() => snapshotCookie({ keys: KEYS, maxAge })).toThrow("maxAge");
  const cache = snapshotCookie({ keys: KEYS, maxAge: minutes(1) });
  expect(() => createSessions({ store: silent(), cache })).toThrow("keeps revocations");
  expect(() => createSessions({ strategy: sealed({ keys: KEYS }), cache })).toThrow("leave strategy out");
  expect(() => createSessions({ store, cache, transport: headerTransport() })).toThrow("in a cookie");
});
