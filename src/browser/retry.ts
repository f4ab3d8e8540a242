import { type Duration, seconds } from "../session/clock.ts";

/** How often a request is sent again after 409 or 503, and how long a `Retry-After` may be to be waited for. */
export const MAX_RETRIES = 2;
const MAX_WAIT: Duration = seconds(10);

/**
 * How long to wait before the request is sent again; `undefined` when the answer stands. Only what may be done twice is
 * repeated: idempotent methods (RFC 9110, 9.2.2), and requests with an `Idempotency-Key`.
 */
export function retryDelay(request: Request, response: Response, retries: number): Duration | undefined {
  const { status, headers } = response;
  const idempotent = /^(GET|HEAD|OPTIONS|PUT|DELETE)$/.test(request.method) || request.headers.has("Idempotency-Key");
  if (!idempotent || retries >= MAX_RETRIES) return undefined;
  const after = headers.get("Retry-After");
  if (status === 409 && after === null) return 100 * 4 ** retries;
  // A date is the server's; no clock here is known to agree with it.
  if ((status !== 409 && status !== 503) || !/^\d+$/.test(after ?? "")) return undefined;
  const delay = seconds(Number(after));
  return delay <= MAX_WAIT ? delay : undefined;
}
