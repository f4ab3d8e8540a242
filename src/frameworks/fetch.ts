/**
 * Sessions for servers that speak `Request` and `Response`: Fetch handlers of Node, Deno, Bun and Workers.
 *
 * @module
 */
import type { Session, SessionDataShape } from "../session/session.ts";
import type { RouteOptions, Sessions } from "../session/sessions.ts";
import type { RequestFacts, ResponseChanges } from "../session/transport.ts";
import { errorAnswer } from "./error-answer.ts";

export interface FetchOptions extends RouteOptions {
  /** Facts that the platform knows and a `Request` does not tell: the client's address, TLS at a proxy that is trusted. */
  readonly facts?: (request: Request) => { readonly ip?: string; readonly secure?: boolean };
  /** Answers errors of this library. Default: the error's status and one sentence as JSON. */
  readonly onError?: (error: unknown, request: Request) => Response | Promise<Response>;
}

/**
 * A Fetch handler that opens the session, runs `handler` with it, saves what changed, and answers. When the handler throws,
 * nothing is saved and the error is thrown on; only when the client has to be given a new token is it answered here.
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
    try {
      let response: Response;
      try {
        response = await handler(request, exchange.session, ...rest);
      } catch (error) {
        if (exchange.session.outgoing === undefined) throw error;
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

/** The response with the session's cookie and headers. A response whose headers are immutable is wrapped. */
function withChanges(response: Response, { cookie, headers }: ResponseChanges): Response {
  if (cookie === undefined && headers.length === 0) return response;
  const changed = new Headers(response.headers);
  for (const [name, value] of headers) changed.set(name, value);
  if (cookie !== undefined) {
    const others = response.headers.getSetCookie().filter((line) => !line.startsWith(`${cookie.name}=`));
    changed.delete("Set-Cookie");
    for (const line of [...others, cookie.line]) changed.append("Set-Cookie", line);
  }
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers: changed });
}

function answerOf(error: unknown): Response {
  const { status, headers, body } = errorAnswer(error);
  return new Response(body, { status, headers });
}
