import { type Duration, seconds, systemClock } from "../session/clock.ts";

/** How long work waits for what came before it, which may hang. */
const PATIENCE: Duration = seconds(1);

/**
 * Lets pieces of work that would be in each other's way go one after the other, within this process and for as long as that
 * takes no longer than a second. Nothing may depend on it.
 */
export class OneByOne {
  #last: Promise<unknown> = Promise.resolve();

  run<Result>(work: () => Promise<Result>): Promise<Result> {
    const last = this.#last;
    const turn = new Promise<void>((resolve) => {
      const cancel = systemClock.schedule(resolve, PATIENCE);
      last.finally(() => {
        cancel();
        resolve();
      });
    });
    const running = turn.then(work);
    this.#last = running.catch(() => {});
    return running;
  }
}
