import type { ServerResponse } from "node:http";
import type { TokenEndpoint } from "../tokens/token-endpoint.ts";
import { applyChanges } from "./response-gate.ts";

/** Sends what the handler of a `tokenRoute` answers: JSON, or 204 for nothing. */
export async function sendTokens(
  endpoint: Pick<TokenEndpoint, "responseChanges">,
  response: ServerResponse,
  handle: () => unknown,
): Promise<void> {
  let answer: unknown;
  try {
    answer = await handle();
  } finally {
    applyChanges(response, endpoint.responseChanges());
  }
  response.statusCode = answer === undefined ? 204 : 200;
  if (answer === undefined) return void response.end();
  response.setHeader("Content-Type", "application/json; charset=utf-8");
  response.end(JSON.stringify(answer));
}
