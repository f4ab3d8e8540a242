import { AsyncLocalStorage } from "node:async_hooks";
import type { Duration } from "coatcheck";
import type { TestClock } from "coatcheck/testing";

/** What befalls a store verb: nothing, an error before it is carried out, or the loss of its answer afterwards. */
export type Fault = "none" | "fail" | "lost";

/** Whoever does something: a request, the operator, the clean-up. */
export interface Actor {
  readonly name: string;
  /** Whether a fault, or a time-out, has befallen one of its verbs. */
  faulted: boolean;
}

interface Task {
  readonly label: string;
  readonly actor: Actor;
  readonly canFail: boolean;
  readonly proceed: (fault: Fault) => void;
}

/** Whatever is done outside of any request. */
const background: Actor = { name: "background", faulted: false };

/**
 * Decides the order of everything that can happen at the same time. Whatever wants to go on waits at a gate; one gate is
 * opened at a time, and the next only when nothing can happen any more without another one.
 */
export class Scheduler {
  readonly #clock: TestClock;
  readonly #actors = new AsyncLocalStorage<Actor>();
  readonly #tasks: Task[] = [];
  readonly #log: string[] = [];
  #busy = 0;
  #idle: () => void = () => {};

  constructor(clock: TestClock) {
    this.#clock = clock;
  }

  /** On whose behalf the present code runs. */
  get actor(): Actor {
    return this.#actors.getStore() ?? background;
  }

  /** How many gates are closed. */
  get waiting(): number {
    return this.#tasks.length;
  }

  /** What has happened, for the message of a failure. */
  get log(): readonly string[] {
    return this.#log;
  }

  note(text: string): void {
    this.#log.push(text);
  }

  as<Result>(actor: Actor, work: () => Result): Result {
    return this.#actors.run(actor, work);
  }

  /** Waits until this gate is opened. With `canFail`, the fault that is then to happen. */
  gate(label: string, canFail = false): Promise<Fault> {
    const { actor } = this;
    return new Promise((proceed) => {
      this.#tasks.push({ label, actor, canFail, proceed });
    });
  }

  /** Does what may take real time, with nothing else happening meanwhile. */
  async alone<Result>(work: () => Promise<Result>): Promise<Result> {
    this.#busy++;
    try {
      return await work();
    } finally {
      if (--this.#busy === 0) this.#idle();
    }
  }

  /** Opens one of the gates; `false` when there is none. */
  async step(pick: number, wish: Fault): Promise<boolean> {
    const [task] = this.#tasks.splice(pick % Math.max(1, this.#tasks.length), 1);
    if (task === undefined) return false;
    const fault = task.canFail ? wish : "none";
    this.note(`${task.actor.name}: ${task.label}${fault === "none" ? "" : ` (${fault})`}`);
    if (fault !== "none") task.actor.faulted = true;
    task.proceed(fault);
    await this.quiet();
    return true;
  }

  /** Notes that whoever is waiting now has waited too long, unless the returned function is called in time. */
  impatient(patience: Duration): () => void {
    const { actor } = this;
    return this.#clock.schedule(() => {
      actor.faulted = true;
    }, patience);
  }

  async advance(length: Duration): Promise<void> {
    this.note(`time passes: ${length} ms`);
    await this.#clock.advance(length);
    await this.quiet();
  }

  /** Waits until nothing can happen without another gate being opened. */
  async quiet(): Promise<void> {
    do {
      if (this.#busy > 0)
        await new Promise<void>((resolve) => {
          this.#idle = resolve;
        });
      await new Promise((resolve) => setImmediate(resolve));
    } while (this.#busy > 0);
  }
}
