import { type Clock, type Duration, systemClock } from "../session/clock.ts";
import { decode, type EntryOptions, encode } from "./entry.ts";
import { alone, arrival } from "./locks.ts";
import { type Area, browser, callAll, onPage, type PageEvent } from "./platform.ts";
import { looksSecret } from "./secrets.ts";
import { report, type TroubleReason } from "./trouble.ts";
import { EVERYBODY, nameOf, PREFIX, readOwner, userOf } from "./user.ts";

export interface StateOptions<T> extends EntryOptions<T> {
  /** How long a value is kept after it was set, in milliseconds. Default: until it is removed; cookies 400 days. */
  readonly ttl?: Duration;
  /**
   * Whether the value belongs to the browser and not to its user: whoever is logged in, it is the same, and it outlives
   * the logout. Default false. Never for what tells something of a user.
   */
  readonly shared?: boolean;
  /** Default: the machine's. */
  readonly clock?: Clock;
}

/** A typed value in the browser's storage. Its functions can be passed on without it. */
export interface State<T> {
  /** The present value. The same object until it changes: to change it, set another one. */
  readonly get: () => T;
  /** Keeps another value. When two tabs set at the same time, the later one wins. */
  readonly set: (value: T) => void;
  /**
   * Changes the value by a function of the present one, which may run in any order with those of other tabs, but never at
   * the same time: none is lost. Resolves with the new value.
   */
  readonly update: (change: (value: T) => T) => Promise<T>;
  readonly remove: () => void;
  /** Calls `listener` after each change, whichever tab made it; the returned function stops it. */
  readonly subscribe: (listener: () => void) => () => void;
  /** The same as `get`. */
  readonly getSnapshot: () => T;
  /** What the first render shows, so that it agrees with the server's: the initial value, of a cookie the present one. */
  readonly getServerSnapshot: () => T;
  /** Stops listening to changes. */
  readonly [Symbol.dispose]: () => void;
}

/** Hears of a change: to the entry of this name, or to whose the state is. `mine` when this page made it. */
type Hear = (name: string | null | undefined, mine?: boolean) => void;
const states = new Set<Hear>();

export const changed: Hear = (name, mine) => {
  callAll(states, name, mine);
};

const onStorage = ({ key }: PageEvent) => changed(key);

/** A value in one of the browser's places for texts. */
export function createState<T>(area: () => Area, key: string, options: StateOptions<T>): State<T> {
  const { initial, ttl = Number.POSITIVE_INFINITY, shared, clock = systemClock } = options;
  const listeners = new Set<() => void>();
  let seen: string | null | undefined;
  let entry = decode(options, seen);
  /** What could not be stored, and whose it is. */
  let kept: readonly [owner: string, text: string] | false | undefined;

  const name = () => nameOf(shared ? EVERYBODY : userOf(readOwner()), key);

  const tell = (reason?: TroubleReason | false, error?: unknown) => reason && report({ key, reason, error });

  const read = () => {
    let text: string | null | undefined;
    try {
      text = kept && kept[0] === readOwner() ? kept[1] : area().getItem(name());
    } catch {}
    if (text !== seen) {
      seen = text;
      entry = decode(options, text);
      tell(entry[3], entry[4]);
    }
    return entry;
  };

  const get = () => (clock.now() < read()[1] ? entry[0] : initial);

  const set = (value: T) => {
    // One server serves many: what it kept would be shown to all.
    if (!browser.document) return;
    const now = clock.now();
    const expiresAt = now + ttl;
    const text = encode(options, value, Math.max(now, read()[2] + 1), expiresAt);
    const store = () => area().setItem(name(), text, expiresAt);
    let reason: TroubleReason | false = looksSecret(`"${key}":${text}`) ? "secret" : entry[3] === "newer" && entry[3];
    let error: unknown;
    try {
      if (!reason) store();
    } catch {
      try {
        for (const [name, old] of Object.entries(area() as object as Record<string, string>))
          if (name.startsWith(PREFIX) && now >= Number(old.split(";")[1])) area().removeItem(name);
        store();
      } catch (thrown) {
        error = thrown;
        reason = "refused";
      }
    }
    kept = reason && [readOwner(), text];
    tell(reason, error);
    changed(name(), true);
  };

  const hear: Hear = (other, mine) => {
    if (other && other !== PREFIX && other !== name()) return;
    // Another tab's value is later than what could not be stored here.
    kept = mine && kept;
    callAll(listeners);
  };
  states.add(hear);
  onPage("storage", onStorage);

  return {
    get,
    set,
    update: (change) =>
      alone(name(), clock, async (last) => {
        await arrival(clock, () => read()[2] >= last);
        set(change(get()));
        return [get(), read()[2]];
      }),
    remove() {
      kept = undefined;
      try {
        area().removeItem(name());
      } catch {}
      changed(name(), true);
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    getSnapshot: get,
    getServerSnapshot: () => initial,
    [Symbol.dispose]() {
      listeners.clear();
      states.delete(hear);
    },
  };
}
