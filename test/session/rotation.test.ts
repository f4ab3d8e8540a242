import { minutes, SessionEndedError, StoreUnavailableError, seconds } from "coatcheck";
import { describe, expect, it } from "vitest";
import { hashSecret, parseToken } from "../../src/session/token.ts";
import { type Client, idOf, opens, outcomes, type Settings, setUp, times, type VisitSession } from "./support.ts";

const SECRETS_OF = (clients: readonly Client[]) => [...new Set(clients.map(({ token }) => token))];

/** A visitor with a cart; logged in, if a user is named. */
async function visitor(settings?: Settings, user?: string) {
  const world = setUp(settings);
  const browser = world.client();
  await browser.request(async (session) => {
    session.data.cart = ["a"];
    session.data.theme = "dark";
    if (user !== undefined) await session.login(user);
  });
  return {
    ...world,
    browser,
    id: idOf(browser.token),
    isAlive: (token = browser.token) => opens(world.sessions, token),
  };
}

const rotations = {
  login: (session: VisitSession) => session.login("alice"),
  elevate: (session: VisitSession) => session.elevate({ methods: ["otp"] }),
  renew: (session: VisitSession) => session.renew(),
};

describe("RN-01: the secret changes and the old token dies", () => {
  it("at login, also for whoever planted the anonymous token", async () => {
    const { browser, client, isAlive, id, clock } = await visitor();
    const attacker = client(browser.token);
    await browser.request((session) => session.login("alice"));
    expect(browser.token).not.toBe(attacker.token);
    expect(idOf(browser.token)).toBe(id);
    expect(await isAlive()).toBe(true);
    for (const wait of [0, seconds(9), seconds(2), minutes(5)]) {
      await clock.advance(wait);
      await attacker.request((session) => {
        expect(session.isNew).toBe(true);
        expect(session.userId).toBeUndefined();
        expect(session.data.cart).toBeUndefined();
      });
    }
  });

  it.each(["login", "elevate", "renew"] as const)("at %s, in one write", async (how) => {
    const { browser, isAlive, store, stored, id } = await visitor({}, "alice");
    const old = browser.token;
    const writes = () => store.calls("update") + store.calls("create") + store.calls("remove");
    const before = writes();
    await browser.request((session) => {
      session.data.n = 1;
      return rotations[how](session);
    });
    expect(writes() - before).toBe(1);
    expect(browser.token).not.toBe(old);
    expect(await isAlive(old)).toBe(false);
    expect(await isAlive()).toBe(true);
    const hash = await hashSecret(parseToken(browser.token ?? "")?.secret as never);
    expect((await stored(id))?.secretHash).toBe(hash);
  });

  it("at a login while the session idles out: a touch that is still on its way does not revive it", async () => {
    const { browser, clock, id, isAlive, store, stored } = await visitor();
    const old = browser.token;
    const slow = await browser.open();
    await clock.advance(minutes(30));
    await slow.session.login("alice");
    expect(slow.session.data.cart).toEqual(["a"]);
    slow.answer();
    expect(await store.touch(id, clock.now() - 1, clock.now() + minutes(30))).toBe(false);
    expect(await stored(id)).toBeUndefined();
    expect(await isAlive(old)).toBe(false);
    expect(await isAlive()).toBe(true);
  });

  it("at a login without a session yet, under an id that no cookie named", async () => {
    const { client } = setUp();
    const browser = client();
    const seen = await browser.request(async (session) => {
      const before = session.id;
      await session.login("alice", { methods: ["pwd"] });
      expect(session.methods).toEqual(["pwd"]);
      return [before, session.id];
    });
    expect(seen[0]).not.toBe(seen[1]);
    expect(idOf(browser.token)).toBe(seen[1]);
  });

  it("twice in one request: the last token counts, and none before it", async () => {
    const { browser, isAlive, id } = await visitor();
    const sent: string[] = [];
    const old = browser.token as string;
    await browser.request(async (session) => {
      await session.login("alice");
      sent.push((session.outgoing as { token: string }).token);
      await session.login("alice");
      sent.push((session.outgoing as { token: string }).token);
      await session.elevate();
      session.data.n = 1;
    });
    for (const token of [old, ...sent]) expect(await isAlive(token)).toBe(false);
    expect(idOf(browser.token)).toBe(id);
    await browser.request((session) => expect(session.data).toMatchObject({ cart: ["a"], n: 1 }));
  });

  it("of both, when a second user logs in within one request; the first one's session is gone", async () => {
    const { browser, sessions, stored, id } = await visitor();
    await browser.request(async (session) => {
      await session.login("alice");
      session.data.secret = "alice's";
      await session.login("bob");
      session.data.n = 1;
    });
    expect(await stored(id)).toBeUndefined();
    expect(await sessions.forUser("alice").list()).toEqual([]);
    await browser.request((session) => {
      expect(session.userId).toBe("bob");
      expect({ ...session.data }).toEqual({ n: 1 });
    });
  });

  it("elevate adds methods and restarts the authentication, and both need a user", async () => {
    const { browser, clock } = await visitor({}, "alice");
    await clock.advance(minutes(10));
    await browser.request((session) => session.login("alice", { methods: ["pwd"] }));
    await browser.request((session) => session.elevate({ methods: ["otp", "pwd"] }));
    await browser.request((session) => {
      expect(session.methods).toEqual(["pwd", "otp"]);
      expect(session.authenticatedAt).toBe(clock.now());
      expect(session.userId).toBe("alice");
    });
  });

  it("renew does nothing for a session that was never stored", async () => {
    const { client, store } = setUp();
    const browser = client();
    await browser.request((session) => session.renew());
    expect(browser.token).toBeUndefined();
    expect(store.calls()).toBe(0);
  });
});

describe("RN-03: what survives", () => {
  it.each<[string, Settings["keepAtLogin"], object]>([
    ["everything by default", undefined, { cart: ["a"], theme: "dark", n: 1 }],
    ["everything", true, { cart: ["a"], theme: "dark", n: 1 }],
    ["nothing", false, {}],
    ["what is listed", ["cart", "n"], { cart: ["a"], n: 1 }],
    ["nothing of an empty list", [], {}],
  ])("of an anonymous visitor at login: %s", async (_, keepAtLogin, expected) => {
    const settings = keepAtLogin === undefined ? {} : { keepAtLogin };
    const { browser, isAlive, client, stored, id } = await visitor(settings);
    const old = browser.token;
    await browser.request(async (session) => {
      session.data.n = 1;
      await session.login("alice");
      expect({ ...session.data }).toEqual(expected);
      session.data.secret = "s";
    });
    await browser.request((session) => expect({ ...session.data }).toEqual({ ...expected, secret: "s" }));
    expect(await isAlive(old)).toBe(false);
    if (keepAtLogin !== undefined && keepAtLogin !== true) expect(await stored(id)).toBeUndefined();
    // The same for one whose session was not stored yet.
    const newcomer = client();
    await newcomer.request(async (session) => {
      Object.assign(session.data, { cart: ["a"], theme: "dark", n: 1 });
      await session.login("alice");
    });
    await newcomer.request((session) => expect({ ...session.data }).toEqual(expected));
  });

  it("what one user had does not come to the next, whatever the settings", async () => {
    for (const keepAtLogin of [true, false, ["cart" as const, "secret" as const]]) {
      const { browser, stored, id, isAlive } = await visitor({ keepAtLogin }, "alice");
      const old = browser.token;
      await browser.request((session) => {
        session.data.secret = "alice's";
        session.flash("info", "for alice");
      });
      await browser.request(async (session) => {
        const { data } = session;
        data.anything = "alice's too";
        session.flash("info", "for alice too");
        await session.login("bob");
        expect({ ...data }).toEqual({});
        data.theme = "light";
        session.flash("info", "for bob");
      });
      expect(await stored(id)).toBeUndefined();
      expect(await isAlive(old)).toBe(false);
      await browser.request(async (session) => {
        expect(session.userId).toBe("bob");
        expect({ ...session.data }).toEqual({ theme: "light" });
        expect(await session.takeFlash()).toEqual([{ kind: "info", message: "for bob" }]);
      });
    }
  });

  it("everything at a new login of the same user", async () => {
    const { browser } = await visitor({ keepAtLogin: false }, "alice");
    await browser.request((session) => {
      session.data.secret = "alice's";
    });
    await browser.request((session) => session.login("alice"));
    await browser.request((session) => expect(session.data.secret).toBe("alice's"));
  });

  it("nothing at logout", async () => {
    const { browser } = await visitor({}, "alice");
    await browser.request(async (session) => {
      session.data.secret = "alice's";
      await session.logout();
      session.data.n = 1;
    });
    await browser.request((session) => expect({ ...session.data }).toEqual({ n: 1 }));
  });

  it("references that a handler took before login still lead into the session", async () => {
    for (const stored of [false, true]) {
      const world = setUp();
      const browser = world.client();
      if (stored) await browser.request((session) => Object.assign(session.data, { cart: ["a"] }));
      await browser.request(async (session) => {
        const { data } = session;
        data.cart ??= ["a"];
        const { cart } = data;
        await session.login("alice");
        data.theme = "dark";
        cart.push("b");
      });
      await browser.request((session) => expect({ ...session.data }).toEqual({ cart: ["a", "b"], theme: "dark" }));
    }
  });

  it("a session that is taken over in place by a login is never mixed with another user's", async () => {
    // Two users log in at once with one anonymous token, on two processes: each gets a session, and only their own data.
    for (const verb of ["update", "read"] as const) {
      const { browser, client, store, sessions } = await visitor({ turns: false });
      const [alice, bob] = [browser.copy(), client(browser.token)];
      const slow = await bob.open();
      await alice.request(async (session) => {
        await session.login("alice");
        session.data.secret = "alice's";
      });
      await alice.request((session) => Object.assign(session.data, { anything: "alice's too" }));
      if (verb === "read") void slow.session.data.cart;
      slow.session.data.n = 1;
      await slow.session.login("bob");
      await slow.finish();
      await bob.request((session) => {
        expect(session.userId).toBe("bob");
        expect({ ...session.data }).toEqual({ cart: ["a"], theme: "dark", n: 1 });
      });
      await alice.request((session) => {
        expect(session.userId).toBe("alice");
        expect(session.data.n).toBeUndefined();
      });
      expect(store.calls("remove")).toBe(0);
      expect(await sessions.forUser("alice").list()).toHaveLength(1);
    }
  });
});

describe("a login that is clicked twice", () => {
  const POST = { method: "POST" } as const;
  const login = (client: Client) =>
    client.request(async (session) => {
      await session.login("alice");
      session.data.n = 1;
    }, POST);

  it.each<[string, Settings]>([
    ["in turn", {}],
    ["at once", { turns: false }],
  ])("%s: both succeed, the cart is in both, and neither ends the other", async (_, settings) => {
    const { browser, isAlive } = await visitor(settings);
    const [one, other] = [browser.copy(), browser.copy()];
    await Promise.all([login(one), login(other)]);
    for (const client of [one, other]) {
      expect(await isAlive(client.token)).toBe(true);
      await client.request((session) => {
        expect(session.userId).toBe("alice");
        expect({ ...session.data }).toEqual({ cart: ["a"], theme: "dark", n: 1 });
      });
    }
    expect(await isAlive()).toBe(false);
  });

  it("what the second one writes before its login is kept too", async () => {
    const { browser } = await visitor();
    const other = browser.copy();
    await login(browser);
    await other.request(async (session) => {
      session.data.theme = "light";
      await session.login("alice");
    });
    await other.request((session) => expect({ ...session.data }).toEqual({ cart: ["a"], theme: "light", n: 1 }));
  });

  it("by another user: the second gets nothing of the first", async () => {
    const { browser } = await visitor();
    const other = browser.copy();
    await login(browser);
    await other.request((session) => session.login("bob"));
    await other.request((session) => {
      expect(session.userId).toBe("bob");
      expect({ ...session.data }).toEqual({});
    });
  });
});

describe("RN-04: concurrent rotations", () => {
  it.each(["elevate", "renew"] as const)(
    "of 50 times %s at once exactly one wins, and one secret is alive",
    async (how) => {
      const { browser, isAlive, events } = await visitor({ turns: false }, "alice");
      const clients = times(50, () => browser.copy());
      const opened = await Promise.all(clients.map((client) => client.open()));
      const { errors } = await outcomes(
        opened.map(async (open) => {
          try {
            await rotations[how](open.session);
          } finally {
            await open.finish();
          }
        }),
      );
      expect(errors).toHaveLength(49);
      for (const error of errors) expect(error).toMatchObject({ code: "session_ended", reason: "rotated" });
      const tokens = SECRETS_OF([browser, ...clients]);
      expect(tokens).toHaveLength(2);
      const living = await Promise.all(tokens.map((token) => isAlive(token)));
      expect(living).toEqual([false, true]);
      expect(events.filter(({ type }) => type === (how === "renew" ? "renewed" : "elevated"))).toHaveLength(1);
    },
  );

  it("of 50 logins at once each ends in a session of its own, with one secret", async () => {
    const { browser, isAlive, sessions } = await visitor({ turns: false });
    const clients = times(50, () => browser.copy());
    await Promise.all(clients.map((client) => client.request(rotations.login)));
    expect(SECRETS_OF(clients)).toHaveLength(50);
    expect(new Set(clients.map(({ token }) => idOf(token))).size).toBe(50);
    for (const { token } of clients) expect(await isAlive(token)).toBe(true);
    expect(await isAlive()).toBe(false);
    expect(await sessions.forUser("alice").list()).toHaveLength(50);
  });

  it.each(["login", "elevate", "renew"] as const)(
    "%s has no grace: in-flight requests change nothing and get no token",
    async (how) => {
      const { browser, clock, types, id, stored } = await visitor({}, "alice");
      const [early, late] = [browser.copy(), browser.copy()];
      const open = await early.open();
      await browser.request(rotations[how]);
      const before = await stored(id);
      open.session.data.n = 1;
      await expect(open.finish()).rejects.toMatchObject({ reason: "rotated" });
      // Were it a new visitor, its write would make a session and overwrite the cookie that the rotation has just sent.
      await clock.advance(seconds(10) - 1);
      await expect(late.request((session) => Object.assign(session.data, { n: 2 }))).rejects.toBeInstanceOf(
        SessionEndedError,
      );
      await late.request((session) => expect(session.userId).toBeUndefined());
      expect([early.changes, late.changes]).toEqual([0, 0]);
      expect(await stored(id)).toEqual(before);
      expect(types()).toContain("secretReused");
      await clock.advance(1);
      await late.request((session) => Object.assign(session.data, { n: 3 }));
      expect(idOf(late.token)).not.toBe(id);
      expect(await stored(id)).toEqual(before);
    },
  );
});

describe("RN-04: periodic renewal", () => {
  const PERIOD = minutes(15);
  const settings: Settings = { lifetime: { renewEvery: PERIOD }, turns: false };

  it("changes the secret when it is due, and the id never", async () => {
    const { browser, clock, id, types } = await visitor(settings);
    await clock.advance(PERIOD - 1);
    await browser.request(() => {});
    expect(browser.changes).toBe(1);
    await clock.advance(1);
    await browser.request((session) => expect(session.data.cart).toEqual(["a"]));
    expect(browser.changes).toBe(2);
    expect(idOf(browser.token)).toBe(id);
    await browser.request(() => {});
    expect(browser.changes).toBe(2);
    expect(types().filter((type) => type === "renewed")).toHaveLength(1);
  });

  it("nobody is logged out by it: requests before, during and after all have the session", async () => {
    const { browser, clock, types, isAlive } = await visitor(settings, "alice");
    await clock.advance(PERIOD);
    const clients = times(50, () => browser.copy());
    const early = await Promise.all(clients.slice(0, 25).map((client) => client.open()));
    await Promise.all(early.map((open) => open.finish()));
    for (const client of clients.slice(25)) await client.request((session) => expect(session.userId).toBe("alice"));
    await clock.advance(seconds(10) - 1);
    for (const client of clients) await client.request((session) => expect(session.userId).toBe("alice"));
    expect(types().filter((type) => type === "renewed")).toHaveLength(1);
    expect(clients.filter(({ changes }) => changes > 0)).toHaveLength(1);
    expect(await isAlive(SECRETS_OF(clients).find((token) => token !== browser.token))).toBe(true);
    expect(types()).not.toContain("secretReused");
  });

  it("the old secret reads for 10 s and cannot write; after that it is dead and a sign of theft", async () => {
    const { browser, clock, id, events, stored } = await visitor(settings, "alice");
    const old = browser.copy();
    await clock.advance(PERIOD);
    await browser.request(() => {});
    const before = await stored(id);
    await clock.advance(seconds(10) - 1);
    await old.request((session) => {
      expect(session.userId).toBe("alice");
      expect(session.data.cart).toEqual(["a"]);
    });
    const writes: ((session: VisitSession) => unknown)[] = [
      (session) => Object.assign(session.data, { n: 1 }),
      (session) => session.flash("info", "x"),
      (session) => session.elevate(),
      (session) => session.renew(),
    ];
    for (const write of writes) await expect(old.request(write)).rejects.toMatchObject({ reason: "rotated" });
    await old.request(async (session) => expect(await session.takeFlash()).toEqual([]));
    expect(await stored(id)).toEqual(before);
    await clock.advance(1);
    await old.request((session) => expect(session.isNew).toBe(true));
    expect(events.at(-1)).toMatchObject({ type: "secretReused", reason: "replayed", sessionId: id });
    expect(old.changes).toBe(0);
  });

  it("a login and a logout with the old secret, within its 10 s, do what they say", async () => {
    const { browser, clock, sessions, stored, id } = await visitor(settings, "alice");
    const [again, leaving] = [browser.copy(), browser.copy()];
    await clock.advance(PERIOD);
    await browser.request(() => {});
    await again.request((session) => session.login("alice"));
    await again.request((session) => expect(session.data.cart).toEqual(["a"]));
    expect(await sessions.forUser("alice").list()).toHaveLength(2);
    await leaving.request((session) => session.logout());
    expect(await stored(id)).toBeUndefined();
  });

  it("a write that was on its way is accepted for 10 s, because nobody's authority changed, and not later", async () => {
    for (const [wait, accepted] of [
      [seconds(10) - 1, true],
      [seconds(10), false],
    ] as const) {
      const { browser, clock, stored, id, isAlive } = await visitor(settings);
      await clock.advance(PERIOD);
      const slow = await browser.copy().open();
      await browser.request(() => {});
      await clock.advance(wait);
      slow.session.data.n = 1;
      if (accepted) await slow.finish();
      else await expect(slow.finish()).rejects.toMatchObject({ reason: "rotated" });
      expect((await stored(id))?.data.has("n")).toBe(accepted);
      expect(await isAlive()).toBe(true);
    }
  });

  it("a security rotation ends the grace of the secret before", async () => {
    const { browser, clock, isAlive } = await visitor(settings, "alice");
    const old = browser.copy();
    await clock.advance(PERIOD);
    await browser.request(() => {});
    const renewed = browser.token;
    await browser.request((session) => session.elevate());
    for (const token of [old.token, renewed]) expect(await isAlive(token)).toBe(false);
    expect(await isAlive()).toBe(true);
  });

  it("comes with the save of a request that writes, and passive requests do not cause it", async () => {
    const { browser, clock, stored, id } = await visitor(settings);
    await clock.advance(PERIOD);
    await browser.request(() => {}, { passive: true });
    expect(browser.changes).toBe(1);
    await browser.request((session) => Object.assign(session.data, { n: 1 }));
    expect(browser.changes).toBe(2);
    expect((await stored(id))?.data.get("n")).toBe("1");
  });

  it("a store that fails meanwhile costs nobody the session", async () => {
    const { browser, clock, store, isAlive } = await visitor(settings, "alice");
    await clock.advance(PERIOD);
    store.failNext("update");
    await browser.request((session) => expect(session.userId).toBe("alice"));
    expect(browser.changes).toBe(1);
    expect(await isAlive()).toBe(true);
    store.loseAnswer("update");
    await browser.request(() => {});
    expect(browser.changes).toBe(2);
    await clock.advance(seconds(10));
    expect(await isAlive()).toBe(true);
  });

  it("a logout that was first is not undone by it", async () => {
    const { browser, clock, store, stored, id } = await visitor(settings, "alice");
    await clock.advance(PERIOD);
    const hold = store.hold("update");
    const renewing = browser.copy();
    const request = renewing.request(() => {});
    await hold.reached;
    await browser.request((session) => session.logout(), { passive: true });
    hold.release();
    await request;
    expect(renewing.changes).toBe(0);
    expect(await stored(id)).toBeUndefined();
  });
});

describe("an error in the middle of a login", () => {
  it("leaves nobody half logged in", async () => {
    for (const verb of ["create", "update", "remove", "listByUser"] as const) {
      for (const user of [undefined, "bob"]) {
        const { browser, store, isAlive, client, sessions } = await visitor(
          { sessionsPerUser: { max: 3, atLimit: "evict-oldest" } },
          user,
        );
        const before = client(browser.token);
        store.fail(verb);
        const open = await browser.open();
        const failed = await open.session.login("alice").then(
          () => undefined,
          (error: unknown) => error,
        );
        store.recover();
        await open.finish();
        if (failed !== undefined) expect(failed).toBeInstanceOf(StoreUnavailableError);
        // Whatever the client holds now opens, and tells the truth about who is logged in.
        expect(await isAlive()).toBe(true);
        await browser.request(async (session) => {
          expect(session.userId).toBe(open.session.userId);
          const list = session.userId === undefined ? [] : await sessions.forUser(session.userId).list();
          expect(list.some(({ id }) => id === session.id)).toBe(session.userId !== undefined);
        });
        if (browser.token !== before.token && verb !== "remove") expect(await isAlive(before.token)).toBe(false);
      }
    }
  });
});
