import type { IncomingMessage, ServerResponse } from "node:http";
import { createSessions, days, minutes } from "coatcheck";
import { memoryStore } from "coatcheck/memory";
import { withSession } from "coatcheck/node";
import { TestClock } from "coatcheck/testing";
import { serve } from "./support.ts";

/** An answer that a test wants before the real one. */
type Interruption = (request: IncomingMessage, response: ServerResponse) => boolean;

/**
 * A small application of coatcheck for the client: sessions in a cookie with a CSRF token, and token routes whose refresh
 * token is a session in another cookie. It counts what it is asked.
 */
export async function clientServer() {
  const clock = new TestClock();
  const sessions = createSessions({ store: memoryStore(), clock, announceExpiry: true });
  const refreshes = createSessions({ store: memoryStore(), clock, cookie: { name: "__Host-Http-refresh" } });
  const asked: string[] = [];
  const accessTokens = new Map<string, string>();
  let issued = 0;
  let interrupt: Interruption | undefined;

  const json = (response: ServerResponse, status: number, body: object) => {
    response.writeHead(status, { "Content-Type": "application/json", "Cache-Control": "no-store" });
    response.end(JSON.stringify(body));
  };
  const readBody = async (request: IncomingMessage) => {
    let text = "";
    for await (const chunk of request.setEncoding("utf8")) text += chunk;
    return text;
  };

  const withCookie = withSession(sessions, async (request, response, session) => {
    if (request.url === "/login") {
      const { user, password } = JSON.parse(await readBody(request));
      if (password !== "right") return json(response, 401, {});
      await session.login(user);
      response.setHeader("X-CSRF-Token", await session.csrfToken());
      return json(response, 200, {});
    }
    if (request.method !== "GET") {
      try {
        await session.requireCsrfToken(request.headers["x-csrf-token"]);
      } catch {
        // Nothing was done: with this token it may be tried again.
        response.setHeader("X-CSRF-Token", await session.csrfToken());
        return json(response, 403, {});
      }
    }
    if (request.url === "/logout") await session.logout();
    else if (session.userId === undefined) return json(response, 401, {});
    return json(response, 200, { userId: session.userId, body: await readBody(request) });
  });

  const issue = (userId: string) => {
    const accessToken = `access-${++issued}`;
    accessTokens.set(accessToken, userId);
    return { accessToken, expiresIn: 600 };
  };
  const withTokens = withSession(refreshes, async (request, response, session) => {
    if (request.url === "/token/login") {
      const { user } = JSON.parse(await readBody(request));
      await session.login(user);
      return json(response, 200, issue(user));
    }
    if (request.url === "/token/logout") {
      await session.logout();
      return json(response, 200, {});
    }
    if (request.url === "/token/refresh") {
      if (session.userId === undefined) return json(response, 401, {});
      await session.renew();
      return json(response, 200, issue(session.userId));
    }
    const userId = accessTokens.get(request.headers.authorization?.replace("Bearer ", "") ?? "");
    return json(response, userId === undefined ? 401 : 200, { userId });
  });

  const server = await serve((request, response) => {
    const path = request.url ?? "";
    if (!/^\/(login|logout|profile|things|token)/.test(path)) {
      // Pages of signed-in users may be kept by the back/forward cache here, for the test of it.
      return false;
    }
    asked.push(`${request.method} ${path}`);
    if (interrupt?.(request, response)) return true;
    return (path.startsWith("/token") ? withTokens : withCookie)(request, response);
  });

  return {
    ...server,
    clock,
    sessions,
    /** Takes what was asked since the last time. */
    takeAsked: () => asked.splice(0),
    /** Answers the next requests, for as long as `interruption` says that it did. */
    interruptWith(interruption: Interruption | undefined) {
      interrupt = interruption;
    },
    /** Makes all access tokens worthless, as time does. */
    expireAccessTokens: () => accessTokens.clear(),
    /** Ends every session of both kinds. */
    async endAll() {
      await sessions.revokeEveryone();
      await refreshes.revokeEveryone();
    },
    /** Longer than any session lasts without activity. */
    idle: minutes(30),
    absolute: days(1) / 2,
  };
}
