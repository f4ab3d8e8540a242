import { minutes, SessionDataError, seconds } from "coatcheck";
import { memoryStore } from "coatcheck/memory";
import { TestClock } from "coatcheck/testing";
import { describe, expect, it, vi } from "vitest";
import { type EndTurn, Turns } from "../../src/session/turns.ts";
import type { Lease, LeaseRequest, SessionStore } from "../../src/stores/store.ts";
import {
  idOf,
  neverExpiring,
  outcomes,
  type RequestOptions,
  type Settings,
  setUp,
  times,
  type VisitSession,
} from "./support.ts";

/** Waits until all promises have done what they can without time passing. */
const settled = (clock: TestClock) => clock.advance(0);

function queue() {
  const clock = new TestClock();
  const turns = new Turns(clock, seconds(5));
  const began: string[] = [];
  const timedOut: string[] = [];
  const ends = new Map<string, EndTurn>();
  const take = async (name: string, key = "k") => {
    ends.set(name, await turns.take(key, () => timedOut.push(name)));
    began.push(name);
  };
  return { clock, turns, began, timedOut, take, end: (name: string) => ends.get(name)?.() };
}

describe("turns", () => {
  it("come in the order of arrival, one at a time", async () => {
    const { clock, began, take, end, timedOut } = queue();
    for (const name of ["a", "b", "c"]) void take(name);
    await settled(clock);
    expect(began).toEqual(["a"]);
    end("a");
    await settled(clock);
    expect(began).toEqual(["a", "b"]);
    end("b");
    await settled(clock);
    expect(began).toEqual(["a", "b", "c"]);
    end("c");
    expect(timedOut).toEqual([]);
  });

  it("of different keys do not wait for each other", async () => {
    const { clock, began, take } = queue();
    void take("a", "one");
    void take("b", "other");
    await settled(clock);
    expect(began).toEqual(["a", "b"]);
  });

  it("end once, whoever says it again", async () => {
    const { clock, began, take, end } = queue();
    for (const name of ["a", "b", "c"]) void take(name);
    await settled(clock);
    end("a");
    end("a");
    await settled(clock);
    end("a");
    await settled(clock);
    expect(began).toEqual(["a", "b"]);
  });

  it("are waited for 5 seconds, each request from its own arrival, and the next ones keep their place", async () => {
    const { clock, began, timedOut, take, end } = queue();
    void take("a");
    void take("b");
    await clock.advance(seconds(3));
    void take("c");
    await clock.advance(seconds(2) - 1);
    expect(timedOut).toEqual([]);
    await clock.advance(1);
    expect([timedOut, began]).toEqual([["b"], ["a", "b"]]);
    // A request without a turn has none to end.
    end("b");
    await settled(clock);
    expect(began).toEqual(["a", "b"]);
    end("a");
    await settled(clock);
    expect(began).toEqual(["a", "b", "c"]);
    end("c");
    await clock.advance(minutes(1));
    expect(timedOut).toEqual(["b"]);
  });

  it("leave neither queues nor timers behind", async () => {
    const { clock, turns, take, end, began } = queue();
    for (let round = 0; round < 3; round++) {
      for (const name of ["a", "b", "c"]) void take(name, `key ${round}`);
      await settled(clock);
      if (round === 1) await clock.advance(seconds(5));
      for (const name of ["a", "b", "c"]) {
        await settled(clock);
        end(name);
      }
    }
    await settled(clock);
    expect(began).toHaveLength(9);
    expect(clock.pending).toBe(0);
    // A queue that was left would make the next one wait.
    for (let round = 0; round < 3; round++) expect(typeof turns.take(`key ${round}`, () => {})).toBe("function");
  });
});

describe("requests of one session", () => {
  const POST = { method: "POST" } as const;

  async function withCart(settings: Parameters<typeof setUp>[0] = {}) {
    const world = setUp(settings);
    const browser = world.client();
    await browser.request((session) => {
      session.data.cart = [];
    });
    const { token } = browser;
    const add = (options: RequestOptions = POST) =>
      world.client(token).request(async (session) => {
        session.data.cart?.push(String(session.data.cart.length));
        await Promise.resolve();
      }, options);
    const cart = async () => JSON.parse((await world.stored(idOf(token)))?.data.get("cart") ?? "[]") as string[];
    return { ...world, browser, add, cart };
  }

  it("RN-07: 100 parallel POSTs that just push keep all 100, in order", async () => {
    const { add, cart, store } = await withCart();
    await Promise.all(times(100, () => add()));
    expect(await cart()).toEqual(times(100, String));
    expect(store.calls("update")).toBe(100);
  });

  it.each(["POST", "PUT", "PATCH", "DELETE", "FOO"])("%s takes turns", async (method) => {
    const { add } = await withCart();
    expect((await outcomes(times(5, () => add({ method })))).errors).toEqual([]);
  });

  it.each(["GET", "HEAD", "OPTIONS"])("%s does not wait", async (method) => {
    const { browser, client } = await withCart();
    const slow = await browser.open(POST);
    await client(browser.token).request((session) => session.data.cart, { method });
    await slow.finish();
  });

  it("a route can opt out, and all can", async () => {
    for (const [settings, options] of [
      [{}, { method: "POST", turns: false }],
      [{ turns: false }, POST],
    ] as const) {
      const { browser, client } = await withCart(settings);
      const slow = await browser.open(options);
      await client(browser.token).request((session) => session.data.cart, options);
      await slow.finish();
    }
  });

  it("a request waits 5 seconds at most, goes ahead, says so, and the version check protects it", async () => {
    const { browser, client, clock, cart, types } = await withCart();
    const slow = await browser.open(POST);
    slow.session.data.cart?.push("slow");
    const quick = client(browser.token).request((session) => void session.data.cart?.push("quick"), POST);
    await clock.advance(seconds(5) - 1);
    expect(types()).not.toContain("turnTimedOut");
    await clock.advance(1);
    await quick;
    expect(types()).toContain("turnTimedOut");
    await expect(slow.finish()).rejects.toMatchObject({ code: "session_conflict" });
    expect(await cart()).toEqual(["quick"]);
  });

  it("the wait can be set", async () => {
    const { browser, client, clock } = await withCart({ turns: { wait: 50 } });
    await browser.open(POST);
    const other = client(browser.token).request(() => {}, POST);
    await clock.advance(50);
    await other;
    for (const wait of [0, -1, Number.NaN]) expect(() => setUp({ turns: { wait } })).toThrow(TypeError);
  });

  it("the turn ends with the head of the response, with a failure, and with a client that has gone", async () => {
    const { browser, client, store } = await withCart();
    const next = () => client(browser.token).request((session) => session.data.cart, POST);
    const leave = [
      async () => (await browser.open(POST)).finish(),
      async () => (await browser.open(POST)).exchange.end(),
      async () => {
        const failing = await browser.open(POST);
        failing.session.data.n = 1;
        store.failNext("update");
        await expect(failing.finish()).rejects.toMatchObject({ status: 503 });
      },
      async () => {
        store.failNext("read");
        await expect(browser.open(POST)).rejects.toMatchObject({ status: 503 });
      },
      async () => {
        store.failNext("read");
        (await browser.open({ ...POST, storeDown: "anonymous" })).exchange.end();
      },
      async () => {
        await expect(browser.request(() => Promise.reject(new Error("handler")), POST)).rejects.toThrow("handler");
      },
    ];
    // None of these waits, or it would wait for ever: the clock stands still.
    for (const how of leave) {
      await how();
      await next();
    }
  });

  it("an anonymous request without a session, and one with a malformed token, take none", async () => {
    const { client } = await withCart();
    for (const token of [undefined, "nonsense"]) {
      await client(token).open(POST);
      await client(token).request(() => {}, POST);
    }
  });

  it("one that waited sees what the one before has saved, a logout too", async () => {
    const { browser, client } = await withCart();
    const slow = await browser.open(POST);
    const waiting = client(browser.token).request((session) => [session.isNew, session.data.cart], POST);
    slow.session.data.cart?.push("x");
    await slow.finish();
    expect(await waiting).toEqual([false, ["x"]]);
    const leaving = await browser.open(POST);
    const late = client(browser.token).request((session) => [session.isNew, session.data.cart], POST);
    await leaving.session.logout();
    await leaving.finish();
    expect(await late).toEqual([true, undefined]);
  });
});

describe("requests of one session in several processes", () => {
  const POST = { method: "POST" } as const;

  /** A memory store that grants leases. */
  function leasingStore() {
    const store = memoryStore();
    const leases = new Map<string, Lease>();
    const grant = (id: string, { holder, until, now }: LeaseRequest) => {
      const lease = leases.get(id);
      if (lease === undefined || lease.until <= now || lease.holder === holder) leases.set(id, { holder, until });
    };
    const giveBack = (id: string, holder: string | undefined) => {
      if (leases.get(id)?.holder === holder) leases.delete(id);
    };
    const leasing: SessionStore = {
      ...neverExpiring(store),
      async read(id, request) {
        const record = await store.read(id);
        if (record === undefined) return undefined;
        if (request?.secretHash === record.secretHash) grant(id, request);
        const lease = leases.get(id);
        return lease === undefined ? record : { ...record, lease };
      },
      async update(id, version, patch) {
        const outcome = await store.update(id, version, patch);
        if (outcome === "updated" && patch.release !== undefined) giveBack(id, patch.release);
        return outcome;
      },
      async release(id, holder) {
        giveBack(id, holder);
      },
    };
    return { leasing, leases };
  }

  async function twoProcesses(settings: Settings = {}) {
    const { leasing, leases } = leasingStore();
    const one = setUp({ store: leasing, ...settings });
    const other = setUp({ store: leasing, clock: one.clock, ...settings });
    const browser = one.client();
    await browser.request((session) => {
      session.data.cart = [];
    });
    const cart = async () => JSON.parse((await one.stored(idOf(browser.token)))?.data.get("cart") ?? "[]") as string[];
    return { one, other, browser, leases, cart, elsewhere: other.client(browser.token), clock: one.clock };
  }

  it("RN-07: 100 parallel POSTs over two processes keep all 100", async () => {
    const { one, other, browser, clock, cart, leases } = await twoProcesses({ turns: { wait: minutes(1) } });
    let done = 0;
    const all = Promise.all(
      times(100, async (index) => {
        const client = (index % 2 ? one : other).client(browser.token);
        await client.request((session) => void session.data.cart?.push("x"), POST);
        done++;
      }),
    );
    while (done < 100) await clock.advance(1);
    await all;
    expect(await cart()).toHaveLength(100);
    expect(leases.size).toBe(0);
    expect([...one.types(), ...other.types()]).not.toContain("conflict");
  });

  it("the lease is given back on every path, with the commit where there is one", async () => {
    const { one, browser, leases, elsewhere } = await twoProcesses();
    const paths: [string, (session: VisitSession) => unknown][] = [
      ["nothing", () => {}],
      ["a write", (session) => void session.data.cart?.push("x")],
      ["a write of what is there", (session) => Object.assign(session.data, { theme: undefined })],
      ["a touch", () => one.clock.advance(minutes(2))],
      ["a flash", (session) => session.flash("info", "x")],
      ["takeFlash", (session) => session.takeFlash()],
      ["renew", (session) => session.renew()],
      ["login", (session) => session.login("alice")],
      ["elevate", (session) => session.elevate()],
      ["another user's login", (session) => session.login("bob")],
      ["a value without text", (session) => Object.assign(session.data, { anything: () => {} })],
      ["a failing handler", () => Promise.reject(new Error("handler"))],
    ];
    for (const [, path] of paths) {
      await browser.request(path, POST).catch(() => {});
      elsewhere.token = browser.token;
      await elsewhere.request(() => {}, POST);
      expect(leases.size).toBe(0);
    }
    expect(one.store.calls("release")).toBeGreaterThan(0);
    const before = one.store.calls("release");
    await browser.request((session) => Object.assign(session.data, { n: 1 }), POST);
    expect(one.store.calls("release")).toBe(before);
    await browser.request((session) => session.logout(), POST);
  });

  it("a request waits 5 seconds at most, and goes ahead", async () => {
    const { browser, elsewhere, other, clock } = await twoProcesses();
    await browser.open(POST);
    const waiting = elsewhere.request(() => clock.now(), POST);
    const begun = clock.now();
    await clock.advance(seconds(6));
    expect((await waiting) - begun).toBeLessThanOrEqual(seconds(5) + 20);
    expect((await waiting) - begun).toBeGreaterThanOrEqual(seconds(5));
    expect(other.types()).toEqual([]);
  });

  it("when leases are renewed all the time it goes ahead too, and says so", async () => {
    const { browser, elsewhere, other, clock, leases } = await twoProcesses();
    const id = idOf(browser.token);
    const waiting = elsewhere.request(() => {}, POST);
    let done = false;
    void waiting.then(() => {
      done = true;
    });
    leases.set(id, { holder: "greedy", until: clock.now() + minutes(1) });
    while (!done) await clock.advance(100);
    expect(other.types()).toEqual(["turnTimedOut"]);
  });

  it("who only knows the id, or an old secret, keeps nobody waiting", async () => {
    const { browser, elsewhere, leases, other } = await twoProcesses();
    const granted = vi.spyOn(leases, "set");
    const thief = other.client(`${idOf(browser.token)}.${"A".repeat(43)}`);
    await thief.open(POST);
    // Not even for a moment: a flood of such requests would hold up the owner's.
    expect(granted).not.toHaveBeenCalled();
    await elsewhere.request(() => {}, POST);
    const old = other.client(browser.token);
    await browser.request((session) => session.renew());
    await old.open(POST);
    expect(leases.size).toBe(0);
  });

  it("a session that has expired, or cannot be read, keeps nobody waiting", async () => {
    const { browser, leases, clock } = await twoProcesses();
    await clock.advance(minutes(31));
    await browser.open(POST);
    expect(leases.size).toBe(0);
    const misfit = { "~standard": { version: 1, vendor: "test", validate: () => ({ issues: [{ message: "" }] }) } };
    const { leasing, leases: others } = leasingStore();
    const before = setUp({ store: leasing }).client();
    await before.request((session) => void Object.assign(session.data, { n: 1 }));
    const after = setUp({ store: leasing, schema: misfit as never }).client(before.token);
    await expect(after.open(POST)).rejects.toBeInstanceOf(SessionDataError);
    expect(others.size).toBe(0);
  });

  it("safe methods and routes that opt out ask for none", async () => {
    const { browser, leases } = await twoProcesses();
    await browser.open();
    await browser.open({ ...POST, turns: false });
    expect(leases.size).toBe(0);
    const { browser: alone, leases: none } = await twoProcesses({ turns: { acrossProcesses: false } });
    await alone.open(POST);
    expect(none.size).toBe(0);
  });
});
