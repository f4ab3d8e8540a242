import type { IncomingMessage } from "node:http";
import type { Clock, Session, Sessions } from "coatcheck";
import { sessionOf } from "coatcheck/express";
import type { Account, ShopDatabase } from "./database.ts";
import { LoginNeeded } from "./problems.ts";
import type { Visit } from "./visit.ts";

/** What the routes work with. */
export class Shop {
  readonly sessions: Sessions<Visit>;
  readonly database: ShopDatabase;
  readonly clock: Clock;

  constructor(sessions: Sessions<Visit>, database: ShopDatabase, clock: Clock) {
    this.sessions = sessions;
    this.database = database;
    this.clock = clock;
  }

  session(request: IncomingMessage): Session<Visit> {
    return sessionOf(this.sessions, request);
  }

  /** The account that is logged in. */
  account(request: IncomingMessage): Account | undefined {
    const { userId } = this.session(request);
    return userId === undefined ? undefined : this.database.account(userId);
  }

  /**
   * The same, for routes that need one.
   *
   * @param returnTo where a login leads when it was asked for here
   * @throws LoginNeeded
   */
  requireAccount(request: IncomingMessage, returnTo: string): Account {
    const account = this.account(request);
    if (account === undefined) throw new LoginNeeded(returnTo);
    return account;
  }
}
