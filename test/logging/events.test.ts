import diagnostics from "node:diagnostics_channel";
import {
  CorruptRecordError,
  createSessions,
  hours,
  minutes,
  type Session,
  type SessionEvent,
  type Sessions,
  type SessionsOptions,
  seconds,
} from "coatcheck";
import { describe, expect, it, vi } from "vitest";
import {
  EVENTS,
  type Facts,
  facts,
  recorded,
  sets,
  TestClock,
  type UnreliableStore,
  type Visit,
  visit,
  watchedStore,
} from "../frameworks/support.ts";

interface Shop {
  readonly clock: TestClock;
  readonly store: UnreliableStore;
  readonly sessions: Sessions<Visit>;
  readonly events: SessionEvent[];
  /** Answers the cookie to go on with. */
  ask(cookie?: string, handler?: (session: Session<Visit>) => unknown, given?: Facts): Promise<string>;
}

function shop(options: Partial<SessionsOptions<Visit>> = {}): Shop {
  const clock = new TestClock();
  const store = watchedStore();
  const sessions = createSessions<Visit>({ store, clock, ...options });
  return {
    clock,
    store,
    sessions,
    events: recorded(sessions),
    async ask(cookie = "", handler = () => {}, { headers, ...given } = {}) {
      const answer = await visit(
        sessions,
        { ip: "198.51.100.7", ...given, headers: { cookie, "user-agent": "curl/8", ...headers } },
        handler,
      );
      return answer.cookie === "" || answer.cookie.endsWith("=") ? cookie : answer.cookie;
    },
  };
}

const login = (session: Session<Visit>) => session.login("ada");
const ignored = () => {};

/** A path: what comes before it, the path itself, and the events it makes. */
interface Path {
  readonly name: string;
  readonly options?: Partial<SessionsOptions<Visit>>;
  readonly before?: (shop: Shop) => Promise<string | undefined>;
  readonly run: (shop: Shop, cookie: string) => Promise<unknown>;
  readonly events: readonly object[];
  /** Whether no session is known to it. */
  readonly nameless?: boolean;
}

const signedIn = (shop: Shop) => shop.ask("", login);
const anonymous = (shop: Shop) => shop.ask("", sets(1));

const PATHS: readonly Path[] = [
  { name: "a first write", run: ({ ask }) => ask("", sets(1)), events: [{ type: "created" }] },
  {
    name: "a login of somebody new",
    run: ({ ask }) => ask("", login),
    events: [{ type: "created" }, { type: "login", userId: "ada" }],
  },
  {
    name: "a login of a known visitor",
    before: anonymous,
    run: ({ ask }, c) => ask(c, login),
    events: [{ type: "login", userId: "ada" }],
  },
  {
    name: "a login again",
    before: signedIn,
    run: ({ ask }, c) => ask(c, login),
    events: [{ type: "login", userId: "ada" }],
  },
  {
    name: "elevation",
    before: signedIn,
    run: ({ ask }, c) => ask(c, (s) => s.elevate()),
    events: [{ type: "elevated", userId: "ada" }],
  },
  {
    name: "a renewal on request",
    before: signedIn,
    run: ({ ask }, c) => ask(c, (s) => s.renew()),
    events: [{ type: "renewed", reason: "requested", userId: "ada" }],
  },
  {
    name: "a periodic renewal, for which several requests are in time",
    options: { lifetime: { renewEvery: minutes(1) } },
    before: async (shop) => {
      const cookie = await signedIn(shop);
      await shop.clock.advance(minutes(1));
      return cookie;
    },
    run: ({ ask }, c) => Promise.all([ask(c), ask(c), ask(c, sets(1))]),
    events: [{ type: "renewed", reason: "periodic", userId: "ada" }],
  },
  {
    name: "idle expiry",
    before: async (shop) => {
      const cookie = await signedIn(shop);
      await shop.clock.advance(minutes(30));
      shop.events.length = 0;
      return cookie;
    },
    run: ({ ask }, c) => ask(c),
    events: [{ type: "expired", reason: "idle", userId: "ada" }],
  },
  {
    name: "absolute expiry",
    options: { lifetime: { idle: hours(12) } },
    before: async (shop) => {
      const cookie = await signedIn(shop);
      await shop.clock.advance(hours(12));
      shop.events.length = 0;
      return cookie;
    },
    run: ({ ask }, c) => ask(c),
    events: [{ type: "expired", reason: "absolute", userId: "ada" }],
  },
  {
    name: "logout",
    before: signedIn,
    run: ({ ask }, c) => ask(c, (s) => s.logout()),
    events: [{ type: "logout", userId: "ada" }],
  },
  {
    name: "logout twice in one request",
    before: signedIn,
    run: ({ ask }, c) => ask(c, (s) => s.logout().then(() => s.logout())),
    events: [{ type: "logout" }],
  },
  { name: "logout of nobody", run: ({ ask }) => ask("", (s) => s.logout()), events: [] },
  {
    name: "destruction",
    before: signedIn,
    run: ({ ask }, c) => ask(c, (s) => s.destroy()),
    events: [{ type: "destroyed", userId: "ada" }],
  },
  {
    name: "revocation of one",
    before: signedIn,
    async run({ sessions }) {
      const [device] = await sessions.forUser("ada").list();
      expect(await sessions.forUser("eve").revoke(device?.id ?? "")).toBe(false);
      expect(await sessions.forUser("ada").revoke(device?.id ?? "")).toBe(true);
      expect(await sessions.forUser("ada").revoke(device?.id ?? "")).toBe(false);
    },
    events: [{ type: "revoked", reason: "one", count: 1, userId: "ada" }],
  },
  {
    name: "revocation of all",
    before: signedIn,
    run: ({ sessions }) => sessions.forUser("ada").revokeAll(),
    events: [{ type: "revoked", reason: "all", count: 1, userId: "ada" }],
    nameless: true,
  },
  {
    name: "revocation of everyone",
    before: signedIn,
    run: ({ sessions }) => sessions.revokeEveryone(),
    events: [{ type: "revoked", reason: "everyone", count: 1 }],
    nameless: true,
  },
  {
    name: "eviction at the limit",
    options: { sessionsPerUser: { max: 1, atLimit: "evict-oldest" } },
    before: async (shop) => {
      await signedIn(shop);
      await shop.clock.advance(1);
      shop.events.length = 0;
      return anonymous(shop);
    },
    run: ({ ask }, c) => ask(c, login),
    events: [
      { type: "revoked", reason: "limit", count: 1, userId: "ada" },
      { type: "login", userId: "ada" },
    ],
  },
  {
    name: "refusal at the limit",
    options: { sessionsPerUser: { max: 1, atLimit: "reject" } },
    before: async (shop) => {
      await signedIn(shop);
      return anonymous(shop);
    },
    run: ({ ask }, c) => ask(c, login).catch(ignored),
    events: [{ type: "limitReached", userId: "ada" }],
    nameless: true,
  },
  {
    name: "an old token while the new one is on its way",
    before: async (shop) => {
      const cookie = await signedIn(shop);
      await shop.ask(cookie, (s) => s.renew());
      return cookie;
    },
    run: ({ ask }, c) => ask(c),
    events: [{ type: "secretReused", reason: "in-flight", userId: "ada" }],
  },
  {
    name: "an old token later: a sign of theft",
    before: async (shop) => {
      const cookie = await signedIn(shop);
      await shop.ask(cookie, (s) => s.renew());
      await shop.clock.advance(seconds(10));
      return cookie;
    },
    run: ({ ask }, c) => ask(c),
    events: [{ type: "secretReused", reason: "replayed", userId: "ada" }],
  },
  {
    name: "a token of no session",
    run: ({ ask }) => ask(`__Host-Http-sid=${"A".repeat(22)}.${"B".repeat(43)}`),
    events: [{ type: "unknownToken", reason: "no-session" }],
    nameless: true,
  },
  {
    name: "a token with another secret",
    before: signedIn,
    run: ({ ask }, c) => ask(`${c.slice(0, -43)}${"B".repeat(43)}`),
    events: [{ type: "unknownToken", reason: "wrong-secret" }],
    nameless: true,
  },
  {
    name: "no token at all",
    run: ({ ask }) => ask("__Host-Http-sid=x"),
    events: [{ type: "malformedToken" }],
    nameless: true,
  },
  {
    name: "two cookies",
    before: signedIn,
    run: ({ ask }, c) => ask(`${c}; ${c}`),
    events: [{ type: "duplicateCookie" }],
    nameless: true,
  },
  ...(["sec-fetch-site", "origin"] as const).map(
    (reason): Path => ({
      name: `a request of another site, by ${reason}`,
      before: signedIn,
      run: ({ ask }, c) =>
        ask(c, undefined, {
          method: "POST",
          headers: { [reason]: reason === "origin" ? "https://evil.example" : "cross-site" },
        }).catch(ignored),
      events: [{ type: "csrfRejected", reason }],
      nameless: true,
    }),
  ),
  {
    name: "a request that proves nothing under strict",
    options: { csrf: { strict: true } },
    before: signedIn,
    run: ({ ask }, c) => ask(c, undefined, { method: "POST" }).catch(ignored),
    events: [{ type: "csrfRejected", reason: "no-evidence" }],
    nameless: true,
  },
  {
    name: "a wrong CSRF token",
    before: signedIn,
    run: ({ ask }, c) => ask(c, (s) => s.requireCsrfToken("x")).catch(ignored),
    events: [{ type: "csrfRejected", reason: "token", userId: "ada" }],
  },
  {
    name: "a conflict",
    before: signedIn,
    run: ({ ask }, c) =>
      ask(c, async (s) => {
        s.data.text = "a";
        await ask(c, (other) => {
          other.data.text = "b";
        });
      }).catch(ignored),
    events: [{ type: "conflict", keys: ["text"], userId: "ada" }],
  },
  {
    name: "a write after revocation",
    before: signedIn,
    run: ({ ask, store }, c) =>
      ask(c, async (s) => {
        s.data.n = 1;
        await store.remove(s.id);
      }).catch(ignored),
    events: [{ type: "lateWrite", reason: "gone", userId: "ada" }],
  },
  {
    name: "a write after expiry",
    before: signedIn,
    run: ({ ask, clock }, c) =>
      ask(c, (s) => {
        s.data.n = 1;
        // Not by advancing, where the clean-up would be first.
        const late = clock.now() + minutes(30);
        clock.now = () => late;
      }).catch(ignored),
    events: [{ type: "lateWrite", reason: "expired", userId: "ada" }],
  },
  {
    name: "a write after the token was renewed",
    before: signedIn,
    run: ({ ask }, c) =>
      ask(c, async (s) => {
        s.data.n = 1;
        await ask(c, (other) => other.renew());
      }).catch(ignored),
    events: [
      { type: "renewed", reason: "requested" },
      { type: "lateWrite", reason: "rotated", userId: "ada" },
    ],
  },
  {
    name: "a turn that did not come",
    before: signedIn,
    async run({ sessions, ask, clock }, c) {
      const first = await sessions.open(facts({ method: "POST", headers: { cookie: c } }));
      const second = ask(c, undefined, { method: "POST" });
      await clock.advance(seconds(5));
      await second;
      first.end();
    },
    events: [{ type: "turnTimedOut" }],
    nameless: true,
  },
  {
    name: "a record that cannot be understood",
    before: signedIn,
    run: ({ ask, store }, c) => {
      store.failNext("read", { error: new CorruptRecordError() });
      return ask(c);
    },
    events: [{ type: "corruptRecord" }],
    nameless: true,
  },
  {
    name: "a store that fails",
    before: signedIn,
    run: ({ ask, store }, c) => {
      store.failNext("read");
      return ask(c).catch(ignored);
    },
    events: [{ type: "storeUnavailable", operation: "read", cause: expect.any(Error) }],
    nameless: true,
  },
  {
    name: "a clean-up",
    before: async (shop) => {
      await signedIn(shop);
      // Not by the clock, which would clean up by itself.
      shop.clock.now = () => Date.UTC(2030, 0, 2);
      return undefined;
    },
    run: ({ sessions }) => sessions.cleanUp(),
    events: [{ type: "cleanedUp", count: 1 }],
    nameless: true,
  },
  {
    name: "a log of revocations that cannot be read for 5 seconds",
    before: async (shop) => {
      shop.sessions.revocationFeed(minutes(10)).start();
      await shop.clock.advance(0);
      shop.store.fail("revocations.read");
      // Polled each second; what it says of each failure came before.
      await shop.clock.advance(seconds(5));
      return undefined;
    },
    run: ({ clock }) => clock.advance(seconds(1)),
    events: [
      { type: "storeUnavailable", operation: "revocations.read" },
      { type: "revocationsBehind", whenBehind: "ask-store", freshAt: Date.UTC(2030, 0, 1) },
    ],
    nameless: true,
  },
  {
    name: "a log of revocations that can be read again",
    before: async (shop) => {
      shop.sessions.revocationFeed(minutes(10)).start();
      shop.store.fail("revocations.read");
      await shop.clock.advance(seconds(10));
      shop.store.recover();
      return undefined;
    },
    run: ({ clock }) => clock.advance(seconds(1)),
    events: [{ type: "revocationsCaughtUp" }],
    nameless: true,
  },
  { name: "reading", before: signedIn, run: ({ ask }, c) => ask(c, (s) => s.data.n), events: [] },
  { name: "a visitor without a session", run: ({ ask }) => ask(""), events: [] },
];

describe("events", () => {
  for (const { name, options, before, run, events: expected, nameless = false } of PATHS)
    it(`LG-02: ${name} makes ${expected.map((e) => (e as { type: string }).type).join(" and ") || "no event"}, once`, async () => {
      const subject = shop(options);
      const published: unknown[] = [];
      const subscriber = (message: unknown) => void published.push(message);
      const cookie = (await before?.(subject)) ?? "";
      for (const type of EVENTS) diagnostics.subscribe(`coatcheck:${type}`, subscriber);
      subject.events.length = 0;
      try {
        await run(subject, cookie);
      } finally {
        for (const type of EVENTS) diagnostics.unsubscribe(`coatcheck:${type}`, subscriber);
      }
      expect(subject.events).toEqual(expected.map((event) => expect.objectContaining(event)));
      for (const event of subject.events) {
        expect(event.at).toBe(subject.clock.now());
        if (!nameless) expect(event.sessionId).toMatch(/^[\w-]{22}$/);
        expect(Object.isFrozen(event)).toBe(true);
      }
      expect(published).toEqual(subject.events);
    });

  it("LG-02: every type of event is made by one of these paths", () => {
    const made = new Set(PATHS.flatMap(({ events }) => events.map((event) => (event as { type: string }).type)));
    expect([...made].sort()).toEqual([...EVENTS].sort());
  });

  it("LG-02: an event tells who and with what, and a listener that was taken away hears no more", async () => {
    const { sessions, ask } = shop();
    const heard: SessionEvent<"login">[] = [];
    const off = sessions.on("login", (event) => void heard.push(event));
    await ask("", login);
    off();
    await ask("", login);
    expect(heard).toEqual([
      {
        type: "login",
        at: Date.UTC(2030, 0, 1),
        sessionId: expect.stringMatching(/^[\w-]{22}$/),
        userId: "ada",
        device: { userAgent: "curl/8", ip: "198.51.100.0" },
      },
    ]);
  });

  it("LG-04: 1000 guesses are 1000 events", async () => {
    const { ask, events } = shop();
    for (let i = 0; i < 1000; i++)
      await ask(`__Host-Http-sid=${i % 2 === 0 ? "x" : `${"A".repeat(22)}.${String(i).padStart(43, "B")}`}`);
    const count = (type: string) => events.filter((event) => event.type === type).length;
    expect([count("malformedToken"), count("unknownToken"), events.length]).toEqual([500, 500, 1000]);
  });
});

describe("what a client can put into an event", () => {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/;

  it("LG-03: no control characters and never more than 256 of them", async () => {
    const { ask, events } = shop();
    const agents = [
      "a\r\n2030-01-01 INFO login user=admin",
      "\u001b[2J\u001b[31mred\u009b31m",
      "\u0000\u0007\u0008\u007f\u0085\u2028\u2029x",
      "x".repeat(1_048_576),
      "\r\n".repeat(524_288),
      "\ud83d\ude00".repeat(1000),
    ];
    for (const agent of agents) await ask("", login, { headers: { "user-agent": agent } });
    expect(events.filter(({ type }) => type === "login")).toHaveLength(agents.length);
    for (const { device } of events) {
      expect(device?.userAgent).not.toMatch(CONTROL);
      expect(device?.userAgent?.length).toBeLessThanOrEqual(256);
    }
    expect(events[1]?.device?.userAgent).toBe("a2030-01-01 INFO login user=admin");
  });

  it("LG-03: what is stored and listed of a device is as clean", async () => {
    const { ask, sessions } = shop();
    await ask("", login, { headers: { "user-agent": "a\r\n\u001b[31mb" }, ip: "198.51.100.7\r\nx" });
    const [device] = await sessions.forUser("ada").list();
    expect(device?.device).toEqual({ userAgent: "a[31mb" });
  });

  it("LG-03: an address is a network or nothing", async () => {
    const { ask, events } = shop();
    const addresses: [string, string | undefined][] = [
      ["198.51.100.7", "198.51.100.0"],
      ["::ffff:198.51.100.7", "198.51.100.0"],
      ["2001:DB8:1:2::7", "2001:db8:1::"],
      ["::1", "0:0:0::"],
      ["<script>alert(1)</script>", undefined],
      ["198.51.100.7\r\nSet-Cookie: x", undefined],
      ["\u001b[31m", undefined],
      ["x".repeat(1_048_576), undefined],
      [":".repeat(39), undefined],
    ];
    for (const [ip] of addresses) await ask("__Host-Http-sid=x", undefined, { ip });
    expect(events.map(({ device }) => device?.ip).slice(0, -1)).toEqual(
      addresses.map(([, network]) => network).slice(0, -1),
    );
    expect(events.at(-1)?.device?.ip ?? "").toMatch(/^[0-9a-f:]{0,20}$/);
  });

  it("LG-03: keys of the data and names of hosts come into messages escaped and cut", async () => {
    const { ask, sessions } = shop();
    const key = `\u001b[31m\r\nFAKE ${"k".repeat(500)}`;
    const cookie = await ask("", login);
    const conflict = (await ask(cookie, async (s) => {
      (s.data as Record<string, unknown>)[key] = 1;
      await ask(cookie, (other) => {
        (other.data as Record<string, unknown>)[key] = 2;
      });
    }).catch((error: unknown) => error)) as Error;
    const insecure = (await visit(sessions, { secure: false, host: `\u001b[31m\r\n${"h".repeat(5000)}` }, login).catch(
      (error: unknown) => error,
    )) as Error;
    for (const error of [conflict, insecure]) {
      expect(error).toBeInstanceOf(Error);
      expect(error.message).not.toMatch(CONTROL);
      expect(error.message.length).toBeLessThan(700);
    }
  });
});

describe("a listener that fails", () => {
  it("LG-03: changes nothing: not the request, not the session, not the other listeners", async () => {
    const { sessions, ask, store } = shop();
    const heard = vi.fn();
    const rejections = vi.fn();
    process.on("unhandledRejection", rejections);
    for (const type of EVENTS) {
      sessions.on(type, () => {
        throw new Error("the logger is full");
      });
      sessions.on(type, (async () => {
        throw new Error("the logger is far away");
      }) as never);
      sessions.on(type, ((event: { at: number; device?: object }) => {
        // Tries to change what others will see.
        event.at = 0;
      }) as never);
      sessions.on(type, heard);
    }
    const cookie = await ask("", login);
    expect(heard.mock.calls.map(([event]) => event.type)).toEqual(["created", "login"]);
    expect(heard.mock.calls.every(([event]) => event.at === Date.UTC(2030, 0, 1))).toBe(true);
    let user: string | undefined;
    await ask(cookie, (s) => {
      user = s.userId;
    });
    expect(user).toBe("ada");
    store.failNext("read");
    await expect(ask(cookie)).rejects.toMatchObject({ code: "store_unavailable" });
    await expect(
      ask(cookie, undefined, { method: "POST", headers: { "sec-fetch-site": "cross-site" } }),
    ).rejects.toMatchObject({
      code: "cross_site_request",
    });
    await ask(`${cookie}; ${cookie}`);
    await ask(cookie, (s) => s.logout());
    await new Promise((resolve) => setImmediate(resolve));
    expect(rejections).not.toHaveBeenCalled();
    process.off("unhandledRejection", rejections);
  });
});
