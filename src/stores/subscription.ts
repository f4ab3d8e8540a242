import { type Clock, type Duration, seconds } from "../session/clock.ts";

/** A connection over which a server tells of news. */
export interface Line {
  /** Resolves when the server has answered. */
  ping(): Promise<unknown>;
  /** Ends it. Calling it again does nothing. */
  close(): void;
}

/** How often a line shows that it is alive. */
const INTERVAL: Duration = seconds(5);
/** How long the server may take to connect, or to answer. */
const PATIENCE: Duration = seconds(5);
const FIRST_PAUSE: Duration = 100;
const LONGEST_PAUSE: Duration = seconds(2);

/** Keeps a line open, whatever happens to it, until it is stopped. Nothing that fails gets out. */
export class Subscription {
  readonly #open: (ended: () => void) => Promise<Line>;
  readonly #standing: () => void;
  readonly #clock: Clock;
  readonly #running: Promise<void>;
  #line: Line | undefined;
  #wake = () => {};
  #stopped = false;

  /** `open` is given what to call when the line breaks; `standing` is called each time it stands. */
  constructor(open: (ended: () => void) => Promise<Line>, standing: () => void, clock: Clock) {
    this.#open = open;
    this.#standing = standing;
    this.#clock = clock;
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#line?.close();
    this.#wake();
    await this.#running;
  }

  async #run(): Promise<void> {
    for (let pause = FIRST_PAUSE; !this.#stopped; pause = Math.min(2 * pause, LONGEST_PAUSE)) {
      try {
        if (await this.#hold()) pause = FIRST_PAUSE;
      } catch {
        // Whoever reads the log finds out by itself that the server is away.
      }
      this.#line?.close();
      this.#line = undefined;
      await this.#sleep(pause);
    }
  }

  /** Opens a line and keeps it until it breaks; rejects when it cannot be opened, or is silent. */
  async #hold(): Promise<boolean> {
    let standing = true;
    const opening = this.#open(() => {
      standing = false;
      this.#wake();
    });
    const line = await this.#inTime(opening, () => opening.then((late) => late.close()).catch(() => {}));
    this.#line = line;
    this.#standing();
    while (standing && !this.#stopped) {
      await this.#sleep(INTERVAL);
      if (standing && !this.#stopped) await this.#inTime(line.ping());
    }
    return true;
  }

  #sleep(length: Duration): Promise<void> {
    if (this.#stopped) return Promise.resolve();
    return new Promise((resolve) => {
      const cancel = this.#clock.schedule(resolve, length);
      this.#wake = () => {
        cancel();
        resolve();
      };
    });
  }

  #inTime<Result>(work: Promise<Result>, tooLate = () => {}): Promise<Result> {
    return new Promise((resolve, reject) => {
      const cancel = this.#clock.schedule(() => {
        tooLate();
        reject(new Error(`no answer within ${PATIENCE} ms`));
      }, PATIENCE);
      work.then(resolve, reject).finally(cancel);
    });
  }
}
