/**
 * Sessions for `node:http`, `node:https` and `node:http2` (its compatibility API).
 *
 * @module
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Session, SessionDataShape } from "../session/session.ts";
import type { RouteOptions, Sessions } from "../session/sessions.ts";
import { errorAnswer } from "./error-answer.ts";
import { nodeRequest, type TrustProxy, trustedProxies } from "./node-request.ts";
import { gateResponse, type ResponseGate } from "./response-gate.ts";

export type { TrustProxy } from "./node-request.ts";

export interface NodeOptions extends RouteOptions {
  readonly trustProxy?: TrustProxy;
  /** Answers errors of this library, and what the handler throws. Default: the error's status and one sentence as JSON. */
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
): (request: IncomingMessage, response: ServerResponse) => Promise<void> {
  const isTrusted = trustedProxies(options.trustProxy);
  const { onError = answerError } = options;

  return async function sessionListener(request, response) {
    let gate: ResponseGate | undefined;
    try {
      const exchange = await sessions.open(nodeRequest(request, isTrusted), options);
      response.once("close", () => exchange.end());
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
  return sessions.openUpgrade(nodeRequest(request, trustedProxies(options.trustProxy)));
}

/** Answers an error; a response that has begun is cut off. */
export function answerError(error: unknown, _request: IncomingMessage, response: ServerResponse): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const { status, headers, body } = errorAnswer(error);
  response.writeHead(status, headers).end(body);
}
