import { callable } from "./callable.ts";
import { type Callback, promised } from "./callback.ts";
import type { SessionRequest } from "./request.ts";
import type { SessionData } from "./session-data.ts";
import { visitOf } from "./visit.ts";

export class SessionBase {
  /** The request's session id. */
  declare readonly id: string;
  /** The request that the session was opened for. */
  declare readonly req: SessionRequest;
  declare cookie: SessionData["cookie"];

  /** A session with the id of the request, and a copy of `data`. */
  constructor(request: Pick<SessionRequest, "sessionID" | "sessionStore">, data?: object) {
    hide(this, "req", request);
    hide(this, "id", request.sessionID);
    fill(this, data);
  }

  /** Sets the cookie's time back to what it began with. Done for every response. */
  touch(): this {
    return this.resetMaxAge();
  }

  /** As `touch`. */
  resetMaxAge(): this {
    this.cookie.maxAge = this.cookie.originalMaxAge;
    return this;
  }

  /** Writes the session into the store now. Done for every response that needs it. */
  save(): Promise<void>;
  save(callback: Callback | undefined): this;
  save(callback?: Callback): this | Promise<void> {
    const store = this.req.sessionStore;
    visitOf(this.req)?.saving(this as never);
    if (callback === undefined) return promised((done) => store.set(this.id, this as never, done));
    store.set(this.id, this as never, callback);
    return this;
  }

  /** Replaces `req.session` by what the store has now; changes that were not saved are gone. */
  reload(): Promise<void>;
  reload(callback: Callback): this;
  reload(callback?: Callback): this | Promise<void> {
    if (callback === undefined) return promised((done) => void this.reload(done));
    const request = this.req;
    const store = request.sessionStore;
    store.get(this.id, (error, data) => {
      if (error) return callback(error);
      if (!data) return callback(new Error("failed to load session"));
      store.createSession(request, data);
      visitOf(request)?.reloaded();
      callback();
    });
    return this;
  }

  /** Removes the session from the store and from the request. */
  destroy(): Promise<void>;
  destroy(callback: Callback | undefined): this;
  destroy(callback?: Callback): this | Promise<void> {
    delete (this.req as { session?: unknown }).session;
    const store = this.req.sessionStore;
    if (callback === undefined) return promised((done) => store.destroy(this.id, done));
    store.destroy(this.id, callback);
    return this;
  }

  /** Removes the session from the store, and gives the request an empty one with another id. Do it at login. */
  regenerate(): Promise<void>;
  regenerate(callback: Callback): this;
  regenerate(callback?: Callback): this | Promise<void> {
    const store = this.req.sessionStore;
    if (callback === undefined) return promised((done) => store.regenerate(this.req, done));
    store.regenerate(this.req, callback);
    return this;
  }

  /** `console.log` shows the cookie, also when nobody has looked at it. */
  [Symbol.for("nodejs.util.inspect.custom")](): this {
    void this.cookie;
    return this;
  }
}

/** Copies data to a session. Names that sessions themselves have are left out. */
export function fill(session: SessionBase, data: object | undefined): void {
  const own = session as unknown as Record<string, unknown>;
  for (const key in data) if (!(key in session)) own[key] = (data as Record<string, unknown>)[key];
}

/** One for all, as there are many sessions and this is half of what one costs. */
const hidden: PropertyDescriptor = { value: undefined };

/** A property that is read only and not enumerable. */
function hide(session: object, name: string, value: unknown): void {
  hidden.value = value;
  Object.defineProperty(session, name, hidden);
  hidden.value = undefined;
}

/** One visitor's session: the data that the store keeps, and the methods to save, reload, destroy and regenerate it. */
export const Session = callable(SessionBase);
export type Session = SessionBase;
