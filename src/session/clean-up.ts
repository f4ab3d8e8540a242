import type { SessionStore } from "../stores/store.ts";
import { type Clock, type Duration, minutes } from "./clock.ts";
import { randomBytes } from "./crypto.ts";
import type { SessionEvents } from "./events.ts";
import { hashSecret, newSecret, type SessionId } from "./token.ts";

const BATCH = 500;
const INTERVAL: Duration = minutes(5);

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
      this.#run(() => this.#claimed())
        .catch(() => 0)
        .finally(() => this.start());
    }, wait);
  }

  /** Removes all that has expired by now; the number removed. */
  run(): Promise<number> {
    return this.#run(async () => true);
  }

  /** Stops, and waits for a run that is under way. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancel?.();
    await this.#running?.catch(() => 0);
  }

  #run(mayRun: () => Promise<boolean>): Promise<number> {
    this.#running ??= mayRun()
      .then((may) => (may ? this.#batches() : 0))
      .finally(() => {
        this.#running = undefined;
      });
    return this.#running;
  }

  /** Whether no other process has cleaned up in the last minutes, and none begins now. */
  async #claimed(): Promise<boolean> {
    const now = this.#clock.now();
    const expiresAt = now + INTERVAL / 2;
    const claim = await this.#store.read(CLEAN_UP_CLAIM);
    if (claim !== undefined)
      return (
        claim.expiresAt <= now &&
        (await this.#store.update(claim.id, claim.version, { seenAt: now, expiresAt })) === "updated"
      );
    try {
      const secretHash = await hashSecret(newSecret());
      const times = { createdAt: now, seenAt: now, expiresAt };
      const meta = { secretAt: now };
      await this.#store.create({ id: CLEAN_UP_CLAIM, secretHash, version: 1, ...times, meta, data: new Map() });
      return true;
    } catch {
      // Another process was first, or the store is down.
      return false;
    }
  }

  async #batches(): Promise<number> {
    const now = this.#clock.now();
    let count = 0;
    for (;;) {
      const removed = await this.#store.removeExpired(now, BATCH);
      count += removed;
      if (removed < BATCH || this.#stopped) break;
    }
    if (count > 0) this.#events.emit({ type: "cleanedUp", at: now, count });
    return count;
  }
}
