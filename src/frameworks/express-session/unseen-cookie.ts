import { type Cookie, restoredCookie } from "./cookie.ts";
import type { SessionRequest } from "./request.ts";
import { fill, type Session, SessionBase } from "./session.ts";
import type { SessionData } from "./session-data.ts";

/** Has what the store kept of a session's cookie. */
export interface CookieSource {
  /** The session whose cookie nobody has looked at. */
  sessionOfUnseenCookie: Session | undefined;
  readonly storedCookie: SessionData["cookie"] | undefined;
}

const source = Symbol("coatcheck.cookie");
type WithSource = Session & { req: { [source]: CookieSource } };

/** `session.cookie` until somebody looks. Shared by all, so that a session costs no closures. */
const unseen: PropertyDescriptor & ThisType<WithSource> = {
  get() {
    const cookie = restoredCookie(this.req[source].storedCookie as Cookie);
    this.cookie = cookie;
    return cookie;
  },
  set(value: Cookie) {
    this.req[source].sessionOfUnseenCookie = undefined;
    Object.defineProperty(this, "cookie", { value, configurable: true, enumerable: true, writable: true });
  },
  configurable: true,
  enumerable: true,
};

/** Makes `req.session` of data and a stored cookie, without making a cookie of that before somebody looks. */
export function createSessionWithUnseenCookie(request: SessionRequest, data: object, by: CookieSource): void {
  (request as unknown as WithSource["req"])[source] = by;
  const session = new SessionBase(request);
  Object.defineProperty(session, "cookie", unseen);
  fill(session, data);
  by.sessionOfUnseenCookie = session;
  request.session = session;
}
