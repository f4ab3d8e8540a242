import { days, hours, type LifetimeOptions, minutes, RecentAuthRequiredError, seconds } from "coatcheck";
import { memoryStore } from "coatcheck/memory";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LifetimePolicy } from "../../src/session/lifetime.ts";
import { idOf, neverExpiring, opens, type Settings, setUp, type VisitSession } from "./support.ts";

async function visitor(settings?: Settings, user?: string, remember = false) {
  const world = setUp(settings);
  const browser = world.client();
  await browser.request(async (session) => {
    session.data.n = 1;
    if (user !== undefined) await session.login(user, { remember });
  });
  return { ...world, browser, isAlive: () => opens(world.sessions, browser.token) };
}

describe("timeouts", () => {
  it("LT-01: without activity a session ends after 30 minutes", async () => {
    const { clock, isAlive } = await visitor();
    await clock.advance(minutes(30) - 1);
    expect(await isAlive()).toBe(true);
    await clock.advance(1);
    expect(await isAlive()).toBe(false);
  });

  it("LT-02: whatever the activity, it ends after exactly 12 hours", async () => {
    const { clock, browser, isAlive } = await visitor();
    for (let minute = 0; minute < 12 * 60 - 1; minute++) {
      await clock.advance(minutes(1));
      await browser.request((session) => expect(session.isNew).toBe(false));
    }
    await clock.advance(minutes(1) - 1);
    expect(await isAlive()).toBe(true);
    await clock.advance(1);
    expect(await isAlive()).toBe(false);
  });

  it.each(["login", "elevate"] as const)("LT-03: %s at 11:59 h restarts both timeouts", async (how) => {
    const { clock, browser, isAlive } = await visitor({}, "alice");
    const active = async (length: number) => {
      for (let passed = 0; passed < length; passed += minutes(20)) {
        await clock.advance(Math.min(minutes(20), length - passed));
        await browser.request(() => {});
      }
    };
    await active(hours(12) - minutes(1));
    await browser.request((session) => (how === "login" ? session.login("alice") : session.elevate()));
    await active(hours(12) - minutes(1));
    await clock.advance(minutes(1) - 1);
    expect(await isAlive()).toBe(true);
    await clock.advance(1);
    expect(await isAlive()).toBe(false);
  });

  it("LT-03: activity restarts the idle timeout alone, and neither write nor renewal moves the absolute one", async () => {
    const { clock, browser, isAlive } = await visitor({ lifetime: { renewEvery: minutes(1) } }, "alice");
    for (let passed = 0; passed < 12 * 60 - 10; passed += 10) {
      await clock.advance(minutes(10));
      await browser.request(async (session) => {
        session.data.n = passed;
        await session.renew();
      });
    }
    await clock.advance(minutes(10) - 1);
    expect(await isAlive()).toBe(true);
    await clock.advance(1);
    expect(await isAlive()).toBe(false);
  });

  it("LT-04: a store that never expires anything does not keep a session alive", async () => {
    const { clock, browser, stored, events, client } = await visitor({ store: neverExpiring(memoryStore()) });
    const id = idOf(browser.token);
    await clock.advance(minutes(30));
    await browser.request((session) => {
      expect(session.isNew).toBe(true);
      expect(session.data.n).toBeUndefined();
    });
    expect(await stored(id)).toBeDefined();
    expect(events.at(-1)).toMatchObject({ type: "expired", reason: "idle", sessionId: id });
    const thief = client(browser.token);
    await thief.request((session) => {
      session.data.n = 2;
    });
    expect(idOf(thief.token)).not.toBe(id);
    expect((await stored(id))?.data.get("n")).toBe("1");
  });

  it("LT-04: valid while now is before the deadline, for each of them, to the millisecond", () => {
    const policy = new LifetimePolicy({ idle: 1000, absolute: 2000, recentAuth: 10, renewEvery: minutes(1) });
    const record = (fields: object) =>
      ({ createdAt: 0, seenAt: 0, expiresAt: 1000, meta: { secretAt: 0 }, ...fields }) as never;
    expect(policy.expired(record({}), 999)).toBeUndefined();
    expect(policy.expired(record({}), 1000)).toBe("idle");
    expect(policy.expired(record({ seenAt: 1500, expiresAt: 2000 }), 1999)).toBeUndefined();
    expect(policy.expired(record({ seenAt: 1500, expiresAt: 2000 }), 2000)).toBe("absolute");
    const authenticated = { seenAt: 2400, expiresAt: 3400, meta: { secretAt: 0, authenticatedAt: 1500 } };
    expect(policy.expired(record(authenticated), 3399)).toBeUndefined();
    expect(policy.expired(record({ ...authenticated, seenAt: 3000, expiresAt: 4000 }), 3500)).toBe("absolute");
    // A record that promises more than the policy allows, because the policy was tightened since.
    expect(policy.expired(record({ expiresAt: 9000 }), 1000)).toBe("idle");
    expect(policy.expired(record({ expiresAt: 9000, seenAt: 1999 }), 2000)).toBe("absolute");
    // And one that promises less.
    expect(policy.expired(record({ expiresAt: 10 }), 10)).toBe("idle");
    expect(policy.renewalDue(record({}), minutes(1) - 1)).toBe(false);
    expect(policy.renewalDue(record({}), minutes(1))).toBe(true);
  });

  it("LT-04: a clean-up removes it at its deadline, and not before", async () => {
    const { clock, browser, stored, sessions } = await visitor();
    const id = idOf(browser.token);
    await clock.advance(minutes(30) - 1);
    await sessions.cleanUp();
    expect(await stored(id)).toBeDefined();
    await clock.advance(1);
    await sessions.cleanUp();
    expect(await stored(id)).toBeUndefined();
  });

  it("LT-06: random requests keep a session alive as long as the reference says, and no request more than 60 s less", async () => {
    const gap = fc.oneof(
      { weight: 5, arbitrary: fc.integer({ min: 0, max: minutes(20) }) },
      { weight: 2, arbitrary: fc.integer({ min: minutes(28), max: minutes(32) }) },
      { weight: 1, arbitrary: fc.constantFrom(minutes(1), minutes(1) - 1, minutes(29), minutes(30) - 1, minutes(30)) },
    );
    const request = fc.record({ gap, kind: fc.constantFrom("read", "read", "write", "renew", "elevate", "passive") });
    await fc.assert(
      fc.asyncProperty(fc.array(request, { minLength: 1, maxLength: 60 }), async (requests) => {
        const { clock, browser } = await visitor({}, "alice");
        const begun = clock.now();
        // When the idle timeout may end it at the earliest, and must have ended it.
        let [earliest, latest, absolute] = [begun + minutes(30), begun + minutes(30), begun + hours(12)];
        for (const { gap, kind } of requests) {
          await clock.advance(gap);
          const now = clock.now();
          const open = await browser.open({ passive: kind === "passive" });
          const alive = !open.session.isNew;
          if (now < Math.min(earliest, absolute)) expect(alive).toBe(true);
          if (now >= Math.min(latest, absolute)) expect(alive).toBe(false);
          if (!alive) return;
          if (kind === "write") open.session.data.n = now;
          if (kind === "renew") await open.session.renew();
          if (kind === "elevate") await open.session.elevate();
          await open.finish();
          if (kind === "passive") continue;
          latest = now + minutes(30);
          // Only what is written down at once counts in full.
          earliest = kind === "read" ? Math.max(earliest, now + minutes(30) - minutes(1)) : now + minutes(30);
          if (kind === "elevate") absolute = now + hours(12);
        }
      }),
      { numRuns: 60 },
    );
  });

  it("LT-06: activity is written at most once in 60 s, and once in a tenth of a short idle limit", async () => {
    for (const [lifetime, slack] of [
      [{}, seconds(60)],
      [{ idle: seconds(100) }, seconds(10)],
      [{ idle: Number.POSITIVE_INFINITY }, seconds(60)],
    ] as const) {
      const { clock, browser, store } = await visitor({ lifetime });
      await clock.advance(slack - 1);
      await browser.request(() => {});
      expect(store.calls("touch")).toBe(0);
      await clock.advance(1);
      await browser.request(() => {});
      await browser.request(() => {});
      expect(store.calls("touch")).toBe(1);
      expect(store.calls("update")).toBe(0);
    }
  });

  it("LT-07: passive requests do not keep it alive, whether they read or write", async () => {
    const { clock, browser, isAlive } = await visitor();
    for (let minute = 1; minute < 30; minute++) {
      await clock.advance(minutes(1));
      const handler = (session: VisitSession) => {
        if (minute % 2 === 0) session.data.n = minute;
      };
      await browser.request(handler, { passive: true });
    }
    expect(await isAlive()).toBe(true);
    await clock.advance(minutes(1));
    expect(await isAlive()).toBe(false);
  });

  it("RN-06: a slow request that only reads does not bring an expired session back", async () => {
    const { clock, browser, isAlive, stored } = await visitor();
    const id = idOf(browser.token);
    await clock.advance(minutes(29));
    const slow = await browser.open();
    await clock.advance(minutes(1));
    expect(await isAlive()).toBe(false);
    await slow.finish();
    expect(await isAlive()).toBe(false);
    expect((await stored(id))?.expiresAt).toBe(clock.now());
  });

  it("a touch that fails does not fail the request", async () => {
    const { clock, browser, store, isAlive, types } = await visitor();
    await clock.advance(minutes(2));
    store.failNext("touch");
    await browser.request((session) => expect(session.data.n).toBe(1));
    expect(types()).toContain("storeUnavailable");
    expect(await isAlive()).toBe(true);
  });
});

describe("LT-09: requireRecentAuth", () => {
  it("passes for 5 minutes after login and elevate, and by the limit that is given", async () => {
    const { clock, browser } = await visitor({}, "alice");
    const check = (maxAge?: number) => browser.request((session) => session.requireRecentAuth(maxAge));
    await clock.advance(minutes(5) - 1);
    await check();
    await clock.advance(1);
    await expect(check()).rejects.toBeInstanceOf(RecentAuthRequiredError);
    await expect(check()).rejects.toMatchObject({ status: 401, code: "recent_auth_required" });
    await check(minutes(5) + 1);
    await expect(check(Number.NaN)).rejects.toBeInstanceOf(RecentAuthRequiredError);
    await browser.request((session) => session.elevate({ methods: ["otp"] }));
    await check();
    await browser.request((session) => {
      expect(session.authenticatedAt).toBe(clock.now());
      expect(session.methods).toEqual(["otp"]);
    });
  });

  it("refuses anonymous visitors, and renew is no authentication", async () => {
    const anonymous = await visitor();
    await expect(anonymous.browser.request((session) => session.requireRecentAuth())).rejects.toBeInstanceOf(
      RecentAuthRequiredError,
    );
    const { clock, browser } = await visitor({ lifetime: { recentAuth: minutes(1) } }, "alice");
    await clock.advance(minutes(1));
    await browser.request((session) => session.renew());
    await expect(browser.request((session) => session.requireRecentAuth())).rejects.toBeInstanceOf(
      RecentAuthRequiredError,
    );
  });
});

describe("the policy", () => {
  it.each([
    ["aal1", Number.POSITIVE_INFINITY, days(30)],
    ["aal2", hours(1), hours(24)],
    ["aal3", minutes(15), hours(12)],
  ] as const)("LT-02: preset %s, which remember-me does not raise", async (preset, idle, absolute) => {
    for (const remember of [false, true]) {
      const { clock, browser, isAlive, sessions } = await visitor({ lifetime: preset }, "alice", remember);
      // No clean-up every five minutes: the days go by faster.
      await sessions.close();
      const begun = clock.now();
      while (clock.now() + idle < begun + absolute) {
        await clock.advance(idle - 1);
        await browser.request((session) => expect(session.isNew).toBe(false));
      }
      await clock.advance(begun + absolute - clock.now() - 1);
      expect(await isAlive()).toBe(true);
      await clock.advance(1);
      expect(await isAlive()).toBe(false);
      if (idle > absolute) continue;
      await browser.request((session) => session.login("alice", { remember }));
      await clock.advance(idle - 1);
      expect(await isAlive()).toBe(true);
      await clock.advance(1);
      expect(await isAlive()).toBe(false);
    }
  });

  it("CK-09: remember gives 14 days idle and 30 in all, to that session alone, and the client is told how long", async () => {
    const { clock, client, sessions } = await visitor();
    await sessions.close();
    const [remembered, plain] = [client(), client()];
    const open = await remembered.open();
    await open.session.login("alice", { remember: true });
    expect(open.session.outgoing).toMatchObject({ lifetime: days(30) });
    await open.finish();
    const other = await plain.open();
    await other.session.login("alice");
    expect(other.session.outgoing).toMatchObject({ lifetime: undefined });
    await other.finish();
    await clock.advance(days(14) - 1);
    expect(await opens(sessions, plain.token)).toBe(false);
    await remembered.request((session) => expect(session.isNew).toBe(false));
    await clock.advance(days(10));
    const renewal = await remembered.open();
    await renewal.session.renew();
    expect(renewal.session.outgoing).toMatchObject({ lifetime: days(30) - (days(14) - 1) - days(10) });
    await renewal.finish();
    await clock.advance(days(6));
    await remembered.request((session) => expect(session.isNew).toBe(false));
    await clock.advance(1);
    expect(await opens(sessions, remembered.token)).toBe(false);
  });

  it("a login that does not ask to be remembered ends it", async () => {
    const { clock, browser, isAlive } = await visitor({ lifetime: { remember: { idle: hours(3) } } }, "alice", true);
    await browser.request((session) => session.login("alice"));
    await clock.advance(minutes(30));
    expect(await isAlive()).toBe(false);
  });

  it("one that was tightened bites at once", async () => {
    const { store, browser, clock } = await visitor({}, "alice");
    await clock.advance(minutes(10));
    const tighter = setUp({ store, clock, lifetime: { idle: minutes(10) } });
    expect(await opens(tighter.sessions, browser.token)).toBe(false);
  });

  it("the limits of remember are never below the others, unless said so", () => {
    const policy = new LifetimePolicy({ idle: days(20), absolute: days(60) });
    expect(policy.deadline({ createdAt: 0, meta: { secretAt: 0, remember: true } }, 0)).toBe(days(20));
    expect(policy.absoluteDeadline({ createdAt: 0, meta: { secretAt: 0, remember: true } })).toBe(days(60));
  });

  it("refuses limits that make no sense", () => {
    const bad: unknown[] = [
      "aal4",
      "toString",
      { idle: 999 },
      { idle: -1 },
      { idle: Number.NaN },
      { idle: "30 min" },
      { absolute: 999 },
      { absolute: Number.NaN },
      { absolute: Number.POSITIVE_INFINITY },
      { absolute: days(400) + 1 },
      { remember: { idle: 1 } },
      { remember: { absolute: days(401) } },
      { renewEvery: seconds(59) },
      { renewEvery: Number.NaN },
      { recentAuth: 0 },
      { recentAuth: Number.NaN },
    ];
    for (const options of bad) expect(() => new LifetimePolicy(options as LifetimeOptions)).toThrow(TypeError);
    expect(() => new LifetimePolicy({ idle: Number.POSITIVE_INFINITY, absolute: days(400) })).not.toThrow();
  });
});
