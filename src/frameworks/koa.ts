/**
 * Sessions for Koa 3.
 *
 * @module
 */
import type { Context, DefaultState, Middleware } from "koa";
import type { Duration } from "../session/clock.ts";
import type { RouteOptions } from "../session/options.ts";
import type { Session, SessionDataShape } from "../session/session.ts";
import type { Sessions } from "../session/sessions.ts";
import type { RequestFacts } from "../session/transport.ts";
import { authorize, recentAuthCheck, scopeCheck, type TokenCheck, type TokenVerifier } from "../tokens/bearer.ts";
import type { AccessClaims } from "../tokens/claims.ts";
import type { SessionTokens } from "../tokens/session-tokens.ts";
import { TokenEndpoint, type TokenRouteOptions } from "../tokens/token-endpoint.ts";
import { errorAnswer, isFault } from "./error-answer.ts";
import { answerError, onClose } from "./node.ts";
import { headerOf } from "./node-request.ts";
import { applyChanges, forgetContent, gateResponse } from "./response-gate.ts";

export { accessTokenOf } from "../tokens/bearer.ts";

export interface KoaOptions extends RouteOptions {
  /**
   * Answers errors of this library: cross-site requests, a store that is down, conflicts. Default: the error's status
   * and one sentence as JSON; faults of the application are thrown on. `(error) => { throw error; }` throws all of
   * them on, to the middleware in front and to Koa.
   */
  readonly onError?: (error: unknown, ctx: Context) => unknown;
}

/** What the middleware adds to `ctx`. */
export interface SessionContext<Data extends object = SessionDataShape> {
  /** The visitor's session. */
  session: Session<Data>;
}

const opened = Symbol("coatcheck.sessions");
type WithSessions = { [opened]?: Map<unknown, Session<never>>; session?: unknown };

/**
 * Sets `ctx.session`, and saves what changed when the middleware behind it is done and nothing has been sent. Where a
 * handler writes to `ctx.res` itself, and for what changes while a body streams, the response is held instead. When the
 * middleware behind throws, nothing is saved and the error goes on. Which proxies count is Koa's `app.proxy`.
 *
 * Whether a route wants other options is not known here: give it a middleware of its own, in front of the general one.
 */
export function sessionMiddleware<Data extends object = SessionDataShape>(
  sessions: Sessions<Data>,
  options: KoaOptions = {},
): Middleware<DefaultState, SessionContext<Data>> {
  const { onError = answerOrThrow } = options;

  return async function session(context, next) {
    const ctx = context as unknown as Context;
    const own = ctx as WithSessions;
    // In front with options of its own: the first one counts.
    if (own[opened]?.has(sessions)) return next();
    const atClose = onClose(ctx.res);
    let exchange: Awaited<ReturnType<typeof sessions.open>>;
    try {
      exchange = await sessions.open(koaRequest(ctx), options);
    } catch (error) {
      return onError(error, ctx);
    }
    atClose(() => exchange.end());
    own[opened] = (own[opened] ?? new Map()).set(sessions, exchange.session as never);
    own.session = exchange.session;
    const gate = gateResponse(ctx.res, exchange as never, (error) => answerError(error, ctx.req, ctx.res));
    try {
      await next();
    } catch (error) {
      gate.abandon();
      throw error;
    }
    if (ctx.respond === false || ctx.headerSent) return;
    try {
      if (exchange.needsCommit) await exchange.commit();
    } catch (error) {
      gate.abandon();
      forgetContent(ctx.res);
      return onError(error, ctx);
    }
  };
}

/**
 * The session of a request, typed by its `sessions`, wherever `ctx.session` has no type.
 *
 * @throws TypeError when `sessionMiddleware(sessions)` did not run before
 */
export function sessionOf<Data extends object>(sessions: Sessions<Data>, ctx: object): Session<Data> {
  const session = (ctx as WithSessions)[opened]?.get(sessions);
  if (session === undefined) throw new TypeError("sessionOf: use sessionMiddleware(sessions) before this middleware");
  return session as unknown as Session<Data>;
}

/**
 * Lets a request through that brings a valid access token; `accessTokenOf(tokens, ctx)` is the token. Others are answered
 * 401 (RFC 6750).
 */
export function requireAccessToken<Token extends AccessClaims>(
  tokens: TokenVerifier<Token>,
  { onError = answerOrThrow }: Pick<KoaOptions, "onError"> = {},
): Middleware {
  return async function accessToken(ctx, next) {
    try {
      await authorize(tokens, headerOf(ctx.req, "authorization"), ctx);
    } catch (error) {
      return onError(error, ctx);
    }
    return next();
  };
}

/** Lets a token through that has this scope, or these, with spaces between. Others are answered 403. */
export const requireScope = (scope: string, options: Pick<KoaOptions, "onError"> = {}): Middleware =>
  checked(scopeCheck(scope), options);

/** Lets a token through whose user authenticated less than `maxAge` ms ago. Others are answered 401, to step up (RFC 9470). */
export const requireRecentAuth = (maxAge: Duration, options: Pick<KoaOptions, "onError"> = {}): Middleware =>
  checked(recentAuthCheck(maxAge), options);

/**
 * A route that hands out tokens: for logging in, refreshing or logging out. The handler's result is sent as JSON, nothing as
 * 204, never to be stored. The refresh token travels in an HttpOnly cookie, and requests of other sites are refused.
 */
export function tokenRoute<Own extends string>(
  tokens: SessionTokens<Own>,
  handler: (endpoint: TokenEndpoint<Own>, ctx: Context) => unknown,
  options: TokenRouteOptions & Pick<KoaOptions, "onError"> = {},
): Middleware {
  const { onError = answerOrThrow } = options;

  return async function token(ctx) {
    try {
      const endpoint = new TokenEndpoint(tokens, koaRequest(ctx), options);
      let answer: unknown;
      try {
        answer = await handler(endpoint, ctx);
      } finally {
        applyChanges(ctx.res, endpoint.responseChanges());
      }
      ctx.status = answer === undefined ? 204 : 200;
      if (answer !== undefined) ctx.body = answer;
    } catch (error) {
      return onError(error, ctx);
    }
  };
}

function checked(check: TokenCheck, { onError = answerOrThrow }: Pick<KoaOptions, "onError">): Middleware {
  return function checkAccessToken(ctx, next) {
    try {
      check(ctx);
    } catch (error) {
      return onError(error, ctx);
    }
    return next();
  };
}

function answerOrThrow(error: unknown, ctx: Context): void {
  if (isFault(error)) throw error;
  const { status, headers, body } = errorAnswer(error);
  ctx.status = status;
  ctx.set(headers);
  ctx.body = body;
}

function koaRequest(ctx: Context): RequestFacts {
  return {
    method: ctx.method,
    header: (name) => headerOf(ctx.req, name),
    // Koa has judged the proxies.
    get secure() {
      return ctx.secure;
    },
    get host() {
      return ctx.host;
    },
    get ip() {
      return ctx.ip;
    },
  };
}
