import { CoatcheckError } from "../session/errors.ts";
import type { ResponseChanges } from "../session/transport.ts";
import type { TokenEndpoint } from "../tokens/token-endpoint.ts";
import { errorAnswer, logFault } from "./error-answer.ts";
import { changesNothing, cookiesFor, withCookies } from "./set-cookie.ts";
import { withVary } from "./vary.ts";

/** A client that has gone away must not keep the session's other requests waiting. */
export function endTurnAtAbort(signal: AbortSignal, exchange: { end(): void }): void {
  if (signal.aborted) exchange.end();
  else signal.addEventListener("abort", () => exchange.end(), { once: true });
}

/** A response with the session's cookies and headers: another one, because the application may use its own again. */
export function withChanges(response: Response, changes: ResponseChanges): Response {
  // What is not between 200 and 599, such as a WebSocket's 101, cannot be made anew.
  if (changesNothing(changes) || response.status < 200) return response;
  const { headers, varyBy } = changes;
  const changed = new Headers(response.headers);
  for (const [name, value] of headers) changed.set(name, value);
  if (varyBy !== undefined) {
    if (changed.has("Cache-Control")) changed.set("Vary", withVary(changed.get("Vary") ?? "", varyBy));
    else changed.set("Cache-Control", "no-store");
  }
  const cookies = cookiesFor(changed.get("Cache-Control"), changes);
  if (cookies.length > 0) {
    if (!changed.has("Cache-Control")) changed.set("Cache-Control", "no-store");
    changed.delete("Set-Cookie");
    for (const line of withCookies(response.headers.getSetCookie(), cookies)) changed.append("Set-Cookie", line);
  }
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers: changed });
}

/** The answer of a `tokenRoute`: what the handler gives as JSON, or 204 for nothing. */
export async function tokenResponse<Endpoint extends Pick<TokenEndpoint, "responseChanges">>(
  makeEndpoint: () => Endpoint,
  handle: (endpoint: Endpoint) => unknown,
  onError: (error: unknown) => Response | Promise<Response>,
): Promise<Response> {
  let endpoint: Endpoint | undefined;
  let response: Response;
  try {
    endpoint = makeEndpoint();
    const answer = await handle(endpoint);
    response = answer === undefined ? new Response(null, { status: 204 }) : Response.json(answer);
  } catch (error) {
    if (!(error instanceof CoatcheckError)) throw error;
    response = await onError(error);
  }
  return endpoint === undefined ? response : withChanges(response, endpoint.responseChanges());
}

export function answerOf(error: unknown): Response {
  logFault(error);
  const { status, headers, body } = errorAnswer(error);
  return new Response(body, { status, headers });
}
