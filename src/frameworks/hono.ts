/**
 * Sessions for Hono 4, on Node, Bun, Deno and Workers.
 *
 * @module
 */
import type { Context, MiddlewareHandler } from "hono";
import { isSafeMethod } from "../csrf/fetch-metadata.ts";
import type { Duration } from "../session/clock.ts";
import { CoatcheckError } from "../session/errors.ts";
import type { RouteOptions } from "../session/options.ts";
import type { Session, SessionDataShape } from "../session/session.ts";
import type { Sessions } from "../session/sessions.ts";
import type { RequestFacts } from "../session/transport.ts";
import { authorize, recentAuthCheck, scopeCheck, type TokenCheck, type TokenVerifier } from "../tokens/bearer.ts";
import type { AccessClaims } from "../tokens/claims.ts";
import type { SessionTokens } from "../tokens/session-tokens.ts";
import { TokenEndpoint, type TokenRouteOptions } from "../tokens/token-endpoint.ts";
import { isFault } from "./error-answer.ts";
import { answerOf, endTurnAtAbort, tokenResponse, withChanges } from "./fetch-response.ts";

export { accessTokenOf } from "../tokens/bearer.ts";

export interface HonoOptions extends RouteOptions {
  /**
   * `getConnInfo` of the platform (`@hono/node-server/conninfo`, `hono/bun`, `hono/deno`, `hono/cloudflare-workers`):
   * for the address in the list of a user's devices, and for `trustProxy`. Default none.
   */
  readonly connInfo?: (c: Context) => { readonly remote: { readonly address?: string | undefined } };
  /**
   * Whether the peer is a proxy that may speak for the client, with `X-Forwarded-Proto`, `-For` and `-Host`: `true`
   * where nobody reaches the application but through one proxy, or a function of an address. Default false.
   */
  readonly trustProxy?: boolean | ((address: string | undefined) => boolean);
  /**
   * Answers errors of this library. Default: the error's status and one sentence as JSON; a fault of the application
   * goes to the console. What handlers throw goes to `app.onError`; where that answers 500, as Hono's own does, an
   * error of this library is answered here.
   */
  readonly onError?: (error: unknown, c: Context) => Response | Promise<Response>;
}

/**
 * What the middleware adds to the context: `new Hono<SessionEnv<Visit>>()` types `c.var.session` and
 * `c.get("session")`.
 */
export interface SessionEnv<Data extends object = SessionDataShape> {
  Variables: { session: Session<Data> };
}

const opened = Symbol("coatcheck.sessions");
type WithSessions = { [opened]?: Map<unknown, Session<never>> };

/**
 * Sets `c.var.session`, and saves what changed when the handler is done, before the response leaves. When a handler
 * throws, nothing is saved. What a streamed body changes after that is saved by `session.commit()`. A path that wants
 * other options gets a middleware of its own, in front of the general one. Hono's `etag()` goes behind this one: the 304 of
 * one in front has no Set-Cookie.
 */
export function sessionMiddleware<Data extends object = SessionDataShape>(
  sessions: Sessions<Data>,
  options: HonoOptions = {},
): MiddlewareHandler<SessionEnv<Data>> {
  const { onError = answerOf } = options;

  return async function session(c, next) {
    const own = c as unknown as WithSessions;
    // In front with options of its own: the first one counts.
    if (own[opened]?.has(sessions)) return next();
    // Asked for now, because on Node a signal does not know what happened before.
    const signal = isSafeMethod(c.req.method) ? undefined : c.req.raw.signal;
    let exchange: Awaited<ReturnType<typeof sessions.open>>;
    try {
      exchange = await sessions.open(honoRequest(c, options), options);
    } catch (error) {
      return onError(error, c);
    }
    if (signal !== undefined) endTurnAtAbort(signal, exchange);
    own[opened] = (own[opened] ?? new Map()).set(sessions, exchange.session as never);
    c.set("session", exchange.session);
    try {
      await next();
      // Hono has caught what a handler threw, and answered it.
      if (c.error === undefined) await exchange.commit().catch((error) => replace(c, () => onError(error, c)));
      else if (c.error instanceof CoatcheckError && !isFault(c.error) && c.res.status === 500)
        await replace(c, () => onError(c.error, c));
      const changed = withChanges(c.res, exchange.responseChanges());
      if (changed !== c.res) await replace(c, () => changed);
    } finally {
      exchange.end();
    }
  };
}

/**
 * The session of a request, typed by its `sessions`, where the app has no `SessionEnv`.
 *
 * @throws TypeError when `sessionMiddleware(sessions)` did not run before
 */
export function sessionOf<Data extends object>(sessions: Sessions<Data>, c: Context): Session<Data> {
  const session = (c as unknown as WithSessions)[opened]?.get(sessions);
  if (session === undefined) throw new TypeError("sessionOf: use sessionMiddleware(sessions) before this handler");
  return session as unknown as Session<Data>;
}

/**
 * Lets a request through that brings a valid access token; `accessTokenOf(tokens, c)` is the token. Others are answered 401
 * (RFC 6750).
 */
export function requireAccessToken<Token extends AccessClaims>(
  tokens: TokenVerifier<Token>,
  { onError = answerOf }: Pick<HonoOptions, "onError"> = {},
): MiddlewareHandler {
  return async function accessToken(c, next) {
    try {
      await authorize(tokens, c.req.header("authorization"), c);
    } catch (error) {
      return onError(error, c);
    }
    await next();
  };
}

/** Lets a token through that has this scope, or these, with spaces between. Others are answered 403. */
export const requireScope = (scope: string, options: Pick<HonoOptions, "onError"> = {}): MiddlewareHandler =>
  checked(scopeCheck(scope), options);

/** Lets a token through whose user authenticated less than `maxAge` ms ago. Others are answered 401, to step up (RFC 9470). */
export const requireRecentAuth = (maxAge: Duration, options: Pick<HonoOptions, "onError"> = {}): MiddlewareHandler =>
  checked(recentAuthCheck(maxAge), options);

/**
 * A route that hands out tokens: for logging in, refreshing or logging out. The handler's result is sent as JSON, nothing as
 * 204, never to be stored. The refresh token travels in an HttpOnly cookie, and requests of other sites are refused.
 */
export function tokenRoute<Own extends string>(
  tokens: SessionTokens<Own>,
  handler: (endpoint: TokenEndpoint<Own>, c: Context) => unknown,
  options: TokenRouteOptions & Pick<HonoOptions, "connInfo" | "trustProxy" | "onError"> = {},
): (c: Context) => Promise<Response> {
  const { onError = answerOf } = options;

  return async function token(c) {
    return tokenResponse(
      () => new TokenEndpoint(tokens, honoRequest(c, options), options),
      (endpoint) => handler(endpoint, c),
      (error) => onError(error, c),
    );
  };
}

function checked(check: TokenCheck, { onError = answerOf }: Pick<HonoOptions, "onError">): MiddlewareHandler {
  return async function checkAccessToken(c, next) {
    try {
      check(c);
    } catch (error) {
      return onError(error, c);
    }
    await next();
  };
}

async function replace(c: Context, answer: () => Response | Promise<Response>): Promise<void> {
  const before = c.res;
  const response = await answer();
  if (before.body !== response.body) await before.body?.cancel();
  // Hono adds the headers of the response that is there to the one that comes, unless there is none.
  c.res = undefined;
  c.res = response;
}

function honoRequest(c: Context, { connInfo, trustProxy = false }: HonoOptions): RequestFacts {
  const { req } = c;
  const url = new URL(req.url);
  const peer = connInfo?.(c).remote.address;
  const isTrusted = typeof trustProxy === "function" ? trustProxy : () => trustProxy;
  // The nearest proxy writes last.
  const forwarded = (name: string) => (isTrusted(peer) ? req.header(name)?.split(",").at(-1)?.trim() : undefined);
  return {
    method: req.method,
    header: (name) => req.header(name),
    get secure() {
      return (forwarded("x-forwarded-proto")?.toLowerCase() ?? url.protocol.slice(0, -1)) === "https";
    },
    get host() {
      return forwarded("x-forwarded-host") ?? url.host;
    },
    get ip() {
      if (typeof trustProxy !== "function") return forwarded("x-forwarded-for") ?? peer;
      const hops = req.header("x-forwarded-for")?.split(",") ?? [];
      let address = peer;
      while (hops.length > 0 && isTrusted(address)) address = hops.pop()?.trim();
      return address;
    },
  };
}
