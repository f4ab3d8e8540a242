declare global {
  namespace Express {
    /** What `req.session` may be: every adapter that a program imports adds its own. */
    interface CoatcheckSessions {}
  }
}

/** `req.session` in Express: of a program that imports two adapters, what either of them may have put there. */
export type RequestSession = AllOf<Express.CoatcheckSessions[keyof Express.CoatcheckSessions]>;

/** The members of a union, all at once. */
type AllOf<Union> = (Union extends unknown ? (member: Union) => void : never) extends (all: infer All) => void
  ? All
  : never;
