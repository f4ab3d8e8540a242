import type { IncomingMessage } from "node:http";
import type { RequestSession } from "../request-session.ts";
import type { Session } from "./session.ts";
import type { SessionData } from "./session-data.ts";
import type { SessionStore } from "./store.ts";

declare global {
  namespace Express {
    interface CoatcheckSessions {
      /** That of `coatcheck/express-session`. */
      expressSession: Session & Partial<SessionData>;
    }
    interface Request {
      session: RequestSession;
      /** The id of the session, as `req.session.id`. */
      sessionID: string;
      /** The store that the session is kept in. */
      sessionStore: SessionStore;
    }
  }
}

/** A request with a session, of Express, of Connect or of node:http. */
export interface SessionRequest extends IncomingMessage, Omit<Express.Request, "session"> {
  session: Session & Partial<SessionData>;
  sessionID: string;
  sessionStore: SessionStore;
  /** Whether Express thinks that the client speaks TLS. */
  readonly secure?: boolean | undefined;
  /** The URL before Express took mount points off. */
  originalUrl?: string | undefined;
}
