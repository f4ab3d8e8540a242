/**
 * Sessions for Express 4 and 5.
 *
 * @module
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Duration } from "../session/clock.ts";
import { CsrfTokenError } from "../session/errors.ts";
import type { RouteOptions } from "../session/options.ts";
import type { Session, SessionDataShape } from "../session/session.ts";
import type { Sessions } from "../session/sessions.ts";
import { authorize, recentAuthCheck, scopeCheck, type TokenCheck, type TokenVerifier } from "../tokens/bearer.ts";
import type { AccessClaims } from "../tokens/claims.ts";
import type { SessionTokens } from "../tokens/session-tokens.ts";
import { TokenEndpoint, type TokenRouteOptions } from "../tokens/token-endpoint.ts";
import { isFault } from "./error-answer.ts";
import { answerError, onClose } from "./node.ts";
import { headerOf, NodeRequest } from "./node-request.ts";
import type { RequestSession } from "./request-session.ts";
import { gateResponse } from "./response-gate.ts";
import { sendTokens } from "./token-route.ts";

export { accessTokenOf } from "../tokens/bearer.ts";

declare global {
  namespace Express {
    interface CoatcheckSessions {
      express: Session;
    }
    interface Request {
      /** The visitor's session. Declare its data by adding keys to `SessionDataShape`, or use `sessionOf` for types. */
      session: RequestSession;
    }
  }
}

/** The parts of Express's request that are used here. */
interface ExpressRequest extends IncomingMessage {
  readonly secure?: boolean;
  readonly ip?: string | undefined;
  readonly app?: { get(setting: string): unknown };
  readonly body?: unknown;
}

type Next = (error?: unknown) => void;
type Middleware = (request: IncomingMessage, response: ServerResponse, next: Next) => void;

export interface ExpressOptions extends RouteOptions {
  /**
   * Answers errors of this library: cross-site requests, a store that is down, conflicts. Default: the error's status and
   * one sentence as JSON; faults of the application go to its error handlers, by `next(error)`.
   */
  readonly onError?: (error: unknown, request: IncomingMessage, response: ServerResponse, next: Next) => unknown;
}

type ErrorOptions = Pick<ExpressOptions, "onError">;

const opened = Symbol("coatcheck.sessions");
type WithSessions = { [opened]?: Map<unknown, Session<never>>; session?: unknown };

/**
 * Sets `req.session`, and holds the response until what changed is saved. Which proxies count is Express's
 * `trust proxy` setting. A route that wants other options gets a middleware of its own, mounted before the general one.
 */
export function sessionMiddleware<Data extends object = SessionDataShape>(
  sessions: Sessions<Data>,
  options: ExpressOptions = {},
): Middleware {
  const answer = answerWith(options);

  return function session(request, response, next) {
    const own = request as WithSessions;
    // Mounted before with options of its own: the first one counts.
    if (own[opened]?.has(sessions)) return next();
    withoutShape(request, "method");
    withoutShape(response, "req");
    const atClose = onClose(response);
    sessions.open(new ExpressRequestFacts(request, trustsNobody), options).then(
      (exchange) => {
        own[opened] = (own[opened] ?? new Map()).set(sessions, exchange.session as never);
        own.session = exchange.session;
        atClose(() => exchange.end());
        gateResponse(response, exchange as never, (error) => answer(error, request, response, next));
        next();
      },
      (error: unknown) => answer(error, request, response, next),
    );
  };
}

/**
 * Express gives every request and response another prototype, after which V8 makes a hidden class of its own for each
 * property that is added to one: slow by itself, and for all code that meets the object later. Deleting a property turns
 * the object into a hash table instead, once. See bench/README.md.
 */
function withoutShape<T extends object>(object: T, key: keyof T): void {
  const value = object[key];
  delete object[key];
  object[key] = value;
}

/**
 * The session of a request, typed by its `sessions`, without any declaration.
 *
 * @throws TypeError when `sessionMiddleware(sessions)` did not run before
 */
export function sessionOf<Data extends object>(sessions: Sessions<Data>, request: IncomingMessage): Session<Data> {
  const session = (request as WithSessions)[opened]?.get(sessions);
  if (session === undefined) throw new TypeError("sessionOf: mount sessionMiddleware(sessions) before this handler");
  return session as unknown as Session<Data>;
}

/**
 * A second layer against cross-site requests: unsafe requests must bring `session.csrfToken()` in the form field `_csrf` or
 * the header `X-CSRF-Token`. Mount it after the session and the body parser.
 */
export function requireCsrfToken<Data extends object>(
  sessions: Sessions<Data>,
  options: ErrorOptions = {},
): Middleware {
  const answer = answerWith(options);

  return function csrfToken(request: ExpressRequest, response, next) {
    if (request.method === "GET" || request.method === "HEAD" || request.method === "OPTIONS") return next();
    const body = request.body as { readonly _csrf?: unknown } | undefined;
    const token = request.headers["x-csrf-token"] ?? body?._csrf;
    sessionOf(sessions, request)
      .requireCsrfToken(token)
      .then(
        () => next(),
        (error: unknown) => (error instanceof CsrfTokenError ? answer(error, request, response, next) : next(error)),
      );
  };
}

/**
 * Lets a request through that brings a valid access token; `accessTokenOf(tokens, req)` is the token. Others are answered
 * 401 (RFC 6750).
 */
export function requireAccessToken<Token extends AccessClaims>(
  tokens: TokenVerifier<Token>,
  options: ErrorOptions = {},
): Middleware {
  const answer = answerWith(options);

  return function accessToken(request, response, next) {
    authorize(tokens, headerOf(request, "authorization"), request).then(
      () => next(),
      (error: unknown) => answer(error, request, response, next),
    );
  };
}

/** Lets a token through that has this scope, or these, with spaces between. Others are answered 403. */
export const requireScope = (scope: string, options: ErrorOptions = {}): Middleware =>
  checked(scopeCheck(scope), options);

/** Lets a token through whose user authenticated less than `maxAge` ms ago. Others are answered 401, to step up (RFC 9470). */
export const requireRecentAuth = (maxAge: Duration, options: ErrorOptions = {}): Middleware =>
  checked(recentAuthCheck(maxAge), options);

/**
 * A route that hands out tokens: for logging in, refreshing or logging out. The handler's result is sent as JSON, nothing as
 * 204, never to be stored. The refresh token travels in an HttpOnly cookie, and requests of other sites are refused.
 */
export function tokenRoute<Own extends string, Req extends IncomingMessage = IncomingMessage>(
  tokens: SessionTokens<Own>,
  handler: (endpoint: TokenEndpoint<Own>, request: Req) => unknown,
  options: TokenRouteOptions & ErrorOptions = {},
): (request: Req, response: ServerResponse, next: Next) => Promise<void> {
  const answer = answerWith(options);

  return async function token(request, response, next) {
    try {
      const endpoint = new TokenEndpoint(tokens, new ExpressRequestFacts(request, trustsNobody), options);
      await sendTokens(endpoint, response, () => handler(endpoint, request));
    } catch (error) {
      answer(error, request, response, next);
    }
  };
}

function checked(check: TokenCheck, options: ErrorOptions): Middleware {
  const answer = answerWith(options);

  return function checkAccessToken(request, response, next) {
    try {
      check(request);
    } catch (error) {
      return answer(error, request, response, next);
    }
    next();
  };
}

/** Answers by `onError`. What that throws, at once or later, goes to the application's error handlers. */
function answerWith({ onError = answerOrPassOn }: ErrorOptions) {
  const answer = async (...args: Parameters<typeof onError>) => onError(...args);
  return (...args: Parameters<typeof onError>): void => {
    answer(...args).catch(args[3]);
  };
}

function answerOrPassOn(error: unknown, request: IncomingMessage, response: ServerResponse, next: Next): void {
  if (isFault(error)) next(error);
  else answerError(error, request, response);
}

/** Express has judged the proxies. */
class ExpressRequestFacts extends NodeRequest {
  declare protected readonly request: ExpressRequest;

  override get secure(): boolean {
    return this.request.secure ?? super.secure;
  }

  override get host(): string {
    return forwardedHost(this.request) ?? super.host;
  }

  override get ip(): string | undefined {
    return this.request.ip ?? super.ip;
  }
}

const trustsNobody = (): boolean => false;

/** What Express 5 calls `host`. The `host` of Express 4 lacks the port. */
function forwardedHost({ app, headers, socket }: ExpressRequest): string | undefined {
  const forwarded = headers["x-forwarded-host"];
  if (typeof forwarded !== "string" || forwarded === "") return undefined;
  const trusts = app?.get("trust proxy fn") as ((address: string | undefined, hop: number) => boolean) | undefined;
  return trusts?.(socket.remoteAddress, 0) ? forwarded.split(",")[0]?.trim() : undefined;
}
