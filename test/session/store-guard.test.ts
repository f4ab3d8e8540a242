import { CorruptRecordError, StoreUnavailableError, seconds } from "coatcheck";
import { memoryStore } from "coatcheck/memory";
import { TestClock, UnreliableStore } from "coatcheck/testing";
import { describe, expect, it } from "vitest";
import { SessionEvents } from "../../src/session/events.ts";
import { guardStore } from "../../src/session/store-guard.ts";
import type { SessionId } from "../../src/session/token.ts";
import type { SessionStore } from "../../src/stores/store.ts";
import { idOf, opens, setUp } from "./support.ts";

const ID = "A".repeat(22) as SessionId;

function guarded(store: SessionStore, timeout = seconds(2)) {
  const clock = new TestClock();
  const events = new SessionEvents();
  const seen: unknown[] = [];
  events.on("storeUnavailable", (event) => void seen.push(event));
  return { clock, seen, store: guardStore(store, clock, timeout, events) };
}

const verbs = {
  create: (store) => store.create({ id: ID } as never),
  read: (store) => store.read(ID),
  update: (store) => store.update(ID, 1, {}),
  touch: (store) => store.touch(ID, 1, 1),
  remove: (store) => store.remove(ID),
  listByUser: (store) => store.listByUser("alice"),
  removeByUser: (store) => store.removeByUser("alice"),
  removeAll: (store) => store.removeAll(),
  removeExpired: (store) => store.removeExpired(1, 1),
} satisfies Record<string, (store: SessionStore) => Promise<unknown>>;

describe.each(Object.keys(verbs) as (keyof typeof verbs)[])("%s", (verb) => {
  const call = verbs[verb] as (store: SessionStore) => Promise<unknown>;

  it("fails with the cause, and is reported", async () => {
    const inner = new UnreliableStore(memoryStore());
    const cause = new Error("connection refused");
    inner.failNext(verb, { error: cause });
    const { store, seen, clock } = guarded(inner);
    const request = call(store);
    await expect(request).rejects.toBeInstanceOf(StoreUnavailableError);
    await expect(request).rejects.toMatchObject({ cause, status: 503, retryAfter: 5, code: "store_unavailable" });
    expect(seen).toEqual([{ type: "storeUnavailable", at: clock.now(), operation: verb, cause }]);
    expect(clock.pending).toBe(0);
  });

  it("may take 2 seconds and no longer; a late answer is ignored", async () => {
    const inner = new UnreliableStore(memoryStore());
    const hold = inner.hold(verb);
    const { store, seen, clock } = guarded(inner);
    let outcome: unknown;
    const request = call(store).then(
      () => {
        outcome = "answered";
      },
      (error: unknown) => {
        outcome = error;
      },
    );
    await clock.advance(seconds(2) - 1);
    expect(outcome).toBeUndefined();
    await clock.advance(1);
    await request;
    expect(outcome).toBeInstanceOf(StoreUnavailableError);
    expect((outcome as Error).message).toContain(`${verb}()`);
    hold.release();
    await clock.advance(seconds(10));
    expect(outcome).toBeInstanceOf(StoreUnavailableError);
    expect(seen).toHaveLength(1);
  });

  it("a late failure is ignored too, and an early answer leaves no timer", async () => {
    const inner = new UnreliableStore(memoryStore());
    const hold = inner.hold(verb);
    const { store, seen, clock } = guarded(inner);
    const request = call(store).catch(() => {});
    await clock.advance(seconds(2));
    await request;
    inner.failNext(verb);
    hold.release();
    await clock.advance(0);
    expect(seen).toHaveLength(1);
    await call(store).catch(() => {});
    expect(clock.pending).toBe(0);
  });

  it("that throws at once fails like any other", async () => {
    const cause = new Error("synchronous");
    const thrower = () => {
      throw cause;
    };
    const { store } = guarded({ ...Object.fromEntries(Object.keys(verbs).map((name) => [name, thrower])) } as never);
    await expect(call(store)).rejects.toMatchObject({ code: "store_unavailable", cause });
  });
});

describe("the guard", () => {
  it("keeps `this`, arguments and results", async () => {
    class Store {
      readonly seen: unknown[] = [];
      async remove(...args: unknown[]) {
        this.seen.push(args);
        return "result";
      }
    }
    const inner = new Store();
    const { store } = guarded(inner as never);
    expect(await store.remove(ID, "alice")).toBe("result");
    expect(inner.seen).toEqual([[ID, "alice"]]);
  });

  it("lets a corrupt record through as what it is, and reports no outage", async () => {
    const inner = new UnreliableStore(memoryStore());
    inner.failNext("read", { error: new CorruptRecordError() });
    const { store, seen } = guarded(inner);
    await expect(store.read(ID)).rejects.toBeInstanceOf(CorruptRecordError);
    expect(seen).toEqual([]);
  });

  it("has leases and close just where the store has them", async () => {
    const { store } = guarded(memoryStore());
    expect(store.release).toBeUndefined();
    await store.close?.();
    const closed: string[] = [];
    const inner = Object.assign(new UnreliableStore(memoryStore()), {
      release: async () => void closed.push("release"),
      close: async () => void closed.push("close"),
    });
    const { store: leasing } = guarded(inner);
    await leasing.release?.(ID, "x");
    await leasing.close?.();
    expect(closed).toEqual(["release", "close"]);
  });

  it("has a limit that can be set", async () => {
    for (const storeTimeout of [0, -1, Number.NaN]) expect(() => setUp({ storeTimeout })).toThrow(TypeError);
    const { client, store, clock } = setUp({ storeTimeout: 50 });
    store.hold("read");
    const request = client(`${ID}.${"A".repeat(43)}`).request(() => {});
    const failed = expect(request).rejects.toBeInstanceOf(StoreUnavailableError);
    await clock.advance(50);
    await failed;
  });
});

describe("a session in the record that nobody can read", () => {
  it("SC-03: is anonymous, and reported; its record stays", async () => {
    const { client, store, types, stored, sessions } = setUp();
    const browser = client();
    await browser.request((session) => {
      session.data.n = 1;
    });
    store.failNext("read", { error: new CorruptRecordError() });
    await browser.request((session) => expect(session.isNew).toBe(true));
    expect(types()).toEqual(["created", "corruptRecord"]);
    expect(await stored(idOf(browser.token))).toBeDefined();
    expect(await opens(sessions, browser.token)).toBe(true);
  });
});
