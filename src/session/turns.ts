import type { Clock, Duration } from "./clock.ts";

/** Ends a turn. Calling it again does nothing. */
export type EndTurn = () => void;

interface Waiter {
  begin(): void;
}

/**
 * Requests with unsafe methods on one session, one at a time, in order of arrival. Waiting is bounded: after `wait` a
 * request goes ahead without its turn, and the version check of the store protects it.
 */
export class Turns {
  readonly #queues = new Map<string, Waiter[]>();
  readonly #clock: Clock;
  readonly #wait: Duration;

  constructor(clock: Clock, wait: Duration) {
    this.#clock = clock;
    this.#wait = wait;
  }

  /** Waits for the turn of `key`. `onTimeout` is told when the wait was cut short. */
  take(key: string, onTimeout: () => void): EndTurn | Promise<EndTurn> {
    const queue = this.#queues.get(key);
    if (queue === undefined) {
      this.#queues.set(key, []);
      return this.#endOnce(key);
    }
    return new Promise((resolve) => {
      const waiter: Waiter = {
        begin: () => {
          cancel();
          resolve(this.#endOnce(key));
        },
      };
      const cancel = this.#clock.schedule(() => {
        queue.splice(queue.indexOf(waiter), 1);
        onTimeout();
        resolve(() => {});
      }, this.#wait);
      queue.push(waiter);
    });
  }

  #endOnce(key: string): EndTurn {
    let ended = false;
    return () => {
      if (ended) return;
      ended = true;
      const next = this.#queues.get(key)?.shift();
      if (next === undefined) this.#queues.delete(key);
      else next.begin();
    };
  }
}
