import { systemClock } from "../../session/clock.ts";
import { callable } from "./callable.ts";
import type { Callback } from "./callback.ts";
import type { Cookie } from "./cookie.ts";
import type { SessionData } from "./session-data.ts";
import { type AnyStore, Store } from "./store.ts";

class MemoryStoreBase extends Store {
  /** The sessions as JSON, by id. */
  sessions: Record<string, string> = Object.create(null);

  override get(sid: string, callback: (error: unknown, session?: SessionData) => void): void {
    setImmediate(callback, null, live(this, sid));
  }

  override set(sid: string, session: SessionData, callback?: Callback): void {
    this.sessions[sid] = JSON.stringify(session);
    if (callback) setImmediate(callback);
  }

  override destroy(sid: string, callback?: Callback): void {
    delete this.sessions[sid];
    if (callback) setImmediate(callback);
  }

  /** Takes over the session's cookie, and nothing else of it. */
  override touch(sid: string, session: SessionData, callback?: Callback): void {
    const present = live(this, sid);
    if (present !== undefined) {
      present.cookie = session.cookie;
      this.sessions[sid] = JSON.stringify(present);
    }
    if (callback) setImmediate(callback);
  }

  override all(callback?: (error: unknown, sessions: { [sid: string]: SessionData }) => void): void {
    const sessions: { [sid: string]: SessionData } = Object.create(null);
    for (const sid of Object.keys(this.sessions)) {
      const session = live(this, sid);
      if (session !== undefined) sessions[sid] = session;
    }
    if (callback) setImmediate(callback, null, sessions);
  }

  override length(callback: (error: unknown, length?: number) => void): void {
    this.all((error, sessions) => callback(error, Object.keys(sessions).length));
  }

  override clear(callback?: Callback): void {
    this.sessions = Object.create(null);
    if (callback) setImmediate(callback);
  }
}

/** Sessions in the memory of this process: for development and tests. */
export const MemoryStore = callable(MemoryStoreBase);
export type MemoryStore = MemoryStoreBase;

/** A session that has not expired; one that has is removed. */
function live({ sessions }: MemoryStoreBase, sid: string): SessionData | undefined {
  const text = sessions[sid];
  if (text === undefined) return undefined;
  const session: SessionData = JSON.parse(text);
  if (!isExpired(session.cookie)) return session;
  delete sessions[sid];
  return undefined;
}

/** A session as the text that this store keeps, taken apart where the cookie ends. */
export class StoredText {
  readonly text: string;
  readonly cookie: SessionData["cookie"];
  /** All but the cookie as JSON. */
  readonly data: string;

  constructor(text: string, cookie: SessionData["cookie"], data: string) {
    this.text = text;
    this.cookie = cookie;
    this.data = data;
  }

  /** All but the cookie. */
  parsedData(): object {
    return JSON.parse(this.data);
  }
}

/**
 * A store whose sessions can be read without making objects of them. Only of this class itself: who changed a method wants
 * it called.
 */
export function asMemoryStore(store: AnyStore): MemoryStore | undefined {
  const { get, touch } = MemoryStoreBase.prototype;
  return store.get === get && store.touch === touch ? (store as MemoryStore) : undefined;
}

/** Like `get`, at once; "other" for a text that has to be read as a whole. */
export function readText({ sessions }: MemoryStore, sid: string): StoredText | "other" | undefined {
  const text = sessions[sid];
  if (text === undefined) return undefined;
  const parts = partsOf(text);
  if (parts === undefined) return "other";
  if (!isExpired(parts.cookie)) return parts;
  delete sessions[sid];
  return undefined;
}

/** Like `touch`, at once; never has to be waited for. `known` is what was read. */
export function touchText(store: AnyStore, sid: string, cookie: Cookie, known: StoredText | undefined): false {
  const { sessions } = store as MemoryStore;
  const text = sessions[sid];
  // Mostly nobody has written the session meanwhile.
  const parts = text === undefined || text === known?.text ? known : partsOf(text);
  if (text === undefined || parts === undefined) {
    MemoryStoreBase.prototype.touch.call(store as MemoryStore, sid, { cookie });
  } else if (!isExpired(parts.cookie)) {
    sessions[sid] = `${BEGIN}${JSON.stringify(cookie)}${parts.data === "{}" ? "" : ","}${parts.data.slice(1)}`;
  }
  return false;
}

const BEGIN = '{"cookie":';

/** Takes `{"cookie":{…},…}` apart; undefined when it does not look like that. */
function partsOf(text: string): StoredText | undefined {
  if (!text.startsWith(`${BEGIN}{`)) return undefined;
  // A cookie has no objects in it. Where one of its texts has a brace, what comes before is no JSON.
  const end = text.indexOf("}", BEGIN.length) + 1;
  const data = text[end] === "," ? `{${text.slice(end + 1)}` : "{}";
  try {
    return new StoredText(text, JSON.parse(text.slice(BEGIN.length, end)), data);
  } catch {
    return undefined;
  }
}

function isExpired(cookie: Partial<Cookie> | undefined): boolean {
  const expires: unknown = cookie?.expires;
  const at = typeof expires === "string" ? new Date(expires) : expires;
  return at instanceof Date && at.valueOf() <= systemClock.now();
}
