import type { SessionStore } from "../stores/store.ts";
import { type Clock, type Duration, type Instant, minutes } from "./clock.ts";
import { randomBytes } from "./crypto.ts";
import type { SessionEvents } from "./events.ts";
import { hashSecret, newSecret, type SessionId } from "./token.ts";

const BATCH = 500;
const INTERVAL: Duration = minutes(5);
/** How long a claim holds. A run that takes longer renews it. */
const CLAIM: Duration = INTERVAL / 2;

/**
 * The name of a record that no token opens. Whoever makes or renews it, by the same compare-and-swap as any session,
 * is the one process that cleans up this time.
 */
export const CLEAN_UP_CLAIM = "coatcheck-clean-up-run" as SessionId;

/** Removes expired records about every five minutes, in batches, so that other work comes in between (row SC-07). */
export class CleanUp {
  readonly #store: SessionStore;
  readonly #clock: Clock;
  readonly #events: SessionEvents;
  #cancel: (() => void) | undefined;
  #running: Promise<number> | undefined;
  #stopped = false;

  constructor(store: SessionStore, clock: Clock, events: SessionEvents) {
    this.#store = store;
    this.#clock = clock;
    this.#events = events;
  }

  /** Begins, unless it has begun. A run that fails has been reported by the guard and is tried again at the next one. */
  start(): void {
    if (this.#cancel !== undefined || this.#stopped) return;
    // Between four and six minutes, so that processes which started together do not stay together.
    const wait = INTERVAL * (0.8 + (0.4 * (randomBytes(1)[0] as number)) / 255);
    this.#cancel = this.#clock.schedule(() => {
      this.#cancel = undefined;
      this.#run(() => this.#claim())
        .catch(() => 0)
        .finally(() => this.start());
    }, wait);
  }

  /** Removes all that has expired by now, whoever else does so; the number removed. */
  run(): Promise<number> {
    return this.#run(async () => ({ holds: async () => true }));
  }

  /** Stops, and waits for a run that is under way. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancel?.();
    await this.#running?.catch(() => 0);
  }

  /** Removes the claim, which is no session and must not count as one. The next run makes another. */
  async forgetClaim(): Promise<void> {
    await this.#store.remove(CLEAN_UP_CLAIM);
  }

  #run(claim: () => Promise<Claim | undefined>): Promise<number> {
    this.#running ??= claim()
      .then((claimed) => (claimed === undefined ? 0 : this.#batches(claimed)))
      .finally(() => {
        this.#running = undefined;
      });
    return this.#running;
  }

  /** The claim to this run, or `undefined` when another process has cleaned up in the last minutes or begins now. */
  async #claim(): Promise<Claim | undefined> {
    const now = this.#clock.now();
    const found = await this.#store.read(CLEAN_UP_CLAIM);
    if (found === undefined) return (await this.#createClaim(now)) ? this.#renewed(1, now) : undefined;
    if (found.expiresAt > now || !(await this.#updateClaim(found.version, now))) return undefined;
    return this.#renewed(found.version + 1, now);
  }

  /** A claim that is renewed when half of its time is over. */
  #renewed(version: number, now: Instant): Claim {
    let claimed = { version, at: now };
    return {
      holds: async () => {
        const now = this.#clock.now();
        if (now < claimed.at + CLAIM / 2) return true;
        const { version } = claimed;
        claimed = { version: version + 1, at: now };
        return this.#updateClaim(version, now);
      },
    };
  }

  async #createClaim(now: Instant): Promise<boolean> {
    const secretHash = await hashSecret(newSecret());
    const times = { createdAt: now, seenAt: now, expiresAt: now + CLAIM };
    const meta = { secretAt: now };
    try {
      await this.#store.create({ id: CLEAN_UP_CLAIM, secretHash, version: 1, ...times, meta, data: new Map() });
      return true;
    } catch {
      // Another process was first, or the store is down.
      return false;
    }
  }

  async #updateClaim(version: number, now: Instant): Promise<boolean> {
    const times = { seenAt: now, expiresAt: now + CLAIM };
    return (await this.#store.update(CLEAN_UP_CLAIM, version, times)) === "updated";
  }

  async #batches(claim: Claim): Promise<number> {
    const now = this.#clock.now();
    let count = 0;
    try {
      for (;;) {
        const removed = await this.#store.removeExpired(now, BATCH);
        count += removed;
        // Fewer than wanted need not be the last ones: a store passes over those that are just in use.
        if (removed === 0 || this.#stopped || !(await claim.holds())) return count;
        if (removed === BATCH) await otherWork();
      }
    } finally {
      if (count > 0) this.#events.emit({ type: "cleanedUp", at: now, count });
    }
  }
}

/** The right to clean up. */
interface Claim {
  /** Whether it still holds; else another process has taken over. */
  holds(): Promise<boolean>;
}

/** Lets the event loop turn, which a store in this process may never do. No matter of time, so not of the clock's. */
const otherWork = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));
