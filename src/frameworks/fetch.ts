/**
 * Sessions for servers that speak `Request` and `Response`: Fetch handlers of Node, Deno, Bun and Workers.
 *
 * @module
 */
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
import { answerOf, endTurnAtAbort, tokenResponse, withChanges } from "./fetch-response.ts";

export { accessTokenOf } from "../tokens/bearer.ts";

export interface FetchOptions extends RouteOptions {
  /** Facts that the platform knows and a `Request` does not tell: the client's address, TLS at a proxy that is trusted. */
  readonly facts?: (request: Request) => { readonly ip?: string; readonly secure?: boolean };
  /**
   * Answers errors of this library. Default: the error's status and one sentence as JSON; a fault of the application goes
   * to the console.
   */
  readonly onError?: (error: unknown, request: Request) => Response | Promise<Response>;
}

/**
 * A Fetch handler that opens the session, runs `handler` with it, saves what changed, and answers. When the handler throws,
 * nothing is saved and the error is thrown on; it is answered here if it is one of this library's, or if the client has
 * to be given a new token. What a streamed body changes after that is saved by `session.commit()`.
 */
export function withSession<Data extends object = SessionDataShape, Rest extends unknown[] = []>(
  sessions: Sessions<Data>,
  handler: (request: Request, session: Session<Data>, ...rest: Rest) => Response | Promise<Response>,
  options: FetchOptions = {},
): (request: Request, ...rest: Rest) => Promise<Response> {
  const { onError = (error) => answerOf(error) } = options;

  return async function sessionHandler(request, ...rest) {
    let exchange: Awaited<ReturnType<typeof sessions.open>>;
    try {
      exchange = await sessions.open(fetchRequest(request, options.facts?.(request)), options);
    } catch (error) {
      return onError(error, request);
    }
    if (!isSafeMethod(request.method)) endTurnAtAbort(request.signal, exchange);
    try {
      let response: Response;
      try {
        response = await handler(request, exchange.session, ...rest);
      } catch (error) {
        if (exchange.session.outgoing === undefined && !(error instanceof CoatcheckError)) throw error;
        return withChanges(await onError(error, request), exchange.responseChanges());
      }
      try {
        if (exchange.needsCommit) await exchange.commit();
      } catch (error) {
        await response.body?.cancel();
        return withChanges(await onError(error, request), exchange.responseChanges());
      }
      return withChanges(response, exchange.responseChanges());
    } finally {
      exchange.end();
    }
  };
}

/** A handler for requests with an access token. */
export type TokenHandler<Token extends AccessClaims = AccessClaims, Rest extends unknown[] = []> = (
  request: Request,
  token: Token,
  ...rest: Rest
) => Response | Promise<Response>;

/**
 * A Fetch handler that runs `handler` when the request brings a valid access token. Others are answered 401 (RFC 6750).
 * What the handler throws is thrown on, unless it is an error of this library.
 */
export function requireAccessToken<Token extends AccessClaims, Rest extends unknown[] = []>(
  tokens: TokenVerifier<Token>,
  handler: TokenHandler<Token, Rest>,
  { onError = (error) => answerOf(error) }: Pick<FetchOptions, "onError"> = {},
): (request: Request, ...rest: Rest) => Promise<Response> {
  return async function tokenHandler(request, ...rest) {
    try {
      const token = await authorize(tokens, request.headers.get("authorization") ?? undefined, request);
      return await handler(request, token, ...rest);
    } catch (error) {
      if (!(error instanceof CoatcheckError)) throw error;
      return onError(error, request);
    }
  };
}

/**
 * Within `requireAccessToken`: runs the handler when the token has this scope, or these, with spaces between. Others are
 * answered 403.
 */
export const requireScope = <Token extends AccessClaims = AccessClaims, Rest extends unknown[] = []>(
  scope: string,
  handler: TokenHandler<Token, Rest>,
): TokenHandler<Token, Rest> => checked(scopeCheck(scope), handler);

/**
 * Within `requireAccessToken`: runs the handler when the user authenticated less than `maxAge` ms ago. Others are answered
 * 401, to step up (RFC 9470).
 */
export const requireRecentAuth = <Token extends AccessClaims = AccessClaims, Rest extends unknown[] = []>(
  maxAge: Duration,
  handler: TokenHandler<Token, Rest>,
): TokenHandler<Token, Rest> => checked(recentAuthCheck(maxAge), handler);

/**
 * A route that hands out tokens: for logging in, refreshing or logging out. The handler's result is sent as JSON, nothing as
 * 204, never to be stored. The refresh token travels in an HttpOnly cookie, and requests of other sites are refused.
 */
export function tokenRoute<Own extends string, Rest extends unknown[] = []>(
  tokens: SessionTokens<Own>,
  handler: (endpoint: TokenEndpoint<Own>, request: Request, ...rest: Rest) => unknown,
  options: TokenRouteOptions & Pick<FetchOptions, "facts" | "onError"> = {},
): (request: Request, ...rest: Rest) => Promise<Response> {
  const { onError = (error) => answerOf(error) } = options;

  return async function token(request, ...rest) {
    return tokenResponse(
      () => new TokenEndpoint(tokens, fetchRequest(request, options.facts?.(request)), options),
      (endpoint) => handler(endpoint, request, ...rest),
      (error) => onError(error, request),
    );
  };
}

function checked<Token extends AccessClaims, Rest extends unknown[]>(
  check: TokenCheck,
  handler: TokenHandler<Token, Rest>,
): TokenHandler<Token, Rest> {
  return function checkAccessToken(request, token, ...rest) {
    check(request);
    return handler(request, token, ...rest);
  };
}

function fetchRequest(request: Request, known: { readonly ip?: string; readonly secure?: boolean } = {}): RequestFacts {
  const url = new URL(request.url);
  return {
    method: request.method,
    header: (name) => request.headers.get(name) ?? undefined,
    secure: known.secure ?? url.protocol === "https:",
    host: url.host,
    ip: known.ip,
  };
}
