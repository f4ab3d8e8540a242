/**
 * Sessions for `node:http`, `node:https` and `node:http2` (its compatibility API).
 *
 * @module
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import type { Duration } from "../session/clock.ts";
import type { RouteOptions } from "../session/options.ts";
import type { Session, SessionDataShape } from "../session/session.ts";
import type { Sessions } from "../session/sessions.ts";
import { authorize, recentAuthCheck, scopeCheck, type TokenCheck, type TokenVerifier } from "../tokens/bearer.ts";
import type { AccessClaims } from "../tokens/claims.ts";
import type { SessionTokens } from "../tokens/session-tokens.ts";
import { TokenEndpoint, type TokenRouteOptions } from "../tokens/token-endpoint.ts";
import { errorAnswer, logFault } from "./error-answer.ts";
import { headerOf, NodeRequest, type TrustProxy, trustedProxies } from "./node-request.ts";
import { cutOff, gateResponse, type ResponseGate } from "./response-gate.ts";
import { sendTokens } from "./token-route.ts";

export { accessTokenOf } from "../tokens/bearer.ts";
export type { TrustProxy } from "./node-request.ts";

export interface NodeOptions extends RouteOptions {
  readonly trustProxy?: TrustProxy;
  /**
   * Answers errors of this library, and what the handler throws. Default: the error's status and one sentence as JSON; a
   * fault of the application goes to the console.
   */
  readonly onError?: (error: unknown, request: IncomingMessage, response: ServerResponse) => unknown;
}

/**
 * A request listener that opens the session, runs the handler with it, and holds the response until what changed is
 * saved. When the handler throws, nothing is saved. Requests of other sites, and requests while the store is down, are answered without the handler.
 */
export function withSession<Data extends object = SessionDataShape>(
  sessions: Sessions<Data>,
  handler: (request: IncomingMessage, response: ServerResponse, session: Session<Data>) => unknown,
  options: NodeOptions = {},
): (request: IncomingMessage | Http2ServerRequest, response: ServerResponse | Http2ServerResponse) => Promise<void> {
  const isTrusted = trustedProxies(options.trustProxy);
  const answer = answerWith(options);

  return async function sessionListener(anyRequest, anyResponse) {
    // HTTP/2's compatibility API has all that is used here.
    const [request, response] = [anyRequest as IncomingMessage, anyResponse as ServerResponse];
    let gate: ResponseGate | undefined;
    const atClose = onClose(response);
    try {
      const exchange = await sessions.open(new NodeRequest(request, isTrusted), options);
      atClose(() => exchange.end());
      gate = gateResponse(response, exchange as never, (error) => answer(error, request, response));
      await handler(request, response, exchange.session);
    } catch (error) {
      gate?.abandon();
      await answer(error, request, response);
    }
  };
}

/**
 * The session of a WebSocket upgrade. Refuses pages of other sites (row CS-11).
 *
 * @throws CrossSiteRequestError, StoreUnavailableError: close the socket
 */
export function openUpgrade<Data extends object = SessionDataShape>(
  sessions: Sessions<Data>,
  request: IncomingMessage,
  options: Pick<NodeOptions, "trustProxy"> = {},
): Promise<Session<Data>> {
  return sessions.openUpgrade(new NodeRequest(request, trustedProxies(options.trustProxy)));
}

/** A handler for requests with an access token. */
export type TokenHandler<Token extends AccessClaims = AccessClaims> = (
  request: IncomingMessage,
  response: ServerResponse,
  token: Token,
) => unknown;

/**
 * A request listener that runs the handler when the request brings a valid access token. Others are answered 401 (RFC
 * 6750).
 */
export function requireAccessToken<Token extends AccessClaims>(
  tokens: TokenVerifier<Token>,
  handler: TokenHandler<Token>,
  options: Pick<NodeOptions, "onError"> = {},
): (request: IncomingMessage | Http2ServerRequest, response: ServerResponse | Http2ServerResponse) => Promise<void> {
  const answer = answerWith(options);

  return async function tokenListener(anyRequest, anyResponse) {
    const [request, response] = [anyRequest as IncomingMessage, anyResponse as ServerResponse];
    try {
      const authorization = headerOf(request, "authorization");
      await handler(request, response, await authorize(tokens, authorization, request));
    } catch (error) {
      await answer(error, request, response);
    }
  };
}

/**
 * Within `requireAccessToken`: runs the handler when the token has this scope, or these, with spaces between. Others are
 * answered 403.
 */
export const requireScope = <Token extends AccessClaims = AccessClaims>(
  scope: string,
  handler: TokenHandler<Token>,
): TokenHandler<Token> => checked(scopeCheck(scope), handler);

/**
 * Within `requireAccessToken`: runs the handler when the user authenticated less than `maxAge` ms ago. Others are answered
 * 401, to step up (RFC 9470).
 */
export const requireRecentAuth = <Token extends AccessClaims = AccessClaims>(
  maxAge: Duration,
  handler: TokenHandler<Token>,
): TokenHandler<Token> => checked(recentAuthCheck(maxAge), handler);

/**
 * A route that hands out tokens: for logging in, refreshing or logging out. The handler's result is sent as JSON, nothing as
 * 204, never to be stored. The refresh token travels in an HttpOnly cookie, and requests of other sites are refused.
 */
export function tokenRoute<Own extends string>(
  tokens: SessionTokens<Own>,
  handler: (endpoint: TokenEndpoint<Own>, request: IncomingMessage) => unknown,
  options: TokenRouteOptions & Pick<NodeOptions, "onError" | "trustProxy"> = {},
): (request: IncomingMessage | Http2ServerRequest, response: ServerResponse | Http2ServerResponse) => Promise<void> {
  const isTrusted = trustedProxies(options.trustProxy);
  const answer = answerWith(options);

  return async function tokenListener(anyRequest, anyResponse) {
    const [request, response] = [anyRequest as IncomingMessage, anyResponse as ServerResponse];
    try {
      const endpoint = new TokenEndpoint(tokens, new NodeRequest(request, isTrusted), options);
      await sendTokens(endpoint, response, () => handler(endpoint, request));
    } catch (error) {
      await answer(error, request, response);
    }
  };
}

function checked<Token extends AccessClaims>(check: TokenCheck, handler: TokenHandler<Token>): TokenHandler<Token> {
  return function checkAccessToken(request, response, token) {
    check(request);
    return handler(request, response, token);
  };
}

/** Answers by `onError`; by `answerError` what that throws, at once or later. */
function answerWith({ onError = answerError }: Pick<NodeOptions, "onError">) {
  return async (...[error, request, response]: Parameters<typeof onError>): Promise<void> => {
    try {
      await onError(error, request, response);
    } catch (failure) {
      answerError(failure, request, response);
    }
  };
}

/** Answers an error; a response that has begun is cut off. */
export function answerError(error: unknown, _request: IncomingMessage, response: ServerResponse): void {
  logFault(error);
  if (response.headersSent) {
    cutOff(response);
    return;
  }
  const { status, headers, body } = errorAnswer(error);
  response.writeHead(status, headers).end(body);
}

/** Runs what it is given when the response closes, or at once if the client went away before it was given. */
export function onClose(response: ServerResponse): (callback: () => void) => void {
  let closed = false;
  let waiting: (() => void) | undefined;
  response.once("close", () => {
    closed = true;
    waiting?.();
  });
  return (callback) => {
    if (closed) callback();
    else waiting = callback;
  };
}
