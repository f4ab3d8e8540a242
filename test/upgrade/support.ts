import {
  createSessions,
  type SessionDataShape,
  type Sessions,
  type SessionsOptions,
  type UpgradeSource,
} from "coatcheck";
import { sessionMiddleware } from "coatcheck/express";
import { memoryStore } from "coatcheck/memory";
import { TestClock } from "coatcheck/testing";
import express from "express";
import { type Answer, type Handler, type Sending, type Served, serve } from "../frameworks/express-session/support.ts";

/** The same shop, with a native session. */
export interface Native {
  readonly sessions: Sessions;
  readonly clock: TestClock;
  readonly served: Served;
}

/** Serves the native application on Express 5. It begins now, as the cookies of other libraries do. */
export async function native(
  upgradeFrom: UpgradeSource,
  options: Partial<SessionsOptions<SessionDataShape>> = {},
): Promise<Native> {
  const clock = new TestClock(Date.now());
  const sessions = createSessions<SessionDataShape>({ clock, upgradeFrom, store: memoryStore(), ...options });
  const handler: Handler = async (request, response) => {
    const { session } = request;
    if (request.path === "/logout") await session.logout();
    else if (request.path === "/add") session.data.cart = [...(session.data.cart ?? []), request.query.item];
    response.json({ user: session.userId, isNew: session.isNew, data: { ...session.data } });
  };
  const served = await serve("Express 5", express.Router().use(sessionMiddleware(sessions)) as Handler, { handler });
  return { sessions, clock, served };
}

/** A browser that visits several servers of one site: cookies know no ports. */
export class Browser {
  readonly jar = new Map<string, string>();

  get cookie(): string | undefined {
    return this.jar.size === 0 ? undefined : [...this.jar].map(([name, value]) => `${name}=${value}`).join("; ");
  }

  copy(): Browser {
    const copy = new Browser();
    for (const [name, value] of this.jar) copy.jar.set(name, value);
    return copy;
  }

  async send(served: Pick<Served, "send">, path: string, sending: Sending = {}): Promise<Answer> {
    const answer = await served.send(path, { cookie: this.cookie, ...sending });
    for (const { name, value, attributes } of answer.setCookies) {
      const { expires } = attributes;
      const gone = attributes["max-age"] === "0" || (typeof expires === "string" && Date.parse(expires) <= Date.now());
      if (gone) this.jar.delete(name);
      else this.jar.set(name, value);
    }
    return answer;
  }

  async get<Body = Seen>(served: Pick<Served, "send">, path: string, sending: Sending = {}): Promise<Body> {
    const { status, body } = await this.send(served, path, sending);
    if (status !== 200) throw new Error(`${path} answered ${status}: ${body}`);
    return JSON.parse(body) as Body;
  }
}

export interface Seen {
  readonly user?: string;
  readonly isNew: boolean;
  readonly data: Record<string, unknown>;
}

export const POST: Sending = { method: "POST" };
