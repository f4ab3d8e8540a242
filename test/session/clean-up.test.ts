import { minutes } from "coatcheck";
import { memoryStore } from "coatcheck/memory";
import { TestClock, UnreliableStore } from "coatcheck/testing";
import { describe, expect, it } from "vitest";
import { CLEAN_UP_CLAIM, CleanUp } from "../../src/session/clean-up.ts";
import { SessionEvents } from "../../src/session/events.ts";
import type { SessionId } from "../../src/session/token.ts";
import type { SessionStore } from "../../src/stores/store.ts";
import { setUp, times } from "./support.ts";

/** The longest time between two runs. */
const INTERVAL = minutes(6);

async function withExpired(count: number) {
  const clock = new TestClock();
  const inner = memoryStore();
  const store = new UnreliableStore(inner);
  const events = new SessionEvents();
  const seen: number[] = [];
  events.on("cleanedUp", ({ count }) => void seen.push(count));
  await add(count, clock.now());
  async function add(more: number, expiresAt: number): Promise<void> {
    for (let i = 0; i < more; i++) {
      const id = Buffer.from(crypto.getRandomValues(new Uint8Array(16))).toString("base64url") as SessionId;
      const record = { id, version: 1, createdAt: 0, seenAt: 0, expiresAt, meta: { secretAt: 0 }, data: new Map() };
      await inner.create({ ...record, secretHash: "x" as never });
    }
  }
  const size = async () => {
    let sessions = 0;
    for await (const { meta } of inner.all()) if (meta.secretAt === 0) sessions++;
    return sessions;
  };
  return { clock, store, inner, seen, cleanUp: new CleanUp(store, clock, events), size, add };
}

describe("clean-up", () => {
  it("SC-07: begins by itself, runs about every five minutes, and removes all that has expired", async () => {
    const { clock, cleanUp, size, add } = await withExpired(10);
    cleanUp.start();
    cleanUp.start();
    await clock.advance(minutes(4) - 1);
    expect(await size()).toBe(10);
    await clock.advance(INTERVAL - minutes(4) + 1);
    expect(await size()).toBe(0);
    for (let round = 0; round < 3; round++) {
      await add(5, clock.now());
      await clock.advance(INTERVAL);
      expect(await size()).toBe(0);
    }
    expect(clock.pending).toBe(1);
  });

  it("does not run at the same moment in all processes that started together", async () => {
    const clock = new TestClock();
    const stores = times(24, () => new UnreliableStore(memoryStore()));
    for (const store of stores) new CleanUp(store, clock, new SessionEvents()).start();
    await clock.advance(minutes(5));
    const ran = stores.filter((store) => store.calls("removeExpired") > 0);
    expect(ran.length).toBeGreaterThan(0);
    expect(ran.length).toBeLessThan(24);
  });

  it("SC-07: goes in batches of 500, and tells the number once", async () => {
    const { cleanUp, store, seen, size } = await withExpired(1234);
    expect(await cleanUp.run()).toBe(1234);
    expect(store.calls("removeExpired")).toBe(4);
    expect(seen).toEqual([1234]);
    expect(await size()).toBe(0);
    expect(await cleanUp.run()).toBe(0);
    expect(seen).toEqual([1234]);
  });

  it("SC-07: lets other work come in between, also with a store that answers at once", async () => {
    const { cleanUp, inner, size } = await withExpired(1234);
    const left: number[] = [];
    const look = () =>
      void size()
        .then((sessions) => left.push(sessions))
        .then(() => setTimeout(look, 0));
    setTimeout(look, 0);
    await new CleanUp(inner, new TestClock(), new SessionEvents()).run();
    expect(left).toContain(734);
    expect(await cleanUp.run()).toBe(0);
  });

  it("goes on when a batch was smaller than wanted, because records were in use", async () => {
    const { inner, size } = await withExpired(20);
    const store = {
      removeExpired: (now: number) => inner.removeExpired(now, 7),
    } as Partial<SessionStore> as SessionStore;
    expect(await new CleanUp(store, new TestClock(), new SessionEvents()).run()).toBe(20);
    expect(await size()).toBe(0);
  });

  it("that takes long keeps the other processes out", async () => {
    const { clock, cleanUp, store, inner, size } = await withExpired(1234);
    const first = store.hold("removeExpired");
    cleanUp.start();
    await clock.advance(INTERVAL);
    const claimed = await inner.read(CLEAN_UP_CLAIM);
    await clock.advance(minutes(2));
    const second = store.hold("removeExpired");
    first.release();
    await second.reached;
    expect(await size()).toBe(734);
    const renewed = await inner.read(CLEAN_UP_CLAIM);
    expect(renewed?.expiresAt).toBeGreaterThan((claimed?.expiresAt ?? 0) + minutes(1));
    second.release();
    await cleanUp.stop();
  });

  it("ends when another process has taken over", async () => {
    const { clock, cleanUp, store, inner, size } = await withExpired(1234);
    const hold = store.hold("removeExpired");
    cleanUp.start();
    await clock.advance(INTERVAL);
    await clock.advance(minutes(3));
    const { version = 0 } = (await inner.read(CLEAN_UP_CLAIM)) ?? {};
    const times = { seenAt: clock.now(), expiresAt: clock.now() + minutes(3) };
    expect(await inner.update(CLEAN_UP_CLAIM, version, times)).toBe("updated");
    hold.release();
    await cleanUp.stop();
    await clock.advance(0);
    expect(await size()).toBe(734);
    expect(store.calls("removeExpired")).toBe(1);
  });

  it("removes at the deadline and not before", async () => {
    const { cleanUp, add, clock, size } = await withExpired(0);
    await add(1, clock.now() + 1);
    expect(await cleanUp.run()).toBe(0);
    await clock.advance(1);
    expect(await cleanUp.run()).toBe(1);
    expect(await size()).toBe(0);
  });

  it("survives a store that fails, and tries again at the next run", async () => {
    const { clock, cleanUp, store, size } = await withExpired(3);
    cleanUp.start();
    store.fail("every");
    await clock.advance(INTERVAL * 3);
    expect(await size()).toBe(3);
    store.recover();
    await clock.advance(INTERVAL);
    expect(await size()).toBe(0);
    store.failNext("removeExpired");
    await expect(cleanUp.run()).rejects.toThrow();
    // At most the claim of the last run, which has expired too by now.
    expect(await cleanUp.run()).toBeLessThanOrEqual(1);
  });

  it("is one run at a time", async () => {
    const { cleanUp, store } = await withExpired(3);
    expect(await Promise.all([cleanUp.run(), cleanUp.run(), cleanUp.run()])).toEqual([3, 3, 3]);
    expect(store.calls("removeExpired")).toBe(2);
  });

  it("of several processes one does it", async () => {
    const { clock, cleanUp, store, inner, size } = await withExpired(3);
    const others = times(4, () => {
      const store = new UnreliableStore(inner);
      return { store, cleanUp: new CleanUp(store, clock, new SessionEvents()) };
    });
    cleanUp.start();
    for (const other of others) other.cleanUp.start();
    await clock.advance(INTERVAL);
    expect(await size()).toBe(0);
    const ran = [store, ...others.map((other) => other.store)].filter((each) => each.calls("removeExpired") > 0);
    expect(ran).toHaveLength(1);
  });

  it("is awaited when it stops, ends after the batch at hand, and begins no more", async () => {
    const { clock, cleanUp, store, size } = await withExpired(1234);
    cleanUp.start();
    const hold = store.hold("removeExpired");
    await clock.advance(INTERVAL);
    let stopped = false;
    const stop = cleanUp.stop().then(() => {
      stopped = true;
    });
    await clock.advance(0);
    expect(stopped).toBe(false);
    hold.release();
    await stop;
    expect(store.calls("removeExpired")).toBe(1);
    expect(await size()).toBe(734);
    cleanUp.start();
    expect(clock.pending).toBe(0);
    await clock.advance(INTERVAL * 3);
    expect(store.calls("removeExpired")).toBe(1);
  });

  it("a run that fails while it is stopped does not fail the stop", async () => {
    const { cleanUp, store, clock } = await withExpired(3);
    const hold = store.hold("removeExpired");
    const run = cleanUp.run().catch(() => "failed");
    const stop = cleanUp.stop();
    store.failNext("removeExpired");
    hold.release();
    await stop;
    expect(await run).toBe("failed");
    expect(clock.pending).toBe(0);
  });
});

describe("sessions", () => {
  it("clean up once they are used, and close waits for it and closes the store", async () => {
    const inner = memoryStore();
    const closed: string[] = [];
    const { sessions, client, clock, store, stored } = setUp({
      store: Object.assign(inner, { close: async () => void closed.push("store") }),
    });
    expect(clock.pending).toBe(0);
    const browser = client();
    let id = "";
    await browser.request((session) => {
      session.data.n = 1;
      ({ id } = session);
    });
    await clock.advance(minutes(30) + INTERVAL);
    expect(await stored(id)).toBeUndefined();
    const hold = store.hold("removeExpired");
    const run = sessions.cleanUp();
    await hold.reached;
    const close = sessions.close();
    await clock.advance(0);
    expect(closed).toEqual([]);
    hold.release();
    await Promise.all([run, close]);
    expect(closed).toEqual(["store"]);
    expect(clock.pending).toBe(0);
  });

  it("report what a clean-up removed", async () => {
    const { sessions, client, clock, events } = setUp();
    for (let i = 0; i < 3; i++) await client().request((session) => Object.assign(session.data, { n: 1 }));
    await clock.advance(minutes(30));
    await sessions.cleanUp();
    const removed = events.flatMap((event) => (event.type === "cleanedUp" ? [event.count] : []));
    expect(removed.reduce((sum, count) => sum + count, 0)).toBeGreaterThanOrEqual(3);
  });
});
