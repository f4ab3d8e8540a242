import { type Clock, type Instant, systemClock } from "../session/clock.ts";
import { cookieState } from "./cookie-state.ts";
import type { CookieSource } from "./cookies.ts";
import { type Check, checked } from "./entry.ts";
import type { WithoutSecrets } from "./secrets.ts";

/** What a preference is without a choice, and what it may be. */
export interface Preference<T> {
  readonly initial: NoInfer<T>;
  readonly schema: Check<T>;
}

/** Preferences with the time when each was chosen, in milliseconds since 1970: what browser and server exchange. */
export type Stamped<Values> = { readonly [Name in keyof Values]?: readonly [value: Values[Name], at: Instant] };

export interface PreferencesOptions {
  /** Name of the cookie's state. Default `preferences`. */
  readonly key?: string;
  /**
   * Sends the browser's preferences to the server and resolves with the merged ones, or with `undefined` when nobody is
   * logged in. The server merges them with `merge`.
   */
  readonly exchange?: (mine: unknown) => Promise<unknown>;
  /** Default: the machine's. */
  readonly clock?: Clock;
}

/**
 * Preferences that live in the browser for an anonymous visitor, become the user's at login, and follow the user to the next
 * device. Of each, the newest choice wins, wherever it was made; of two equally old ones, the server's.
 */
export interface Preferences<Values> {
  readonly get: () => Values;
  /** Keeps choices in the browser, where the next page sees them at once, and sends them to the server. */
  readonly set: (choices: Partial<Values>) => Promise<void>;
  /** Brings browser and server together: after a login, and on the first page of a new device. Rejects as `exchange` does. */
  readonly sync: () => Promise<void>;
  readonly subscribe: (listener: () => void) => () => void;
  /** The same as `get`. */
  readonly getSnapshot: () => Values;
  /** The same as `get`: the server has seen the same cookie. */
  readonly getServerSnapshot: () => Values;
  /** For the server: the preferences that a request brings. `userId` is the logged-in user. */
  readonly read: (request: CookieSource, userId?: string) => Values;
  /** For the server: the same with their stamps. */
  readonly readStamped: (request: CookieSource, userId?: string) => Stamped<Values>;
  /**
   * For the server: what it keeps, merged with what a browser sent. Both are checked; unknown names and values that do not
   * fit are dropped, and no choice is from the future.
   */
  readonly merge: (server: unknown, browser: unknown) => Stamped<Values>;
  /** Stamped preferences without their stamps, the initial values for what nobody chose. */
  readonly values: (stamped: unknown) => Values;
  /** Stops listening to changes. */
  readonly [Symbol.dispose]: () => void;
}

export function preferences<Values extends object>(
  definition: { readonly [Name in keyof Values]: Preference<Values[Name]> } & WithoutSecrets<Values>,
  options: PreferencesOptions = {},
): Preferences<Values> {
  const { key = "preferences", exchange, clock = systemClock } = options;
  const kinds = Object.entries(definition) as [string, Preference<unknown>][];

  const clean = (stamped: unknown): Stamped<Values> => {
    const fitting: Record<string, readonly [unknown, Instant]> = {};
    for (const [name, { schema }] of kinds) {
      try {
        const [value, at] = (stamped as Record<string, readonly [unknown, Instant]>)[name] ?? [];
        if (at !== undefined && at >= 0) fitting[name] = [checked(schema, value), Math.min(at, clock.now())];
      } catch {
        // Not what it should be.
      }
    }
    return fitting as Stamped<Values>;
  };

  const merge = (server: unknown, browser: unknown): Stamped<Values> => {
    const merged = clean(server) as Record<string, readonly [unknown, Instant]>;
    for (const [name, stamped] of Object.entries<readonly [unknown, Instant]>(clean(browser) as typeof merged))
      if (stamped[1] > (merged[name]?.[1] ?? -1)) merged[name] = stamped;
    return merged as Stamped<Values>;
  };

  const values = (stamped: unknown): Values => {
    const known = clean(stamped) as Record<string, readonly [unknown, Instant]>;
    return Object.fromEntries(kinds.map(([name, { initial }]) => [name, (known[name] ?? [initial])[0]])) as Values;
  };

  const isObject = (value: unknown): value is Stamped<Values> => typeof value === "object" && value !== null;
  const state = cookieState<Stamped<Values>>(key, { initial: {}, schema: isObject, clock } as never);
  let seen: unknown;
  let present: Values;
  const get = () => {
    const stamped = state.get();
    if (stamped !== seen) {
      seen = stamped;
      present = values(stamped);
    }
    return present;
  };

  const sync = async () => {
    const merged = await exchange?.(state.get());
    // What was chosen while the answer was on its way is newer.
    if (merged) await state.update((mine) => merge(merged, mine));
  };

  return {
    get,
    async set(choices) {
      const chosen = Object.entries(choices).map(([name, value]) => [name, [value, clock.now()]]);
      state.set({ ...state.get(), ...Object.fromEntries(chosen) });
      await sync();
    },
    sync,
    subscribe: state.subscribe,
    getSnapshot: get,
    getServerSnapshot: get,
    read: (request, userId) => values(state.read(request, userId)),
    readStamped: (request, userId) => clean(state.read(request, userId)),
    merge,
    values,
    [Symbol.dispose]: state[Symbol.dispose],
  };
}
