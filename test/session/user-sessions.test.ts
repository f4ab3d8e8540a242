import { minutes, RecentAuthRequiredError, SessionLimitError } from "coatcheck";
import { memoryStore } from "coatcheck/memory";
import { describe, expect, it } from "vitest";
import { CLEAN_UP_CLAIM } from "../../src/session/clean-up.ts";
import { type Client, idOf, neverExpiring, opens, outcomes, type Settings, setUp, times } from "./support.ts";

type World = ReturnType<typeof setUp>;

/** A client that has logged in. */
async function signedIn(world: World, userId = "alice", userAgent = "test"): Promise<Client> {
  const client = world.client();
  await client.request((session) => session.login(userId, { methods: ["pwd"] }), { userAgent, ip: "203.0.113.9" });
  return client;
}

const alive = async (world: World, clients: readonly Client[]) => {
  const living = await Promise.all(clients.map((client) => opens(world.sessions, client.token)));
  return clients.filter((_, index) => living[index]);
};

describe("CC-02: the list of a user's sessions", () => {
  it("has what a user may see, the most recently used first, and marks the one that asks", async () => {
    const world = setUp();
    const { clock, sessions } = world;
    const phone = await signedIn(world, "alice", "Phone");
    await clock.advance(minutes(1));
    const laptop = await signedIn(world, "alice", "Laptop");
    await signedIn(world, "bob");
    const list = await laptop.request((session) => sessions.forUser("alice").list({ by: session }));
    expect(list).toEqual([
      {
        id: idOf(laptop.token),
        createdAt: clock.now(),
        lastSeenAt: clock.now(),
        authenticatedAt: clock.now(),
        expiresAt: clock.now() + minutes(30),
        methods: ["pwd"],
        device: { userAgent: "Laptop", ip: "203.0.113.0" },
        current: true,
      },
      expect.objectContaining({
        id: idOf(phone.token),
        current: false,
        device: expect.objectContaining({ userAgent: "Phone" }),
      }),
    ]);
    await clock.advance(minutes(5));
    await phone.request(() => {});
    expect((await sessions.forUser("alice").list()).map(({ id }) => id)).toEqual([
      idOf(phone.token),
      idOf(laptop.token),
    ]);
  });

  it("has no ghosts: nothing expired, ended or anonymous", async () => {
    const world = setUp({ store: neverExpiring(memoryStore()) });
    const { clock, sessions } = world;
    await signedIn(world);
    await clock.advance(minutes(30));
    const present = await signedIn(world);
    const left = await signedIn(world);
    await left.request((session) => session.logout());
    const switched = await signedIn(world);
    await switched.request((session) => session.login("bob"));
    expect((await sessions.forUser("alice").list()).map(({ id }) => id)).toEqual([idOf(present.token)]);
    expect((await sessions.forUser("bob").list()).map(({ id }) => id)).toEqual([idOf(switched.token)]);
    expect(await sessions.forUser("nobody").list()).toEqual([]);
  });

  it("asks for a recent authentication before a user ends sessions, and for nothing when the application does", async () => {
    const world = setUp();
    const { clock, sessions } = world;
    const [here, there] = [await signedIn(world), await signedIn(world)];
    const alice = sessions.forUser("alice");
    await clock.advance(minutes(5));
    await here.request(async (session) => {
      await alice.list({ by: session });
      await expect(alice.revoke(idOf(there.token), { by: session })).rejects.toBeInstanceOf(RecentAuthRequiredError);
      await expect(alice.revokeAll({ by: session, except: session.id })).rejects.toBeInstanceOf(
        RecentAuthRequiredError,
      );
    });
    expect(await alive(world, [here, there])).toHaveLength(2);
    await here.request(async (session) => {
      await session.elevate();
      expect(await alice.revoke(idOf(there.token), { by: session })).toBe(true);
    });
    expect(await alive(world, [here, there])).toEqual([here]);
  });
});

describe("revocation", () => {
  it("CC-04: an id only works for its owner, whoever asks", async () => {
    const world = setUp();
    const { sessions, types } = world;
    const [alice, bob] = [await signedIn(world), await signedIn(world, "bob")];
    expect(await sessions.forUser("bob").revoke(idOf(alice.token))).toBe(false);
    await bob.request(async (session) => {
      const other = sessions.forUser("alice");
      await expect(other.list({ by: session })).rejects.toThrow(TypeError);
      await expect(other.revoke(idOf(alice.token), { by: session })).rejects.toThrow(TypeError);
      await expect(other.revokeAll({ by: session })).rejects.toThrow(TypeError);
    });
    await world
      .client()
      .request((session) => expect(sessions.forUser("alice").list({ by: session })).rejects.toThrow());
    expect(await alive(world, [alice, bob])).toHaveLength(2);
    expect(types()).not.toContain("revoked");
  });

  it("of what is no id, or of none that exists, is false and does not reach the store", async () => {
    const { sessions, store } = setUp();
    for (const id of ["", "x", "../../etc/passwd", "A".repeat(66), undefined as never])
      expect(await sessions.forUser("alice").revoke(id)).toBe(false);
    expect(store.calls()).toBe(0);
    expect(await sessions.forUser("alice").revoke("A".repeat(22))).toBe(false);
  });

  it("LO-06: counts sessions, and not the claim of the clean-up", async () => {
    const world = setUp();
    await signedIn(world);
    await world.clock.advance(minutes(7));
    expect(await world.stored(CLEAN_UP_CLAIM)).toBeDefined();
    expect(await world.sessions.revokeEveryone()).toBe(1);
    expect(world.events.at(-1)).toMatchObject({ type: "revoked", count: 1 });
  });

  it("LO-06: ends all of a user's sessions at once, or all but one, or everybody's", async () => {
    const world = setUp();
    const { sessions, events } = world;
    const alices = [await signedIn(world), await signedIn(world), await signedIn(world)] as const;
    const bob = await signedIn(world, "bob");
    expect(await sessions.forUser("alice").revokeAll({ except: idOf(alices[1].token) })).toBe(2);
    expect(await alive(world, [...alices, bob])).toEqual([alices[1], bob]);
    expect(await sessions.forUser("alice").revokeAll()).toBe(1);
    expect(await alive(world, [...alices, bob])).toEqual([bob]);
    const again = await signedIn(world);
    expect(await sessions.revokeEveryone()).toBe(2);
    expect(await alive(world, [again, bob])).toEqual([]);
    expect(events.filter(({ type }) => type === "revoked")).toMatchObject([
      { reason: "all", count: 2, userId: "alice" },
      { reason: "all", count: 1, userId: "alice" },
      { reason: "everyone", count: 2 },
    ]);
  });

  it("LO-06: except spares a session of this user only", async () => {
    const world = setUp();
    const [alice, bob] = [await signedIn(world), await signedIn(world, "bob")];
    expect(await world.sessions.forUser("alice").revokeAll({ except: idOf(bob.token) })).toBe(1);
    expect(await alive(world, [alice, bob])).toEqual([bob]);
  });

  it("LO-09: is by the public id and never by the text of a token, and it holds for every copy of the token", async () => {
    const world = setUp();
    const { sessions } = world;
    const alice = await signedIn(world);
    const user = sessions.forUser("alice");
    const before = alice.token as string;
    expect(await user.revoke(before)).toBe(false);
    await alice.request((session) => session.renew());
    expect(alice.token).not.toBe(before);
    // The secret has changed, the id has not: revoking by what the token says would miss the session now.
    expect(await user.revoke(idOf(before))).toBe(true);
    expect(await alive(world, [alice, world.client(before)])).toEqual([]);
  });

  it("LO-08: revokeAll during a login: the session that exists afterwards was made strictly later", async () => {
    for (const verb of ["create", "update"] as const) {
      const world = setUp();
      const { sessions, store, client } = world;
      const known = await signedIn(world);
      const browser = verb === "create" ? client() : known.copy();
      const hold = store.hold(verb);
      const login = browser.request((session) => session.login("alice"));
      await hold.reached;
      expect(await sessions.forUser("alice").revokeAll()).toBe(1);
      hold.release();
      await login;
      expect(await alive(world, [known])).toEqual([]);
      expect(await alive(world, [browser])).toEqual([browser]);
      expect(await sessions.forUser("alice").list()).toHaveLength(1);
    }
  });

  it("LO-08: revokeAll during elevate and renew beats them", async () => {
    for (const rotate of ["elevate", "renew"] as const) {
      const world = setUp();
      const { sessions, store } = world;
      const alice = await signedIn(world);
      const hold = store.hold("update");
      const rotation = alice.request((session) => session[rotate]());
      await hold.reached;
      await sessions.forUser("alice").revokeAll();
      hold.release();
      await expect(rotation).rejects.toMatchObject({ code: "session_ended", reason: "gone" });
      expect(await alive(world, [alice])).toEqual([]);
      expect(await sessions.forUser("alice").list()).toEqual([]);
    }
  });

  it("fails closed when the store does", async () => {
    const world = setUp();
    const { sessions, store } = world;
    const alice = await signedIn(world);
    store.fail();
    const user = sessions.forUser("alice");
    for (const request of [user.list(), user.revoke(idOf(alice.token)), user.revokeAll(), sessions.revokeEveryone()])
      await expect(request).rejects.toMatchObject({ code: "store_unavailable" });
    store.recover();
    expect(await alive(world, [alice])).toEqual([alice]);
  });
});

describe("CC-01: a limit of sessions per user", () => {
  const limited = (atLimit: "evict-oldest" | "reject", max = 3): Settings => ({ sessionsPerUser: { max, atLimit } });

  it("evict-oldest ends the oldest login", async () => {
    const world = setUp(limited("evict-oldest"));
    const clients: Client[] = [];
    for (let i = 0; i < 5; i++) {
      clients.push(await signedIn(world));
      await world.clock.advance(1000);
    }
    expect(await alive(world, clients)).toEqual(clients.slice(2));
    expect(world.events.filter(({ type }) => type === "revoked")).toMatchObject([
      { reason: "limit", count: 1, sessionId: idOf(clients[0]?.token) },
      { reason: "limit", count: 1, sessionId: idOf(clients[1]?.token) },
    ]);
  });

  it("a new login of an old session makes it the youngest", async () => {
    const world = setUp(limited("evict-oldest", 2));
    const [old, other] = [await signedIn(world), await signedIn(world)];
    await world.clock.advance(1000);
    await old.request((session) => session.login("alice"));
    await world.clock.advance(1000);
    const third = await signedIn(world);
    expect(await alive(world, [old, other, third])).toEqual([old, third]);
  });

  it("reject refuses the login and changes nothing; a re-login is not one more", async () => {
    const world = setUp(limited("reject"));
    const clients = [await signedIn(world), await signedIn(world), await signedIn(world)];
    const visitor = world.client();
    await visitor.request((session) => {
      session.data.cart = ["a"];
    });
    const before = visitor.token;
    const login = visitor.request((session) => session.login("alice"));
    await expect(login).rejects.toBeInstanceOf(SessionLimitError);
    await expect(login).rejects.toMatchObject({ code: "session_limit_reached", status: 403 });
    expect(visitor.token).toBe(before);
    await visitor.request((session) => {
      expect(session.userId).toBeUndefined();
      expect(session.data.cart).toEqual(["a"]);
    });
    expect(world.types()).toContain("limitReached");
    await clients[0]?.request((session) => session.login("alice"));
    expect(await alive(world, clients)).toHaveLength(3);
    await clients[1]?.request((session) => session.logout());
    await visitor.request((session) => session.login("alice"));
  });

  it("what has expired does not count", async () => {
    for (const policy of ["evict-oldest", "reject"] as const) {
      const world = setUp({ ...limited(policy), store: neverExpiring(memoryStore()) });
      for (let i = 0; i < 3; i++) await signedIn(world);
      await world.clock.advance(minutes(30));
      await signedIn(world);
      expect(world.types()).not.toContain("revoked");
    }
  });

  it.each(["evict-oldest", "reject"] as const)("50 parallel logins under %s leave exactly 3", async (policy) => {
    for (const [spread, round] of [0, 0, 1, 1, 1].entries()) {
      const world = setUp(limited(policy));
      const clients = times(50, () => world.client());
      // Nobody goes on before all have logged in, so that all of them find too many.
      const hold = world.store.hold("listByUser");
      const requests = clients.map(async (client, index) => {
        if (round === 1 && index % 7 === spread) await world.clock.advance(0);
        await client.request((session) => session.login("alice"));
      });
      await hold.reached;
      if (round === 0) await world.clock.advance(0);
      hold.release();
      const { errors } = await outcomes(requests);
      const living = await alive(world, clients);
      expect(living).toHaveLength(3);
      expect(await world.sessions.forUser("alice").list()).toHaveLength(3);
      for (const error of errors) expect(error).toBeInstanceOf(SessionLimitError);
      // Whoever was told of a success under "reject" before anybody else came has it still.
      expect(errors.length).toBeLessThanOrEqual(47);
    }
  });

  it("a login that is already gone when it has been counted is not answered with success", async () => {
    const world = setUp(limited("evict-oldest", 1));
    const hold = world.store.hold("listByUser");
    const first = world.client();
    const login = first.request((session) => session.login("alice"));
    await hold.reached;
    await world.sessions.forUser("alice").revokeAll();
    hold.release();
    await expect(login).rejects.toBeInstanceOf(SessionLimitError);
    expect(first.token).toBeUndefined();
  });

  it.each([false, true])(
    "RN-03: the surplus of a race goes on anonymously; a user's data stays behind (known: %s)",
    async (known) => {
      const world = setUp(limited("reject", 2));
      const { clock, store } = world;
      const browser = world.client();
      await browser.request((session) => {
        session.data.cart = ["a"];
        session.flash("info", "early");
      });
      if (known) await browser.request((session) => session.login("alice"));
      // Two logins have found room and are about to be written; then this one finds room as well.
      const creates = store.hold("create");
      const others = [signedIn(world), signedIn(world)];
      await clock.advance(500);
      const updates = store.hold("update");
      const open = await browser.open();
      open.session.flash("info", "late");
      const login = open.session.login("alice");
      await updates.reached;
      const lists = store.hold("listByUser");
      updates.release();
      await lists.reached;
      creates.release();
      await clock.advance(0);
      lists.release();
      await expect(login).rejects.toBeInstanceOf(SessionLimitError);
      expect(await alive(world, await Promise.all(others))).toHaveLength(2);
      expect(open.session.userId).toBeUndefined();
      // The handler says so in an ordinary answer, which is saved.
      open.session.data.theme = "dark";
      await open.finish();
      expect(await alive(world, [browser])).toEqual([browser]);
      await browser.request(async (session) => {
        const messages = (await session.takeFlash()).map(({ message }) => message);
        expect(messages).toEqual(known ? [] : ["early", "late"]);
        expect(session.userId).toBeUndefined();
        expect({ ...session.data }).toEqual(known ? { theme: "dark" } : { theme: "dark", cart: ["a"] });
      });
    },
  );

  it("refuses a limit that makes no sense", () => {
    for (const sessionsPerUser of [{ max: 0 }, { max: 1.5 }, { max: Number.NaN }, { max: 3, atLimit: "ask" }])
      expect(() => setUp({ sessionsPerUser: { atLimit: "reject", ...sessionsPerUser } as never })).toThrow(TypeError);
  });
});

describe("CC-04: when the process dies between two writes", () => {
  it("the list and the limit stay right", async () => {
    // A login that ends another session makes a new record first. Every cut leaves a session too many, never one that
    // is listed and does not open, or opens and is not listed.
    for (const verb of ["remove", "listByUser", "create"] as const) {
      const world = setUp({ sessionsPerUser: { max: 1, atLimit: "evict-oldest" } });
      const browser = await signedIn(world, "bob");
      const before = browser.copy();
      await signedIn(world);
      await world.clock.advance(1000);
      world.store.hold(verb);
      const cut = await browser.open();
      void cut.session.login("alice").catch(() => {});
      await world.clock.advance(0);
      // The process is gone; another one goes on with the same store.
      const after = setUp({
        store: world.store,
        clock: world.clock,
        sessionsPerUser: { max: 1, atLimit: "evict-oldest" },
      });
      world.store.recover();
      await world.clock.advance(0);
      for (const user of ["alice", "bob"]) {
        for (const { id } of await after.sessions.forUser(user).list())
          expect((await after.stored(id))?.userId).toBe(user);
      }
      expect(await opens(after.sessions, before.token)).toBe(
        (await after.sessions.forUser("bob").list()).some(({ id }) => id === idOf(before.token)),
      );
      await after.clock.advance(1000);
      const next = await signedIn(after);
      expect((await after.sessions.forUser("alice").list()).map(({ id }) => id)).toEqual([idOf(next.token)]);
    }
  });
});

describe("CC-06: the device", () => {
  it("is recorded and never enforced", async () => {
    const world = setUp();
    const alice = await signedIn(world, "alice", "Old Browser");
    await alice.request((session) => expect(session.userId).toBe("alice"), {
      userAgent: "New Browser",
      ip: "198.51.100.1",
    });
    const [info] = await world.sessions.forUser("alice").list();
    expect(info?.device).toEqual({ userAgent: "Old Browser", ip: "203.0.113.0" });
    await alice.request((session) => session.elevate(), { userAgent: "New Browser" });
    expect((await world.sessions.forUser("alice").list())[0]?.device).toEqual({ userAgent: "New Browser" });
  });
});
