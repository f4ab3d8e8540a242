import { EventEmitter } from "node:events";
import { callable } from "./callable.ts";
import type { Callback } from "./callback.ts";
import { restoredCookie } from "./cookie.ts";
import type { SessionRequest } from "./request.ts";
import { type Session, SessionBase } from "./session.ts";
import type { SessionData } from "./session-data.ts";

abstract class StoreBase extends EventEmitter {
  /** Takes whatever options a store has, and does nothing with them. */
  constructor(_options?: unknown) {
    super();
  }

  /** The session with this id, or null or undefined when there is none. An error with code `ENOENT` says so too. */
  // biome-ignore lint/suspicious/noExplicitAny: stores annotate the error as they like
  abstract get(sid: string, callback: (error: any, session?: SessionData | null) => void): void;

  /** Writes a session, whether there was one or not. */
  abstract set(sid: string, session: SessionData, callback?: Callback): void;

  /** Removes a session. */
  abstract destroy(sid: string, callback?: Callback): void;

  /** Tells the store that a session is in use, so that it does not expire. Called when nothing else changed. */
  touch?(sid: string, session: SessionData, callback?: Callback): void;

  /** All sessions. Not used by this library. */
  all?(
    // biome-ignore lint/suspicious/noExplicitAny: stores annotate the error as they like
    callback: (error: any, sessions?: SessionData[] | { [sid: string]: SessionData } | null) => void,
  ): void;

  /** How many sessions there are. Not used by this library. */
  // biome-ignore lint/suspicious/noExplicitAny: stores annotate the error as they like
  length?(callback: (error: any, length?: number) => void): void;

  /** Removes all sessions. Not used by this library. */
  clear?(callback?: Callback): void;

  /** Destroys the request's session and gives it a new one. */
  regenerate(request: SessionRequest, callback: Callback): void {
    this.destroy(request.sessionID, (error) => {
      (this as unknown as SessionStore).generate(request);
      callback(error);
    });
  }

  /** The session with this id, outside of any request. */
  // biome-ignore lint/suspicious/noExplicitAny: callers annotate the error as they like
  load(sid: string, callback: (error?: any, session?: Session & Partial<SessionData>) => void): void {
    this.get(sid, (error, data) => {
      if (error) return callback(error);
      if (!data) return callback();
      const request = { sessionID: sid, sessionStore: this } as unknown as SessionRequest;
      callback(null, this.createSession(request, data));
    });
  }

  /** Makes `req.session` of what a store had. */
  createSession(request: SessionRequest, data: SessionData): Session & Partial<SessionData> {
    return createSession(request, data);
  }
}

/**
 * The base class of session stores: a store has `get`, `set` and `destroy`, best also `touch`. It may emit `disconnect`,
 * after which requests have no session until it emits `connect`.
 */
export const Store = callable(StoreBase);
export type Store = StoreBase;

/** A store in use: `session(options)` gives it `generate`. */
export interface SessionStore extends Store {
  /** Gives the request a new session. */
  generate(request: SessionRequest): void;
}

/** Any store that was made for express-session, whichever base class it has. */
export interface AnyStore {
  // biome-ignore-start lint/suspicious/noExplicitAny: stores annotate as they like
  get(sid: string, callback: (error: any, session?: any) => void): unknown;
  set(sid: string, session: any, callback?: (...args: any[]) => void): unknown;
  destroy(sid: string, callback?: (...args: any[]) => void): unknown;
  touch?(sid: string, session: any, callback?: (...args: any[]) => void): unknown;
  on(event: string, listener: (...args: any[]) => void): unknown;
  // biome-ignore-end lint/suspicious/noExplicitAny: stores annotate as they like
}

/** Makes `req.session` of what a store had: dates are dates again, methods are methods. */
export function createSession(request: SessionRequest, data: SessionData): Session & Partial<SessionData> {
  data.cookie = restoredCookie(data.cookie);
  const session = new SessionBase(request, data);
  request.session = session;
  return session;
}

const ownCreateSession = Store.prototype.createSession;

/**
 * A store made for express-session inherits from its `Store`, whose sessions know no promises. Such a store gets our
 * `createSession`, unless it has one of its own. Whether sessions of this store can be made by `createSession` above.
 */
export function adoptStore(store: AnyStore): boolean {
  const { createSession: present } = store as Partial<Store>;
  if (present === ownCreateSession) return true;
  if (present !== undefined && !isInheritedUnchanged(store)) return false;
  Object.defineProperty(store, "createSession", { value: ownCreateSession, configurable: true, writable: true });
  return true;
}

/** Whether `createSession` comes from a base class that is to stores what `Store` is. */
function isInheritedUnchanged(store: object): boolean {
  let holder: object | null = store;
  while (holder !== null && !Object.hasOwn(holder, "createSession")) holder = Object.getPrototypeOf(holder);
  if (holder === null || holder === store) return false;
  return (
    Object.hasOwn(holder, "regenerate") &&
    Object.hasOwn(holder, "load") &&
    !Object.hasOwn(holder, "get") &&
    !Object.hasOwn(holder, "set")
  );
}
