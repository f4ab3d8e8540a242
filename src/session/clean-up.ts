import type { SessionStore } from "../stores/store.ts";
import { type Clock, type Duration, minutes } from "./clock.ts";
import type { SessionEvents } from "./events.ts";

const BATCH = 500;
const INTERVAL: Duration = minutes(5);

/** Removes expired records every five minutes, in batches, so that other work comes in between (row SC-07). */
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
    this.#cancel = this.#clock.schedule(() => {
      this.#cancel = undefined;
      this.run()
        .catch(() => 0)
        .finally(() => this.start());
    }, INTERVAL);
  }

  /** Removes all that has expired by now; the number removed. */
  run(): Promise<number> {
    this.#running ??= this.#batches().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  /** Stops, and waits for a run that is under way. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancel?.();
    await this.#running?.catch(() => 0);
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
