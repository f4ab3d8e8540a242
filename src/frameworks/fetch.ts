/**
 * Sessions for servers that speak `Request` and `Response`: Fetch handlers of Node, Deno, Bun and Workers.
 *
 * @module
 */
import { isSafeMethod } from "../csrf/fetch-metadata.ts";
import { CoatcheckError } from "../session/errors.ts";
import type { RouteOptions } from "../session/options.ts";
import type { Session, SessionDataShape } from "../session/session.ts";
import type { Sessions } from "../session/sessions.ts";
import type { RequestFacts } from "../session/transport.ts";
import { answerOf, endTurnAtAbort, withChanges } from "./fetch-response.ts";

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
