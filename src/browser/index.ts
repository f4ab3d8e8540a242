/**
 * State in the browser: typed values in its storages and cookies, a client that keeps the session, preferences. Nothing
 * here needs a package, and it can be imported on a server, where every value is the initial one.
 *
 * @module
 */

export { type Client, type ClientOptions, type ClientRoutes, createClient } from "./client.ts";
export { type CookieState, cookieState } from "./cookie-state.ts";
export type { CookieSource } from "./cookies.ts";
export { type Check, oneOf } from "./entry.ts";
export { localState } from "./local-state.ts";
export {
  type Preference,
  type Preferences,
  type PreferencesOptions,
  preferences,
  type Stamped,
} from "./preferences.ts";
export type { SessionSnapshot, SessionState, SessionStatus } from "./session-state.ts";
export type { State, StateOptions } from "./state.ts";
export { setStateUser, wipeState } from "./state-user.ts";
export { tabState } from "./tab-state.ts";
export { onTrouble, type Trouble, type TroubleReason } from "./trouble.ts";
