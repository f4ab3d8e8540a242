import { seconds, systemClock } from "../../session/clock.ts";
import { base64url, randomBytes } from "../../session/crypto.ts";
import { Turns } from "../../session/turns.ts";
import { isSecure } from "./connection.ts";
import { Cookie, CookieBase, type CookieOptions } from "./cookie.ts";
import { deprecate } from "./deprecation.ts";
import { MemoryStore } from "./memory-store.ts";
import type { SessionRequest } from "./request.ts";
import { SessionBase } from "./session.ts";
import type { Secret } from "./signature.ts";
import { type AnyStore, adoptStore, type SessionStore } from "./store.ts";
import { visitOf } from "./visit.ts";
import { Warnings } from "./warnings.ts";

/** Those of express-session 1.19, and `concurrency`. */
export interface SessionOptions {
  /**
   * What the cookie is signed with: at least 32 random bytes. Of a list the first signs and all verify, so that a secret
   * can be replaced without ending the sessions.
   */
  secret?: Secret | readonly Secret[] | undefined;
  /** Settings of the cookie, or a function that answers them for each request. */
  cookie?: CookieOptions | CookieFunction | undefined;
  /** Makes the ids of new sessions. They must be unique and not guessable. Default: 24 random bytes. */
  genid?(request: SessionRequest): string;
  /** The name of the cookie. Default `connect.sid`. */
  name?: string | undefined;
  /** @deprecated Call it `name`. */
  key?: string | undefined;
  /**
   * Whether `X-Forwarded-Proto` says that the connection is secure. Default: as Express's `trust proxy` setting has it.
   */
  proxy?: boolean | undefined;
  /** Saves sessions that did not change. Default true, which is deprecated; `false` is right for stores with `touch`. */
  resave?: boolean | undefined;
  /** Sets the cookie with every response, so that its time begins again. Default false. */
  rolling?: boolean | undefined;
  /** Saves new sessions that nothing was put into. Default true, which is deprecated; `false` is right for logins. */
  saveUninitialized?: boolean | undefined;
  /** Where the sessions are. Default: a new `MemoryStore`. */
  store?: AnyStore | undefined;
  /** What `req.session = null` does: `"destroy"` removes the session from the store; default `"keep"`. */
  unset?: "destroy" | "keep" | undefined;
  /**
   * Not in express-session. `"turns"`: requests of one session that are not GET, HEAD or OPTIONS run one after the other
   * in this process, so that none undoes what another has changed. A request waits at most five seconds. Default: they
   * run at once.
   */
  concurrency?: "turns" | undefined;
}

/** Settings of the cookie for each request. As a method's, its parameter may be declared as Express's request. */
export type CookieFunction = { of(request: SessionRequest): CookieOptions }["of"];

/** What the options come to. */
export interface Settings {
  readonly name: string;
  readonly proxy: boolean | undefined;
  readonly resave: boolean;
  readonly rolling: boolean;
  readonly saveUninitialized: boolean;
  readonly unsetDestroys: boolean;
  /** The list that was given, so that an application may change it; undefined where `req.secret` is used. */
  readonly secrets: readonly Secret[] | undefined;
  readonly store: SessionStore;
  /** Whether the store wants to know that a session is in use. */
  readonly touches: boolean;
  /** Whether sessions of this store are made by this library alone. */
  readonly ownSessions: boolean;
  readonly turns: Turns | undefined;
  readonly warnings: Warnings;
  cookieFor(request: SessionRequest): CookieOptions;
  /** Gives the request a new session. */
  generate(request: SessionRequest): void;
  /** Whether nobody can tell when a new session is made. */
  canWait(): boolean;
}

/** @throws TypeError for options that express-session refuses */
export function settingsOf(options: SessionOptions): Settings {
  const { genid = newId, proxy, rolling, unset, concurrency } = options;
  let { resave, saveUninitialized, secret } = options;
  const cookie = options.cookie || {};
  const store = (options.store || new MemoryStore()) as SessionStore;

  if (typeof genid !== "function") throw new TypeError("genid option must be a function");
  if (resave === undefined) {
    deprecate("undefined resave option; provide resave option");
    resave = true;
  }
  if (saveUninitialized === undefined) {
    deprecate("undefined saveUninitialized option; provide saveUninitialized option");
    saveUninitialized = true;
  }
  if (unset && unset !== "destroy" && unset !== "keep") throw new TypeError('unset option must be "destroy" or "keep"');
  if (concurrency && concurrency !== "turns") throw new TypeError('concurrency option must be "turns"');
  if (Array.isArray(secret) && secret.length === 0)
    throw new TypeError("secret option array must contain one or more strings");
  if (!secret) deprecate("req.secret; provide secret option");

  const warnings = new Warnings();
  if (process.env.NODE_ENV === "production" && store instanceof MemoryStore) warnings.give("COATCHECK_MEMORY_STORE");

  const cookieFor = typeof cookie === "function" ? cookie : () => cookie;

  function generate(request: SessionRequest): void {
    request.sessionID = genid(request);
    const session = new SessionBase(request);
    request.session = session;
    const options = cookieFor(request);
    session.cookie = new CookieBase(options);
    if (options?.secure !== "auto" && options?.sameSite !== "auto") return;
    const secure = isSecure(request, proxy);
    if (options.secure === "auto") session.cookie.secure = secure;
    if (options.sameSite === "auto") session.cookie.sameSite = secure ? "none" : "lax";
  }

  // Where two middlewares share a store, each request has the settings of its own.
  const dispatch = (request: SessionRequest): void => (visitOf(request)?.settings.generate ?? generate)(request);
  dispatches.add(dispatch);
  store.generate = dispatch;
  const plain = options.genid === undefined && typeof cookie === "object" && isPossible(cookie);

  return {
    name: options.name || options.key || "connect.sid",
    proxy,
    resave: Boolean(resave),
    rolling: Boolean(rolling),
    saveUninitialized: Boolean(saveUninitialized),
    unsetDestroys: unset === "destroy",
    secrets: secret ? (Array.isArray(secret) ? secret : [secret as Secret]) : undefined,
    store,
    touches: typeof store.touch === "function",
    ownSessions: adoptStore(store),
    turns: concurrency === "turns" ? turnsOf(store) : undefined,
    warnings,
    cookieFor,
    generate,
    canWait: () => plain && dispatches.has(store.generate),
  };
}

/** The `generate` methods that stores were given here. */
const dispatches = new WeakSet<(request: SessionRequest) => void>();

const ID_BYTES = 24;
let random: Uint8Array = new Uint8Array(0);

/** 24 random bytes, 32 characters. Many are drawn at once, as that takes no longer than one. */
function newId(): string {
  if (random.length === 0) random = randomBytes(ID_BYTES * 64);
  const bytes = random.subarray(0, ID_BYTES);
  random = random.subarray(ID_BYTES);
  const id = base64url(bytes);
  bytes.fill(0);
  return id;
}

/** Whether cookies can be made of these options. If not, that is said for every request, as in express-session. */
function isPossible(options: CookieOptions): boolean {
  try {
    return new Cookie(options) !== undefined;
  } catch {
    return false;
  }
}

const turnsByStore = new WeakMap<object, Turns>();

/** Requests take turns by store, also where two middlewares share it. */
function turnsOf(store: object): Turns {
  let turns = turnsByStore.get(store);
  if (turns === undefined) {
    turns = new Turns(systemClock, seconds(5));
    turnsByStore.set(store, turns);
  }
  return turns;
}
