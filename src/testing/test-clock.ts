import type { Clock, Duration, Instant } from "../session/clock.ts";

interface Appointment {
  readonly at: Instant;
  readonly callback: () => void;
}

/** A clock that stands still until it is told to go on. It starts at 2030-01-01T00:00:00Z, or at `start`. */
export class TestClock implements Clock {
  #now: Instant;
  /** In the order in which they were made. */
  readonly #appointments = new Set<Appointment>();

  constructor(start: Instant = Date.UTC(2030, 0, 1)) {
    this.#now = start;
  }

  now(): Instant {
    return this.#now;
  }

  schedule(callback: () => void, delay: Duration): () => void {
    const appointment = { at: this.#now + Math.max(0, delay), callback };
    this.#appointments.add(appointment);
    return () => {
      this.#appointments.delete(appointment);
    };
  }

  /** How many callbacks wait for their time. */
  get pending(): number {
    return this.#appointments.size;
  }

  /**
   * Lets time pass: runs what becomes due, in order of time, those of one instant in the order in which they were made, and
   * each at its own instant. After each, and at the end, what promises have to do is done before it goes on.
   *
   * @param length milliseconds, 0 or more
   * @throws what a callback throws; the clock then stands at its instant
   */
  async advance(length: Duration): Promise<void> {
    if (!(length >= 0)) throw new TypeError("TestClock.advance: time does not go back");
    const end = this.#now + length;
    await promisesSettled();
    for (let next = this.#next(end); next !== undefined; next = this.#next(end)) {
      this.#appointments.delete(next);
      this.#now = Math.max(this.#now, next.at);
      next.callback();
      await promisesSettled();
    }
    this.#now = end;
  }

  #next(end: Instant): Appointment | undefined {
    let next: Appointment | undefined;
    for (const appointment of this.#appointments)
      if (appointment.at <= end && (next === undefined || appointment.at < next.at)) next = appointment;
    return next;
  }
}

// Taken now, in case a test runner replaces it by a clock of its own.
const { setTimeout } = globalThis;

/** Waits until no promise has anything left to do: a task of the event loop comes after all of them. */
const promisesSettled = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));
