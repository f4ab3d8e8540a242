import type { SessionRequest } from "./request.ts";

/** Makes the session of a request, when somebody looks at it. */
export interface Maker {
  /** Whether nobody has looked. */
  isUnseen: boolean;
  /** Whether the client came with a session, so that `req.sessionID` is known. */
  readonly isKnown: boolean;
  /** Makes `req.session` and `req.sessionID`. */
  make(): void;
}

const maker = Symbol("coatcheck.session");
type WithMaker = SessionRequest & { [maker]: Maker };

/** Properties of requests whose session nobody has looked at. Shared by all, so that a request costs no closures. */
const session: PropertyDescriptor & ThisType<WithMaker> = {
  get() {
    this[maker].make();
    return this.session;
  },
  set(value: unknown) {
    const by = this[maker];
    if (!by.isKnown) by.make();
    by.isUnseen = false;
    define(this, "session", value);
  },
  configurable: true,
  enumerable: true,
};
const sessionID: PropertyDescriptor & ThisType<WithMaker> = {
  get() {
    this[maker].make();
    return this.sessionID;
  },
  set(value: unknown) {
    this[maker].make();
    define(this, "sessionID", value);
  },
  configurable: true,
  enumerable: true,
};

/** Remembers who makes the session of a request. */
export function setMaker(request: object, by: Maker): void {
  (request as WithMaker)[maker] = by;
}

/** Who makes the session of a request. */
export const makerOf = (request: object): Maker | undefined => (request as Partial<WithMaker>)[maker];

/** Gives the request a `session`, and unless it is known a `sessionID`, that are made when somebody looks. */
export function promiseSession(request: SessionRequest, by: Maker): void {
  by.isUnseen = true;
  Object.defineProperty(request, "session", session);
  if (!by.isKnown) Object.defineProperty(request, "sessionID", sessionID);
}

/** Makes them ordinary properties, without a value. */
export function makeOrdinary(request: SessionRequest, by: Maker): void {
  define(request, "session", undefined);
  if (by.isUnseen && !by.isKnown) define(request, "sessionID", undefined);
  by.isUnseen = false;
}

/** Whether `req.session` is still the one that waits, for it may have been deleted unseen. */
export function isWaiting(request: object): boolean {
  return Object.getOwnPropertyDescriptor(request, "session")?.get === session.get;
}

const ordinary: PropertyDescriptor = { value: undefined, configurable: true, enumerable: true, writable: true };

function define(request: object, name: string, value: unknown): void {
  ordinary.value = value;
  Object.defineProperty(request, name, ordinary);
  ordinary.value = undefined;
}
