import { CsrfTokenError, days, HeadersSentError, minutes, SessionEndedError, StoreUnavailableError } from "coatcheck";
import { memoryStore } from "coatcheck/memory";
import { describe, expect, it } from "vitest";
import type { DeviceFacts } from "../../src/session/record.ts";
import { idOf, neverExpiring, opens, outcomes, type Settings, setUp, times, type VisitSession } from "./support.ts";

/** A visitor whose session is stored. */
async function visitor(settings?: Settings, user?: string) {
  const world = setUp(settings);
  const browser = world.client();
  await browser.request(async (session) => {
    session.data.cart = ["a"];
    if (user !== undefined) await session.login(user);
  });
  const id = idOf(browser.token);
  return {
    ...world,
    browser,
    id,
    isAlive: () => opens(world.sessions, browser.token),
    data: async () => Object.fromEntries((await world.stored(id))?.data ?? []),
  };
}

const post = (n: number) => (session: VisitSession) => {
  session.data.n = n;
};

describe("a session of an anonymous visitor", () => {
  it("CK-16: is nothing until something is written: no record, no token, no store call", async () => {
    const { client, store } = setUp();
    const browser = client();
    await browser.request((session) => {
      expect(session.isNew).toBe(true);
      expect(session.userId).toBeUndefined();
      expect(session.authenticatedAt).toBeUndefined();
      expect(session.expiresAt).toBeUndefined();
      expect(session.methods).toEqual([]);
      expect(session.id).toBe(session.id);
      void session.data.cart;
    });
    expect(browser.changes).toBe(0);
    expect(store.calls()).toBe(0);
  });

  it("is made by the first write, under the id that the handler saw", async () => {
    const { client, clock, stored } = setUp();
    const browser = client();
    const id = await browser.request((session) => {
      session.data.n = 1;
      return session.id;
    });
    expect(idOf(browser.token)).toBe(id);
    expect(await stored(id)).toMatchObject({
      version: 1,
      createdAt: clock.now(),
      expiresAt: clock.now() + minutes(30),
    });
  });

  it("CK-16: costs one read and no write when nothing changes, and one write when something does", async () => {
    const { browser, store } = await visitor();
    const before = store.calls();
    await browser.request((session) => JSON.stringify(session.data));
    expect(store.calls() - before).toBe(1);
    await browser.request(post(1));
    expect(store.calls() - before).toBe(3);
    expect(browser.changes).toBe(1);
    await Promise.all(times(100, () => browser.copy().request((session) => session.data.cart)));
    expect(store.calls("update")).toBe(1);
  });

  it("a deletion of an initial value alone makes a session that holds nothing of it", async () => {
    const { client } = setUp({ initial: { theme: "light" } } as Settings);
    const browser = client();
    await browser.request((session) => {
      expect(session.data.theme).toBe("light");
    });
    expect(browser.token).toBeUndefined();
  });
});

describe("commit", () => {
  it("saves once, in the order of the calls, and later changes by the next", async () => {
    const { browser, store, data } = await visitor();
    await browser.request(async (session) => {
      session.data.n = 1;
      const first = session.commit();
      const second = session.commit();
      await Promise.all([first, second]);
      expect(store.calls("update")).toBe(1);
      session.data.n = 2;
    });
    expect((await data()).n).toBe("2");
    expect(store.calls("update")).toBe(2);
  });

  it("waits for what a handler forgot to await", async () => {
    const { browser, data, isAlive, client } = await visitor();
    await browser.request((session) => {
      void session.login("alice");
      session.data.n = 1;
    });
    expect(await isAlive()).toBe(true);
    expect((await data()).n).toBe("1");
    await browser.request((session) => {
      expect(session.userId).toBe("alice");
      session.data.n = 2;
      void session.commit();
      session.data.n = 3;
      void session.renew();
      session.data.n = 4;
    });
    expect((await data()).n).toBe("4");
    const thief = client(browser.token);
    await browser.request((session) => void session.logout());
    expect(browser.token).toBeUndefined();
    await thief.request((session) => expect(session.isNew).toBe(true));
  });

  it("a failed one can be tried again, and nothing is written twice", async () => {
    const { browser, store, data } = await visitor();
    await browser.request(async (session) => {
      session.update("cart", (cart) => void cart?.push("b"));
      store.failNext("update");
      await expect(session.commit()).rejects.toBeInstanceOf(StoreUnavailableError);
      await session.commit();
      await session.commit();
    });
    expect((await data()).cart).toBe('["a","b"]');
  });

  it("RN-07: one whose answer was lost is never made twice: it is refused until the next request", async () => {
    const { browser, store, data, client } = await visitor();
    for (const other of [false, true]) {
      const request = browser.request(async (session) => {
        session.update("cart", (cart) => void cart?.push(`b${other}`));
        store.loseAnswer("update");
        await expect(session.commit()).rejects.toBeInstanceOf(StoreUnavailableError);
        if (other) await client(browser.token).request((own) => own.update("cart", (cart) => void cart?.push("c")));
        await expect(session.takeFlash()).resolves.toEqual([]);
        await expect(session.renew()).rejects.toBeInstanceOf(StoreUnavailableError);
      });
      await expect(request).rejects.toBeInstanceOf(StoreUnavailableError);
    }
    expect((await data()).cart).toBe('["a","bfalse","btrue","c"]');
  });

  it("gives up when other requests keep being first, and says so", async () => {
    const inner = memoryStore();
    let attempts = 0;
    const { client, types } = setUp({
      store: {
        ...neverExpiring(inner),
        async update(id, version, patch) {
          attempts++;
          await inner.update(id, version, {});
          return inner.update(id, version, patch);
        },
      },
    });
    const browser = client();
    await browser.request(post(1));
    const request = browser.request((session) => void session.update("n", (n) => (n ?? 0) + 1));
    await expect(request).rejects.toMatchObject({ code: "session_conflict", keys: [] });
    expect(attempts).toBe(32);
    expect(types()).toContain("conflict");
  });

  it("RN-07: thirty parallel updates over safe methods all count", async () => {
    const { browser, data } = await visitor();
    const add = () => browser.copy().request((session) => void session.update("n", (n) => (n ?? 0) + 1));
    const { errors } = await outcomes(times(30, add));
    expect(errors).toEqual([]);
    expect((await data()).n).toBe("30");
  });
});

describe("RN-06: a write that comes late", () => {
  const ends: [string, string, (world: Awaited<ReturnType<typeof visitor>>) => Promise<unknown>][] = [
    ["logout", "gone", ({ browser }) => browser.copy().request((session) => session.logout())],
    ["destroy", "gone", ({ browser }) => browser.copy().request((session) => session.destroy())],
    ["expiry", "expired", ({ clock }) => clock.advance(minutes(30) - 1).then(() => clock.advance(1))],
    [
      "expiry and clean-up",
      "gone",
      async ({ clock, sessions }) => {
        await clock.advance(minutes(30));
        await sessions.cleanUp();
      },
    ],
    ["revoke", "gone", ({ sessions, id }) => sessions.forUser("alice").revoke(id)],
    ["revokeAll", "gone", ({ sessions }) => sessions.forUser("alice").revokeAll()],
    ["revokeEveryone", "gone", ({ sessions }) => sessions.revokeEveryone()],
    ["login", "rotated", ({ browser }) => browser.copy().request((session) => session.login("alice"))],
    ["another user's login", "gone", ({ browser }) => browser.copy().request((session) => session.login("bob"))],
    ["elevate", "rotated", ({ browser }) => browser.copy().request((session) => session.elevate())],
    ["renew", "rotated", ({ browser }) => browser.copy().request((session) => session.renew())],
  ];

  const writes: [string, (session: VisitSession) => unknown][] = [
    ["an assignment", (session) => Object.assign(session.data, { secret: "late" })],
    ["an update", (session) => session.update("secret", () => "late")],
    ["a flash", (session) => session.flash("info", "late")],
    ["elevate", (session) => session.elevate()],
    ["renew", (session) => session.renew()],
  ];

  for (const [what, write] of writes)
    it.each(ends)(`${what} after %s is refused and reported, and leaves nothing`, async (_, reason, end) => {
      const world = await visitor({}, "alice");
      const { browser, stored, id, events } = world;
      const slow = await browser.copy().open();
      await end(world);
      const before = await stored(id);
      const late = async () => {
        await write(slow.session);
        await slow.finish();
      };
      await expect(late()).rejects.toBeInstanceOf(SessionEndedError);
      expect(events.at(-1)).toMatchObject({ type: "lateWrite", reason, sessionId: id });
      expect(await stored(id)).toEqual(before);
      if (reason === "gone") expect(before).toBeUndefined();
      expect(JSON.stringify([...((await stored(id))?.data ?? [])])).not.toContain("late");
      slow.answer();
      // And it goes on being refused, however often it is tried, without a new token.
      await expect(slow.session.commit().then(() => late())).rejects.toThrow();
      expect(slow.session.outgoing).toBeUndefined();
    });

  it("a reader that comes late changes nothing and is told nothing", async () => {
    for (const [, , end] of ends) {
      const world = await visitor({}, "alice");
      const reader = world.browser.copy();
      const slow = await reader.open();
      expect(slow.session.data.cart).toEqual(["a"]);
      await end(world);
      const before = await world.stored(world.id);
      await slow.finish();
      expect(await world.stored(world.id)).toEqual(before);
      expect(reader.changes).toBe(0);
    }
  });

  it("is accepted when another request has kept the session alive", async () => {
    const { browser, clock, data } = await visitor();
    const slow = await browser.copy().open();
    await clock.advance(minutes(29));
    await browser.request(() => {});
    await clock.advance(minutes(2));
    slow.session.data.n = 1;
    await slow.finish();
    expect((await data()).n).toBe("1");
  });

  it("sees nothing of what was stored under the new secret", async () => {
    const { browser, client } = await visitor();
    const slow = await client(browser.token).open();
    await browser.request(async (session) => {
      await session.login("alice");
      session.data.secret = "alice's";
    });
    slow.session.data.n = 1;
    await expect(slow.finish()).rejects.toBeInstanceOf(SessionEndedError);
    expect(slow.session.userId).toBeUndefined();
    expect(slow.session.data.secret).toBeUndefined();
  });
});

describe("logout", () => {
  it("LO-01: removes the record before it resolves; every copy of the token is useless, and the client forgets it", async () => {
    const { browser, client, stored, id } = await visitor({}, "alice");
    const copy = client(browser.token);
    await browser.request(async (session) => {
      await session.logout();
      expect(await stored(id)).toBeUndefined();
      expect(session.userId).toBeUndefined();
      expect(session.id).not.toBe(id);
      expect({ ...session.data }).toEqual({});
    });
    expect(browser.token).toBeUndefined();
    await copy.request((session) => expect(session.isNew).toBe(true));
  });

  it("LO-01: is an error when the store cannot delete, and the session is alive and keeps its token", async () => {
    const { browser, store, isAlive } = await visitor({}, "alice");
    store.failNext("remove");
    await expect(browser.request((session) => session.logout())).rejects.toBeInstanceOf(StoreUnavailableError);
    expect(await isAlive()).toBe(true);
    expect(browser.changes).toBe(1);
    await browser.request((session) => session.logout());
    expect(browser.token).toBeUndefined();
  });

  it("LO-03: without a session is harmless, however often", async () => {
    const { client, store } = setUp();
    const browser = client();
    for (let i = 0; i < 3; i++)
      await browser.request(async (session) => {
        await session.logout();
        await session.logout();
      });
    expect(store.calls()).toBe(0);
  });

  it("what is written afterwards belongs to a new, anonymous session, by whatever reference", async () => {
    const { browser, stored, id } = await visitor({}, "alice");
    await browser.request(async (session) => {
      const { data } = session;
      session.flash("info", "for alice");
      const csrf = await session.csrfToken();
      await session.logout();
      await expect(session.requireCsrfToken(csrf)).rejects.toBeInstanceOf(CsrfTokenError);
      data.theme = "dark";
      session.flash("info", "bye");
    });
    expect(idOf(browser.token)).not.toBe(id);
    expect(await stored(id)).toBeUndefined();
    await browser.request(async (session) => {
      expect(session.userId).toBeUndefined();
      expect({ ...session.data }).toEqual({ theme: "dark" });
      expect(await session.takeFlash()).toEqual([{ kind: "info", message: "bye" }]);
    });
  });

  it("by a token that was rotated out a moment ago is refused, and never said to be done", async () => {
    const { browser, isAlive } = await visitor({}, "alice");
    const tab = browser.copy();
    await browser.request((session) => session.elevate());
    await expect(tab.request((session) => session.logout())).rejects.toMatchObject({ reason: "rotated", status: 409 });
    expect(tab.changes).toBe(0);
    expect(await isAlive()).toBe(true);
  });

  it("beats a login, an elevation and a renewal that are under way", async () => {
    for (const rotate of ["elevate", "renew"] as const) {
      const { browser, store, isAlive, stored, id } = await visitor({}, "alice");
      const other = browser.copy();
      const hold = store.hold("update");
      const rotation = other.request((session) => session[rotate]());
      await hold.reached;
      await browser.copy().request((session) => session.logout());
      hold.release();
      await expect(rotation).rejects.toBeInstanceOf(SessionEndedError);
      expect(await stored(id)).toBeUndefined();
      expect(await isAlive()).toBe(false);
    }
  });

  it("LO-10: kills everything that hangs on the session: token, CSRF token, list entry, flash messages", async () => {
    const { browser, client, sessions, id, events } = await visitor({}, "alice");
    const copy = client(browser.token);
    const csrf = await browser.request((session) => {
      session.flash("info", "x");
      return session.csrfToken();
    });
    await browser.request((session) => session.logout());
    await copy.request(async (session) => {
      await expect(session.requireCsrfToken(csrf)).rejects.toBeInstanceOf(CsrfTokenError);
      expect(await session.takeFlash()).toEqual([]);
      expect(session.userId).toBeUndefined();
    });
    expect(await sessions.forUser("alice").list()).toEqual([]);
    expect(events.filter(({ type }) => type === "logout")).toMatchObject([{ sessionId: id, userId: "alice" }]);
  });
});

describe("flash messages", () => {
  it("are taken once, of one kind or of all", async () => {
    const { browser, store } = await visitor();
    await browser.request((session) => {
      session.flash("info", "saved");
      session.flash("error", "oops");
      session.flash("info", "again");
    });
    await browser.request(async (session) => {
      expect(await session.takeFlash("error")).toEqual([{ kind: "error", message: "oops" }]);
      expect(await session.takeFlash("error")).toEqual([]);
      session.flash("info", "own");
      expect(await session.takeFlash()).toEqual(
        ["saved", "again", "own"].map((message) => ({ kind: "info", message })),
      );
    });
    const writes = store.calls("update");
    await browser.request(async (session) => expect(await session.takeFlash()).toEqual([]));
    expect(store.calls("update")).toBe(writes);
  });

  it("RN-07: of 50 parallel takers exactly one gets each message", async () => {
    const { browser } = await visitor();
    await browser.request((session) => times(5, (index) => session.flash("info", String(index))));
    const { values, errors } = await outcomes(
      times(50, (index) => browser.copy().request((session) => session.takeFlash(index % 2 ? "info" : undefined))),
    );
    expect(errors).toEqual([]);
    expect(values.filter((taken) => taken.length > 0)).toEqual([
      times(5, (i) => ({ kind: "info", message: String(i) })),
    ]);
  });

  it("RN-07: taking and adding at once loses and doubles none, nor an update that is not saved yet", async () => {
    const { browser, data } = await visitor();
    await browser.request((session) => session.flash("info", "first"));
    const slow = await browser.copy().open();
    slow.session.update("n", (n) => (n ?? 0) + 1);
    await browser.request((session) => {
      session.flash("info", "second");
      session.update("n", (n) => (n ?? 0) + 1);
    });
    expect((await slow.session.takeFlash()).map(({ message }) => message)).toEqual(["first", "second"]);
    await slow.finish();
    expect((await data()).n).toBe("2");
    await browser.request(async (session) => expect(await session.takeFlash()).toEqual([]));
  });

  it("survive a login and a renewal, and end with the session", async () => {
    const { browser } = await visitor();
    await browser.request(async (session) => {
      session.flash("info", "welcome");
      await session.login("alice");
    });
    await browser.request((session) => session.renew());
    await browser.request(async (session) => expect(await session.takeFlash()).toHaveLength(1));
  });

  it("are texts of at most 8 KiB", async () => {
    const { browser } = await visitor();
    await expect(browser.request((session) => session.flash("info", 1 as never))).rejects.toThrow(TypeError);
    await expect(browser.request((session) => session.flash("info", "x".repeat(9000)))).rejects.toMatchObject({
      code: "session_too_large",
    });
  });

  it("a failing store fails the taking, and the messages wait", async () => {
    const { browser, store } = await visitor();
    await browser.request((session) => session.flash("info", "x"));
    store.failNext("update");
    await expect(browser.request((session) => session.takeFlash())).rejects.toBeInstanceOf(StoreUnavailableError);
    await browser.request(async (session) => expect(await session.takeFlash()).toHaveLength(1));
  });
});

describe("CSRF tokens", () => {
  it("CS-07: belong to the session and its secret; every one is another text", async () => {
    const { browser } = await visitor();
    const [one, two] = await browser.request((session) => Promise.all([session.csrfToken(), session.csrfToken()]));
    expect(one).not.toBe(two);
    await browser.request(async (session) => {
      await session.requireCsrfToken(one);
      await session.requireCsrfToken(two);
      for (const bad of [
        undefined,
        "",
        "x",
        one?.slice(1),
        `${one}x`,
        one?.replace(/^./, (c) => (c === "A" ? "B" : "A")),
      ])
        await expect(session.requireCsrfToken(bad)).rejects.toBeInstanceOf(CsrfTokenError);
    });
    await browser.request((session) => session.login("alice"));
    await browser.request(async (session) => {
      await expect(session.requireCsrfToken(one)).rejects.toBeInstanceOf(CsrfTokenError);
    });
  });

  it("CS-07: of another session is refused", async () => {
    const { browser, client } = await visitor();
    const other = client();
    const token = await other.request((session) => session.csrfToken());
    await other.request((session) => session.requireCsrfToken(token));
    await expect(browser.request((session) => session.requireCsrfToken(token))).rejects.toBeInstanceOf(CsrfTokenError);
  });
});

describe("after the head of the response has left", () => {
  it("RN-09: what needs to send a token fails loudly, and changes nothing", async () => {
    const { browser, client, isAlive, stored, id } = await visitor({}, "alice");
    const open = await browser.open();
    open.answer();
    const before = await stored(id);
    for (const change of [
      () => open.session.login("alice"),
      () => open.session.login("bob"),
      () => open.session.elevate(),
      () => open.session.renew(),
      () => open.session.logout(),
      () => open.session.destroy(),
    ])
      await expect(change()).rejects.toBeInstanceOf(HeadersSentError);
    expect(await stored(id)).toEqual(before);
    expect(await isAlive()).toBe(true);
    const anonymous = await client().open();
    anonymous.answer();
    anonymous.session.data.n = 1;
    await expect(anonymous.session.commit()).rejects.toBeInstanceOf(HeadersSentError);
    await expect(anonymous.session.login("alice")).rejects.toBeInstanceOf(HeadersSentError);
  });

  it("data of a stored session can still be saved, and a renewal that is due waits for the next request", async () => {
    const { browser, data, clock } = await visitor({ lifetime: { renewEvery: minutes(1) } });
    const { token } = browser;
    await clock.advance(minutes(1));
    const open = await browser.open({ passive: true });
    open.answer();
    open.session.data.n = 1;
    await open.session.commit();
    expect((await data()).n).toBe("1");
    expect(browser.token).toBe(token);
    await browser.request(() => {});
    expect(browser.token).not.toBe(token);
  });
});

describe("SC-06: while the store is down", () => {
  it("every request that brings a token is refused, and keeps it; it works after the recovery", async () => {
    const { browser, store, isAlive } = await visitor({}, "alice");
    const { token } = browser;
    store.fail();
    for (const method of ["GET", "POST"])
      await expect(browser.request(() => {}, { method })).rejects.toMatchObject({ status: 503, retryAfter: 5 });
    expect(browser.token).toBe(token);
    store.recover();
    expect(await isAlive()).toBe(true);
  });

  it("no write of any kind changes the token or ends the session", async () => {
    const writes: ((session: VisitSession) => unknown)[] = [
      post(1),
      (session) => session.flash("info", "x"),
      (session) => session.login("alice"),
      (session) => session.login("bob"),
      (session) => session.elevate(),
      (session) => session.renew(),
      (session) => session.logout(),
      (session) => session.destroy(),
      (session) => session.commit().then(() => session.login("bob")),
    ];
    for (const write of writes) {
      const { browser, store, isAlive, data } = await visitor({}, "alice");
      const open = await browser.open();
      store.fail();
      const request = (async () => {
        await write(open.session);
        await open.finish();
      })();
      await expect(request).rejects.toBeInstanceOf(StoreUnavailableError);
      store.recover();
      // The handler may go on after the failure and answer as if nothing had been.
      await open.finish().catch(() => {});
      expect(browser.changes).toBe(1);
      expect(await isAlive()).toBe(true);
      expect((await data()).cart).toBe('["a"]');
    }
  });

  it("a login that fails leaves the visitor's own session as it was, also for the rest of the request", async () => {
    for (const keepAtLogin of [true, false, ["cart" as const]]) {
      const { browser, store, isAlive } = await visitor({ keepAtLogin });
      await browser.request(async (session) => {
        session.data.theme = "dark";
        store.fail();
        await expect(session.login("alice")).rejects.toBeInstanceOf(StoreUnavailableError);
        store.recover();
        expect(session.userId).toBeUndefined();
        expect({ ...session.data }).toEqual({ cart: ["a"], theme: "dark" });
        session.data.n = 1;
      });
      expect(browser.changes).toBe(1);
      expect(await isAlive()).toBe(true);
      await browser.request((session) => expect({ ...session.data }).toEqual({ cart: ["a"], theme: "dark", n: 1 }));
    }
  });

  it("a route may go on anonymously: nothing can be written, and the token stays", async () => {
    const { browser, store, isAlive } = await visitor({}, "alice");
    const down = { storeDown: "anonymous" } as const;
    store.fail();
    await browser.request((session) => {
      expect(session.isNew).toBe(true);
      expect(session.userId).toBeUndefined();
      expect(session.data.cart).toBeUndefined();
    }, down);
    for (const write of [
      post(1),
      (session: VisitSession) => session.login("alice"),
      (session: VisitSession) => session.logout(),
      (session: VisitSession) => session.flash("info", "x"),
    ])
      await expect(browser.request(write, down)).rejects.toBeInstanceOf(StoreUnavailableError);
    store.recover();
    expect(browser.changes).toBe(1);
    expect(await isAlive()).toBe(true);
  });

  it("a failed request of a new visitor gives no token; the next one does", async () => {
    const { client, store } = setUp();
    const browser = client();
    store.failNext("create");
    await expect(browser.request(post(1))).rejects.toBeInstanceOf(StoreUnavailableError);
    expect(browser.token).toBeUndefined();
    await browser.request(post(1));
    expect(browser.token).toBeDefined();
  });

  it("a commit that failed before anything was written can be tried again, under another id", async () => {
    const { client, store } = setUp();
    const browser = client();
    await browser.request(async (session) => {
      session.data.n = 1;
      const { id } = session;
      store.failNext("create");
      await expect(session.commit()).rejects.toBeInstanceOf(StoreUnavailableError);
      expect(session.id).not.toBe(id);
    });
    await browser.request((session) => expect(session.data.n).toBe(1));
  });

  it("a slow store is a store that is down", async () => {
    const { browser, store, clock, isAlive } = await visitor();
    store.hold("update");
    const request = browser.request(post(1));
    const refused = expect(request).rejects.toBeInstanceOf(StoreUnavailableError);
    await clock.advance(2000);
    await refused;
    store.recover();
    expect(await isAlive()).toBe(true);
  });
});

describe("a lost answer", () => {
  it("to a new token is made good, because the stored secret proves the write", async () => {
    const { browser, store, isAlive, client } = await visitor();
    for (const rotate of [
      (session: VisitSession) => session.login("alice"),
      (session: VisitSession) => session.elevate(),
      (session: VisitSession) => session.renew(),
      (session: VisitSession) => session.login("bob"),
    ]) {
      const before = browser.token;
      store.loseAnswer("update");
      store.loseAnswer("create");
      await browser.request(rotate);
      store.recover();
      expect(browser.token).not.toBe(before);
      expect(await isAlive()).toBe(true);
      await client(before).request((session) => expect(session.isNew).toBe(true));
    }
    const newcomer = client();
    store.loseAnswer("create");
    await newcomer.request(post(1));
    await newcomer.request((session) => expect(session.data.n).toBe(1));
  });

  it("that cannot be asked for again is an error; the token that is in force is unknown, and nothing is doubled", async () => {
    const { browser, store, sessions, data } = await visitor({}, "alice");
    const open = await browser.open();
    store.loseAnswer("update");
    store.failNext("read");
    await expect(open.session.renew()).rejects.toBeInstanceOf(StoreUnavailableError);
    open.session.data.n = 1;
    await expect(open.finish()).rejects.toBeInstanceOf(StoreUnavailableError);
    expect(await data()).toEqual({ cart: '["a"]' });
    expect(await sessions.forUser("alice").list()).toHaveLength(1);
  });

  it("to logout is an error, and the logout stands", async () => {
    const { browser, store, isAlive } = await visitor({}, "alice");
    store.loseAnswer("remove");
    await expect(browser.request((session) => session.logout())).rejects.toBeInstanceOf(StoreUnavailableError);
    expect(await isAlive()).toBe(false);
    await browser.request((session) => session.logout());
  });
});

describe("a session shows", () => {
  it("its facts, and no secret in JSON", async () => {
    const { browser, clock, id } = await visitor({}, "alice");
    await clock.advance(1000);
    await browser.request((session) => {
      expect(session.toJSON()).toEqual({ id, isNew: false, userId: "alice", createdAt: clock.now() - 1000 });
      expect(session.lastSeenAt).toBe(clock.now() - 1000);
      expect(session.expiresAt).toBe(clock.now() - 1000 + minutes(30));
    });
  });

  it("CC-06: what was seen of the client is kept with the record", async () => {
    const { client, stored } = setUp();
    const browser = client();
    await browser.request(post(1), { userAgent: "UA", ip: "203.0.113.1" });
    const device: DeviceFacts | undefined = (await stored(idOf(browser.token)))?.meta.device;
    expect(device).toEqual({ userAgent: "UA", ip: "203.0.113.0" });
  });

  it("refuses misuse by the programmer with TypeError", async () => {
    const { browser } = await visitor();
    for (const userId of ["", undefined, 1, "x".repeat(257)])
      await expect(browser.request((session) => session.login(userId as string))).rejects.toThrow(TypeError);
    await expect(browser.request((session) => session.elevate())).rejects.toThrow(TypeError);
    expect(() => setUp({ store: undefined as never, maxDataBytes: 0 })).toThrow(TypeError);
    expect(() => setUp({ onConflict: "ask" as never })).toThrow(TypeError);
  });

  it("refuses to wait for a time that no timer can wait, which would be over at once", () => {
    for (const length of [0, -1, Number.NaN, Number.POSITIVE_INFINITY, days(1) + 1]) {
      expect(() => setUp({ storeTimeout: length })).toThrow(TypeError);
      expect(() => setUp({ turns: { wait: length } })).toThrow(TypeError);
    }
    setUp({ storeTimeout: days(1), turns: { wait: 1 } });
  });
});
