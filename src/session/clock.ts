/** A point in time: milliseconds since 1970-01-01T00:00:00Z. */
export type Instant = number;

/** A length of time in milliseconds. */
export type Duration = number;

/** The one source of time. Replace it in tests with `TestClock` from `coatcheck/testing`. */
export interface Clock {
  /** The present instant. */
  now(): Instant;
  /** Runs `callback` once after `delay`; the returned function cancels it. Must not keep the process alive. */
  schedule(callback: () => void, delay: Duration): () => void;
}

/** The clock of the machine. */
export const systemClock: Clock = {
  now: () => Date.now(),
  schedule(callback, delay) {
    const timer: unknown = setTimeout(callback, delay);
    // Only Node's timers hold the process open and can be told not to.
    (timer as { unref?: () => void }).unref?.();
    return () => clearTimeout(timer as number);
  },
};

export const seconds = (n: number): Duration => n * 1000;
export const minutes = (n: number): Duration => n * 60_000;
export const hours = (n: number): Duration => n * 3_600_000;
export const days = (n: number): Duration => n * 86_400_000;
