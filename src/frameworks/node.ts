/**
 * Sessions for `node:http`, `node:https` and `node:http2` (its compatibility API).
 *
 * @module
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import type { RouteOptions } from "../session/options.ts";
import type { Session, SessionDataShape } from "../session/session.ts";
import type { Sessions } from "../session/sessions.ts";
import { errorAnswer, logFault } from "./error-answer.ts";
import { NodeRequest, type TrustProxy, trustedProxies } from "./node-request.ts";
import { cutOff, gateResponse, type ResponseGate } from "./response-gate.ts";

export type { TrustProxy } from "./node-request.ts";

export interface NodeOptions extends RouteOptions {
  readonly trustProxy?: TrustProxy;
  /**
   * Answers errors of this library, and what the handler throws. Default: the error's status and one sentence as JSON; a
   * fault of the application goes to the console.
   */
  readonly onError?: (error: unknown, request: IncomingMessage, response: ServerResponse) => void;
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
  const { onError = answerError } = options;

  return async function sessionListener(anyRequest, anyResponse) {
    // HTTP/2's compatibility API has all that is used here.
    const [request, response] = [anyRequest as IncomingMessage, anyResponse as ServerResponse];
    let gate: ResponseGate | undefined;
    const atClose = onClose(response);
    try {
      const exchange = await sessions.open(new NodeRequest(request, isTrusted), options);
      atClose(() => exchange.end());
      gate = gateResponse(response, exchange as never, (error) => onError(error, request, response));
      await handler(request, response, exchange.session);
    } catch (error) {
      gate?.abandon();
      onError(error, request, response);
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
