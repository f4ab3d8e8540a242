import type { Clock, Instant } from "../session/clock.ts";

import { browser, localArea } from "./platform.ts";

/** For how long a mark is kept, in milliseconds: far longer than storage and messages take to reach all tabs. */
const NEWS = 1000;
/** How long a lease is good for when its tab dies, and how long two tabs that take it at once need to see each other. */
const LEASE = 10_000;
const SETTLE = 60;

/** When a run did what others must learn of, later than all before; 0 when it did not. */
type Mark = Instant;
type Work<Result> = (last: Mark) => Promise<readonly [result: Result, mark: Mark]>;

/**
 * Runs `work` alone among all tabs of this origin.
 *
 * A lock is not enough: browsers grant it to the next tab before storage and messages of the tab before have reached that
 * tab's process. So a run leaves a mark, and `work` is given the mark of the run before, to wait until what belongs to it
 * has arrived (`arrival`). The mark is the name of a second lock, since the lock manager alone is up to date everywhere.
 *
 * Where there are no Web Locks, on plain HTTP and in old browsers, a lease in `localStorage` does: a tab writes its own, and
 * has it when nobody else's is there after a while.
 */
export async function alone<Result>(name: string, clock: Clock, work: Work<Result>): Promise<Result> {
  const locks = browser.navigator?.locks;
  const prefix = `${name}#`;
  if (!locks) return withLease(prefix, clock, work);
  return locks.request(name, async () => {
    const marks = (await locks.query()).held.map((lock) => Number(lock.name.split(prefix)[1]) || 0);
    const [result, mark] = await work(Math.max(0, ...marks));
    if (mark)
      await new Promise<void>((granted) => {
        locks.request(prefix + mark, () => {
          granted();
          return wait(clock, NEWS);
        });
      });
    return result;
  });
}

async function withLease<Result>(lease: string, clock: Clock, work: Work<Result>): Promise<Result> {
  let mine: string | null = "";
  try {
    while (localArea().getItem(lease) !== mine) {
      // The fraction only tells tabs apart.
      if (clock.now() >= Number(localArea().getItem(lease))) {
        mine = `${clock.now() + LEASE + Math.random()}`;
        localArea().setItem(lease, mine);
      }
      await wait(clock, SETTLE);
    }
  } catch {
    // Without storage, tabs have nothing in common that could be spoilt.
  }
  try {
    // What another tab did before has arrived while this one waited.
    return (await work(0))[0];
  } finally {
    try {
      localArea().removeItem(lease);
    } catch {}
  }
}

/** Waits until something is there, at most for as long as marks are kept: 200 times 5 milliseconds. */
export async function arrival(clock: Clock, there: () => boolean): Promise<void> {
  for (let tries = 200; tries > 0 && !there(); tries--) await wait(clock, 5);
}

export const wait = (clock: Clock, delay: number): Promise<void> =>
  new Promise((done) => {
    clock.schedule(done, delay);
  });
