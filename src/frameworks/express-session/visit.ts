import { isForwardedSecure, isSecure } from "./connection.ts";
import { restoredCookie } from "./cookie.ts";
import { debug } from "./debug.ts";
import { StoredText, touchText } from "./memory-store.ts";
import type { SessionRequest } from "./request.ts";
import type { Session } from "./session.ts";
import type { SessionData } from "./session-data.ts";
import { setCookieLine } from "./set-cookie.ts";
import type { Settings } from "./settings.ts";
import { type Secret, sign } from "./signature.ts";
import { createSession } from "./store.ts";
import { isWaiting, type Maker, makeOrdinary, makerOf, promiseSession, setMaker } from "./unseen.ts";
import { type CookieSource, createSessionWithUnseenCookie } from "./unseen-cookie.ts";

type AnySession = Session & SessionData;
type Next = (error?: unknown) => void;

/** What is known of the session of this request, if `session()` has run for it. */
export const visitOf = (request: object): Visit | undefined => makerOf(request) as Visit | undefined;

/** One request: how its session was, and what has to become of it before the response leaves. */
export class Visit implements Maker, CookieSource {
  isUnseen = false;
  sessionOfUnseenCookie: Session | undefined;
  readonly settings: Settings;
  readonly #request: SessionRequest;
  readonly #next: Next;
  readonly #secrets: readonly Secret[];
  /** The id that the client brought in a cookie with a good signature. */
  readonly #cookieId: string | undefined;
  /** What the store had. */
  #stored: SessionData | StoredText | undefined;
  #isOpen = false;
  /** How the session began: its id, and all but the cookie as JSON. */
  #originalId: string | undefined;
  #originalText: string | undefined;
  /** How it was last saved. */
  #savedId: string | undefined;
  #savedText: string | undefined;
  #isModified = false;
  #isTouched = false;
  #isDestroyed = false;
  /** Whether this response has written the session, or told the store of its use. */
  #isCommitted = false;
  /** The id that the client has after this response, once its head is written. */
  #knownId: string | undefined;
  #isHeadWritten = false;
  #isGivenUp = false;
  /** Ends the request's turn on the session. */
  endTurn: (() => void) | undefined;

  constructor(
    settings: Settings,
    request: SessionRequest,
    next: Next,
    secrets: readonly Secret[],
    cookieId: string | undefined,
  ) {
    this.settings = settings;
    this.#request = request;
    this.#next = next;
    this.#secrets = secrets;
    this.#cookieId = cookieId;
    setMaker(request, this);
  }

  /** The request has a new session. */
  begin(): void {
    debug("new session");
    this.#isOpen = true;
    if (this.settings.canWait()) promiseSession(this.#request, this);
    else this.make();
  }

  /** The request has the session that its cookie names. */
  resume(stored: SessionData | StoredText): void {
    debug("session found");
    this.#isOpen = true;
    this.#originalId = this.#cookieId;
    this.#stored = stored;
    if (this.settings.ownSessions && isOrdinary(stored.cookie)) promiseSession(this.#request, this);
    else this.make();
  }

  get isKnown(): boolean {
    return this.#stored !== undefined;
  }

  get storedCookie(): SessionData["cookie"] | undefined {
    return this.#stored?.cookie;
  }

  /** Makes `req.session`, and notes how it is. */
  make(): void {
    makeOrdinary(this.#request, this);
    try {
      if (this.#stored === undefined) this.#generate();
      else this.#inflate(this.#stored);
    } catch (error) {
      // Half a session would fail again when the error is answered.
      this.giveUp();
      makeOrdinary(this.#request, this);
      throw error;
    }
  }

  /** `session.save()` is called. */
  saving(session: AnySession): void {
    this.#savedId = session.id;
    this.#savedText = textOf(session);
  }

  /** `req.session` is as the store has it. */
  reloaded(): void {
    if (!this.settings.resave) this.saving(this.#request.session as AnySession);
  }

  /**
   * Brings the store up to date before the response's first byte, or, if `isLast`, before its last. Returns whether that
   * takes time; `done` is called when it is over.
   *
   * @throws TypeError for data that cannot be written as JSON
   */
  settle(isLast: boolean, done: () => void): boolean {
    if (!this.#isOpen || this.#isGivenUp) return false;
    const request = this.#request;
    const { saveUninitialized, resave, rolling } = this.settings;
    if (this.isUnseen && isWaiting(request)) {
      if (!this.isKnown && !saveUninitialized) return false;
      const isSame = this.isKnown && request.sessionID === this.#cookieId;
      if (isSame && !resave && !rolling) return isLast && this.#touchUnseen(done);
    }
    const session = request.session as AnySession | null | undefined;
    if (session == null) return this.#destroyUnset(done);
    // As in express-session: `false` and the like are no session, and remove none.
    if (!session) return false;
    // As in express-session: such an id is nobody's.
    if (typeof request.sessionID !== "string") return false;
    const text = textOf(session);
    this.#isModified = this.#originalId !== session.id || this.#originalText !== text;
    const isNew = this.#cookieId !== request.sessionID;
    const isSaved = this.#savedId === session.id && this.#savedText === text;
    const mustSave = !saveUninitialized && this.#savedText === undefined && isNew ? this.#isModified : !isSaved;
    if (!isLast && !(mustSave && (isNew || this.#isModified))) return false;
    this.#touchOnce(session);
    if (mustSave) return this.#save(session, text, done);
    return !isNew && !this.#isCommitted && this.#touchStored(session, done);
  }

  /** The `Set-Cookie` line that the head of the response needs. */
  setCookie(): string | undefined {
    this.#isHeadWritten = true;
    this.#knownId = this.#cookieId;
    const request = this.#request;
    if (!this.#isOpen || this.#isGivenUp || this.isUnseen) return undefined;
    const session = request.session as AnySession | null | undefined;
    if (!session || typeof request.sessionID !== "string") return undefined;
    const { name, rolling, saveUninitialized } = this.settings;
    const isDue =
      this.#cookieId !== request.sessionID
        ? saveUninitialized || this.#isModified
        : rolling || (this.#isModified && this.#expires(session));
    if (!isDue) return undefined;
    this.#knownId = request.sessionID;
    if (session.cookie.secure && !isSecure(request, this.settings.proxy)) {
      debug("not secure, so no cookie");
      if (isForwardedSecure(request)) this.settings.warnings.give("COATCHECK_SECURE_COOKIE_DROPPED");
      return undefined;
    }
    this.#touchOnce(session);
    try {
      return setCookieLine(name, `s:${sign(request.sessionID, this.#secrets[0] as Secret)}`, session.cookie.data);
    } catch (error) {
      this.report(error);
      return undefined;
    }
  }

  /** The response is complete. */
  finish(): void {
    this.endTurn?.();
  }

  /** The session cannot be written: nothing more is tried, so that the application can answer that. */
  giveUp(): void {
    this.#isGivenUp = true;
  }

  /** Hands an error to the application's error handlers, when whatever runs now is over. */
  report(error: unknown): void {
    setImmediate(this.#next, error);
  }

  #generate(): void {
    const request = this.#request;
    this.settings.store.generate(request);
    this.#originalId = request.sessionID;
    this.#originalText = textOf(request.session);
  }

  #inflate(stored: SessionData | StoredText): void {
    const request = this.#request;
    // The session keeps its own id, also if the application has replaced `req.sessionID` before it looked.
    const { sessionID } = request;
    request.sessionID = this.#cookieId as string;
    this.#restore(stored);
    request.sessionID = sessionID;
    this.#originalText = stored instanceof StoredText ? stored.data : textOf(this.#request.session);
    if (this.settings.resave) return;
    this.#savedId = this.#originalId;
    this.#savedText = this.#originalText;
  }

  #restore(stored: SessionData | StoredText): void {
    if (stored instanceof StoredText) createSessionWithUnseenCookie(this.#request, stored.parsedData(), this);
    else if (this.settings.ownSessions) createSession(this.#request, stored);
    else this.settings.store.createSession(this.#request, stored);
  }

  #touchOnce(session: AnySession): void {
    if (this.#isTouched) return;
    this.#isTouched = true;
    // What has no end has nothing to begin again.
    const { storedCookie } = this;
    if (session === this.sessionOfUnseenCookie && storedCookie?.originalMaxAge === null && !storedCookie.expires)
      return;
    session.touch();
  }

  #expires(session: AnySession): boolean {
    const cookie = session === this.sessionOfUnseenCookie ? this.storedCookie : session.cookie;
    return cookie?.expires != null;
  }

  #save(session: AnySession, text: string, done: () => void): boolean {
    debug("saving");
    if (this.#isHeadWritten && this.#knownId !== session.id) this.settings.warnings.give("COATCHECK_SESSION_TOO_LATE");
    this.#isCommitted = true;
    return this.#wait((callback) => {
      session.save(callback);
      // A store may have added to the session what is not to be saved again.
      this.#savedText = text;
    }, done);
  }

  #touchStored(session: AnySession, done: () => void): boolean {
    const { store, touches } = this.settings;
    if (!touches) return false;
    debug("touching");
    this.#isCommitted = true;
    const stored = this.#stored;
    if (stored instanceof StoredText) {
      if (session === this.sessionOfUnseenCookie) return false;
      return touchText(store, this.#request.sessionID, session.cookie, stored);
    }
    return this.#wait((callback) => store.touch?.(this.#request.sessionID, session, callback), done);
  }

  /** Tells the store that a session is in use which nobody has looked at. */
  #touchUnseen(done: () => void): boolean {
    const stored = this.#stored;
    if (!this.settings.touches || this.#isCommitted || stored === undefined) return false;
    if (stored instanceof StoredText) {
      this.#isCommitted = true;
      const cookie = restoredCookie(stored.cookie);
      cookie.maxAge = cookie.originalMaxAge;
      return touchText(this.settings.store, this.#request.sessionID, cookie, stored);
    }
    this.#restore(stored);
    const session = this.#request.session as AnySession;
    this.#touchOnce(session);
    return this.#touchStored(session, done);
  }

  #destroyUnset(done: () => void): boolean {
    const request = this.#request;
    // A new session that was deleted unseen has no id, and nothing in the store.
    const hasId = this.isKnown || !this.isUnseen;
    if (!this.settings.unsetDestroys || this.#isDestroyed || !hasId || !request.sessionID) return false;
    debug("destroying");
    this.#isDestroyed = true;
    return this.#wait((callback) => this.settings.store.destroy(request.sessionID, callback), done);
  }

  /** Runs an operation of the store. Its error is the application's to handle; the response goes its way. */
  #wait(run: (callback: (error?: unknown) => void) => void, done: () => void): boolean {
    let isOver = false;
    let isLate = false;
    const over = (error?: unknown) => {
      if (isOver) return;
      isOver = true;
      if (error) this.report(error);
      if (isLate) done();
    };
    try {
      run(over);
    } catch (error) {
      over(error);
    }
    isLate = true;
    return !isOver;
  }
}

/** Whether a cookie can be made of this at any time, so that it need not be tried at once. */
function isOrdinary(cookie: unknown): boolean {
  return typeof cookie === "object" && cookie !== null && !("maxAge" in cookie);
}

/** All but the cookie as JSON. */
function textOf(session: object): string {
  const data: Record<string, unknown> = {};
  // Reading the cookie would make it.
  for (const key of Object.keys(session)) if (key !== "cookie") data[key] = (session as Record<string, unknown>)[key];
  return JSON.stringify(data);
}
