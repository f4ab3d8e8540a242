/**
 * A drop-in for express-session: the same options, stores, cookies and sessions.
 *
 * @module
 */
import { Cookie as CookieOf, type CookieOptions as Options } from "./cookie.ts";
import { MemoryStore as MemoryStoreOf } from "./memory-store.ts";
import { Session as SessionOf } from "./session.ts";
import type { SessionData as Data } from "./session-data.ts";
import { type SessionMiddleware, sessionMiddleware } from "./session-middleware.ts";
import type { SessionOptions as AllOptions } from "./settings.ts";
import { Store as StoreOf } from "./store.ts";

/** `session(options)`, and the classes on it. */
export interface SessionFunction {
  /**
   * Middleware that gives requests a `req.session`.
   *
   * @throws TypeError for options that express-session refuses
   */
  (options?: AllOptions): SessionMiddleware;
  readonly Store: typeof StoreOf;
  readonly MemoryStore: typeof MemoryStoreOf;
  readonly Cookie: typeof CookieOf;
  readonly Session: typeof SessionOf;
}

const call = {
  session: (options?: AllOptions) => sessionMiddleware(options),
};
const session: SessionFunction = Object.assign(call.session, {
  Store: StoreOf,
  MemoryStore: MemoryStoreOf,
  Cookie: CookieOf,
  Session: SessionOf,
});

/** The types, as express-session's have them: `session.SessionOptions`. */
namespace session {
  export type SessionOptions = AllOptions;
  export type CookieOptions = Options;
  export type SessionData = Data;
  export type Store = StoreOf;
  export type MemoryStore = MemoryStoreOf;
  export type Cookie = CookieOf;
  export type Session = SessionOf;
}

export { Cookie, type CookieData, type CookieOptions } from "./cookie.ts";
export { MemoryStore } from "./memory-store.ts";
export type { SessionRequest } from "./request.ts";
export { Session } from "./session.ts";
// All of it, so that applications can add to SessionData.
export * from "./session-data.ts";
export type { SessionMiddleware } from "./session-middleware.ts";
export type { SessionOptions } from "./settings.ts";
export { type AnyStore, type SessionStore, Store } from "./store.ts";
// The last name makes it what `require` returns.
export { session as default, session as "module.exports" };
