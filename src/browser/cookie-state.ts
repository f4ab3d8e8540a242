import { days } from "../session/clock.ts";
import { type CookieSource, cookieArea, cookieFrom, listenToCookies } from "./cookies.ts";
import { decode } from "./entry.ts";
import type { NotSecretName, WithoutSecrets } from "./secrets.ts";
import { createState, type State, type StateOptions } from "./state.ts";
import { EVERYBODY, nameOf } from "./user.ts";

/** A typed value in a cookie that scripts and the server can read. */
export interface CookieState<T> extends State<T> {
  /**
   * The value that a request brings, for the server, so that its page agrees with the browser's. `userId` is the logged-in
   * user, unless the state is shared.
   */
  readonly read: (request: CookieSource, userId?: string) => T;
}

/**
 * A typed value in a cookie, `Path=/; SameSite=Lax`, for what the server needs to render a page: theme, language. It
 * holds about 3 kB and travels with every request; for anything else take `localState`.
 */
export function cookieState<T, const Key extends string = string>(
  key: Key & NotSecretName<Key>,
  options: StateOptions<T> & WithoutSecrets<T>,
): CookieState<T> {
  // Browsers keep no cookie for longer.
  const state = createState(cookieArea, key, { ttl: days(400), ...options });
  listenToCookies();
  return {
    ...state,
    getServerSnapshot: state.get,
    read(request, userId = "") {
      const name = nameOf(options.shared ? EVERYBODY : encodeURIComponent(userId), key);
      return decode(options, cookieFrom(request, name))[0];
    },
  };
}
