import {
  createSessions,
  minutes,
  type Revocation,
  type RevocationOptions,
  StoreUnavailableError,
  seconds,
} from "coatcheck";
import { memoryStore } from "coatcheck/memory";
import type { RevocationLog, RevocationPage, SessionStore } from "coatcheck/stores";
import { TestClock, UnreliableStore } from "coatcheck/testing";
import { describe, expect, it } from "vitest";
import { newSessionId } from "../../src/session/token.ts";
import { neverExpiring, recorded, times } from "./support.ts";

const lifetime = minutes(10);

/** A log that is written, and answers, by hand. Each reading tells what is there when it begins. */
class HandLog implements RevocationLog {
  readonly entries: Revocation[] = [];
  news = () => {};
  watched = false;
  readings = 0;
  /** Answers of readings that wait, the oldest first; while it is `undefined`, readings are answered at once. */
  #waiting: (() => void)[] | undefined;

  async append(entry: Revocation): Promise<void> {
    this.entries.push(entry);
  }

  read(cursor: string | undefined): Promise<RevocationPage> {
    this.readings++;
    const entries = this.entries.slice(Number(cursor ?? 0));
    const page = { entries, cursor: String(this.entries.length), more: false };
    return new Promise((resolve) => {
      if (this.#waiting === undefined) resolve(page);
      else this.#waiting.push(() => resolve(page));
    });
  }

  watch(news: () => void): () => void {
    this.news = news;
    this.watched = true;
    return () => {
      this.watched = false;
    };
  }

  async removeExpired(): Promise<number> {
    return 0;
  }

  /** From now on readings wait. */
  hold(): void {
    this.#waiting = [];
  }

  /** Answers the oldest of them. */
  answer(): void {
    this.#waiting?.shift()?.();
  }
}

const ofSession = (): Extract<Revocation, { kind: "session" }> => ({
  kind: "session",
  sessionId: newSessionId(),
  until: Date.UTC(2030, 0, 1) + lifetime,
});

const subjectOf = ({ sessionId }: { sessionId: string }) => ({ sessionId, userId: "ada", issuedAt: 0 });

/** One process: sessions, and the feed that something of it has asked for. */
function processOn(store: SessionStore, clock: TestClock, options: RevocationOptions = {}) {
  const sessions = createSessions({ store, clock, revocation: options });
  return { sessions, feed: sessions.revocationFeed(lifetime), events: recorded(sessions) };
}

const withLog = (revocations: RevocationLog): SessionStore => Object.assign(memoryStore(), { revocations });

/** A store whose log has to be asked. */
function polled(): UnreliableStore {
  const log = memoryStore().revocations as RevocationLog;
  return new UnreliableStore(
    withLog({
      append: (entry) => log.append(entry),
      read: (cursor) => log.read(cursor),
      removeExpired: (now, limit) => log.removeExpired(now, limit),
    }),
  );
}

describe("LO-09: the revocation feed follows the log", () => {
  it("knows what was revoked before it began", async () => {
    const clock = new TestClock();
    const store = polled();
    const entries = times(500, ofSession);
    const one = processOn(store, clock);
    for (const entry of entries) await one.feed.publish(entry);
    const two = processOn(store, clock);
    two.feed.start();
    await clock.advance(0);
    for (const entry of entries) expect(two.feed.isRevoked(subjectOf(entry))).toBe(true);
    expect(two.feed.isRevoked(subjectOf(ofSession()))).toBe(false);
  });

  it("knows its own entries at once, and others after a second", async () => {
    const clock = new TestClock();
    const store = polled();
    const [one, two] = [processOn(store, clock), processOn(store, clock)];
    two.feed.start();
    await clock.advance(0);
    const entry = ofSession();
    await one.feed.publish(entry);
    expect(one.feed.isRevoked(subjectOf(entry))).toBe(true);
    await clock.advance(seconds(1) - 1);
    expect(two.feed.isRevoked(subjectOf(entry))).toBe(false);
    await clock.advance(1);
    expect(two.feed.isRevoked(subjectOf(entry))).toBe(true);
  });

  it("knows them without any time passing where the log tells of news", async () => {
    const clock = new TestClock();
    const store = memoryStore();
    const [one, two] = [processOn(store, clock), processOn(store, clock)];
    two.feed.start();
    await clock.advance(0);
    const entry = ofSession();
    await one.feed.publish(entry);
    await clock.advance(0);
    expect(two.feed.isRevoked(subjectOf(entry))).toBe(true);
  });

  it("reads once more when news comes while a reading is under way that began before it", async () => {
    const clock = new TestClock();
    const log = new HandLog();
    const { feed } = processOn(withLog(log), clock);
    log.hold();
    feed.start();
    const entries = times(3, ofSession);
    for (const entry of entries) {
      await log.append(entry);
      log.news();
    }
    log.answer();
    await clock.advance(0);
    for (const entry of entries) expect(feed.isRevoked(subjectOf(entry))).toBe(false);
    expect(log.readings).toBe(2);
    log.answer();
    await clock.advance(0);
    for (const entry of entries) expect(feed.isRevoked(subjectOf(entry))).toBe(true);
    expect(log.readings).toBe(2);
  });

  it("is fresh as of when a reading began, not of when it ended", async () => {
    const clock = new TestClock();
    const log = new HandLog();
    const { feed } = processOn(withLog(log), clock);
    log.hold();
    feed.start();
    const begun = clock.now();
    await clock.advance(1500);
    expect(feed.freshAt).toBeUndefined();
    log.answer();
    await clock.advance(0);
    expect(feed.freshAt).toBe(begun);
  });

  it("does nothing before it is needed", async () => {
    const clock = new TestClock();
    const log = new HandLog();
    const { feed } = processOn(withLog(log), clock);
    await clock.advance(minutes(1));
    expect(log.readings).toBe(0);
    expect(await feed.check(subjectOf(ofSession()))).toBe(false);
    expect(log.readings).toBe(1);
    expect(log.watched).toBe(true);
  });

  it("ends with its sessions, and leaves no timer behind", async () => {
    const clock = new TestClock();
    const log = new HandLog();
    const { feed, sessions } = processOn(withLog(log), clock);
    feed.start();
    await clock.advance(seconds(3));
    await sessions.close();
    const { readings } = log;
    expect(log.watched).toBe(false);
    expect(clock.pending).toBe(0);
    log.news();
    await clock.advance(minutes(1));
    expect(log.readings).toBe(readings);
  });

  it("ends while a reading is under way, without beginning another", async () => {
    const clock = new TestClock();
    const log = new HandLog();
    const { feed, sessions } = processOn(withLog(log), clock);
    log.hold();
    feed.start();
    log.news();
    const closed = sessions.close();
    log.answer();
    await closed;
    await clock.advance(minutes(1));
    expect(log.readings).toBe(1);
    expect(clock.pending).toBe(0);
  });

  it("SC-07: forgets what has run out, in memory and in the log", async () => {
    const clock = new TestClock();
    const store = polled();
    const { feed } = processOn(store, clock);
    feed.start();
    for (let minute = 0; minute < 20; minute++) {
      await feed.publish({ ...ofSession(), until: clock.now() + lifetime });
      await clock.advance(minutes(1));
      // Those of the last 10 minutes, one more for clocks that disagree, and one between two sweeps.
      expect(feed.size).toBeLessThanOrEqual(13);
    }
    const log = store.revocations as RevocationLog;
    expect((await log.read(undefined)).entries.length).toBeLessThanOrEqual(13);
    await clock.advance(minutes(15));
    expect(feed.size).toBe(0);
  });
});

describe("LO-09: a feed that is behind", () => {
  /** A feed that was up to date, and whose store has then been away for so long. */
  async function cutOff(options: RevocationOptions, away: number) {
    const clock = new TestClock();
    const store = polled();
    const [one, two] = [processOn(store, clock), processOn(store, clock, options)];
    two.feed.start();
    const before = ofSession();
    await one.feed.publish(before);
    await clock.advance(seconds(2));
    const during = ofSession();
    await one.feed.publish(during);
    store.fail("revocations.read");
    await clock.advance(away);
    return { clock, store, before, during, ...two, types: () => two.events.map(({ type }) => type) };
  }

  it("is behind after 5 seconds without a reading, and not before", async () => {
    const { feed, clock, types } = await cutOff({}, seconds(5));
    expect(feed.behind).toBe(false);
    expect(types()).not.toContain("revocationsBehind");
    await clock.advance(seconds(1));
    expect(feed.behind).toBe(true);
    expect(types().filter((type) => type === "revocationsBehind")).toHaveLength(1);
  });

  it('asks the store under "ask-store", and refuses to say when it cannot', async () => {
    const { feed, store, during, before } = await cutOff({ whenBehind: "ask-store" }, seconds(60));
    expect(feed.check(subjectOf(before))).toBe(true);
    for (const entry of [during, ofSession()])
      await expect(feed.check(subjectOf(entry))).rejects.toThrow(StoreUnavailableError);
    store.recover();
    expect(await feed.check(subjectOf(during))).toBe(true);
    expect(feed.check(subjectOf(ofSession()))).toBe(false);
  });

  it("shares one reading among those who ask at the same time", async () => {
    const { feed, store } = await cutOff({}, seconds(60));
    store.recover();
    const calls = store.calls("revocations.read");
    await Promise.all(times(100, () => feed.check(subjectOf(ofSession()))));
    expect(store.calls("revocations.read")).toBe(calls + 1);
  });

  it('accepts what it does not know under "accept", refuses what it knows, and catches up by itself', async () => {
    const { feed, store, clock, during, before, events, types } = await cutOff({ whenBehind: "accept" }, seconds(60));
    expect(feed.check(subjectOf(before))).toBe(true);
    expect(feed.check(subjectOf(during))).toBe(false);
    expect(events.find(({ type }) => type === "revocationsBehind")).toMatchObject({ whenBehind: "accept" });
    store.recover();
    await clock.advance(seconds(1));
    expect(feed.check(subjectOf(during))).toBe(true);
    expect(feed.behind).toBe(false);
    expect(types().filter((type) => type.startsWith("revocations"))).toEqual([
      "revocationsBehind",
      "revocationsCaughtUp",
    ]);
  });

  it('waits under "accept" for the first reading of the log, and no longer than that takes', async () => {
    const clock = new TestClock();
    const store = polled();
    const entry = ofSession();
    await processOn(store, clock).feed.publish(entry);
    const { feed } = processOn(store, clock, { whenBehind: "accept" });
    expect(await feed.check(subjectOf(entry))).toBe(true);

    const { feed: other } = processOn(store, clock, { whenBehind: "accept" });
    store.fail("revocations.read");
    expect(await other.check(subjectOf(entry))).toBe(false);
  });

  it("counts a store that hangs as one that is away", async () => {
    const clock = new TestClock();
    const store = polled();
    const { feed, events } = processOn(store, clock);
    feed.start();
    await clock.advance(0);
    store.hold("revocations.read");
    await clock.advance(seconds(10));
    expect(feed.behind).toBe(true);
    expect(events.map(({ type }) => type)).toContain("revocationsBehind");
    const answer = expect(feed.check(subjectOf(ofSession()))).rejects.toThrow(StoreUnavailableError);
    await clock.advance(seconds(2));
    await answer;
  });

  it("is behind when the machine has slept, whatever its timers did", async () => {
    const clock = new TestClock();
    const store = polled();
    const [one, two] = [processOn(store, clock), processOn(store, clock)];
    two.feed.start();
    await clock.advance(seconds(1));
    const entry = ofSession();
    await one.feed.publish(entry);
    const { now } = clock;
    clock.now = () => now.call(clock) + minutes(5);
    expect(two.feed.behind).toBe(true);
    expect(await two.feed.check(subjectOf(entry))).toBe(true);
  });
});

describe("the revocation feed refuses", () => {
  const sessions = (revocation: RevocationOptions, store: SessionStore = memoryStore()) =>
    createSessions({ store, revocation });

  it.each<[string, RevocationOptions]>([
    ["a policy that it does not know", { lifetime, whenBehind: "ignore" as "accept" }],
    ["a bound that polling cannot keep", { lifetime, behindAfter: 1999 }],
    ["a bound that is no number", { lifetime, behindAfter: Number.NaN }],
    ["a lifetime of nothing", { lifetime: 0 }],
    ["a lifetime without end", { lifetime: Number.POSITIVE_INFINITY }],
    ["a lifetime that is no number", { lifetime: Number.NaN }],
  ])("%s", (_, options) => {
    expect(() => sessions(options)).toThrow(TypeError);
  });

  it("a store that keeps no revocations", () => {
    const store = neverExpiring(memoryStore());
    expect(() => sessions({ lifetime }, store)).toThrow("keeps no revocations");
    expect(() => createSessions({ store }).revocationFeed(lifetime)).toThrow(TypeError);
    expect(() => createSessions({ store })).not.toThrow();
  });
});
