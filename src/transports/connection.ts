import { InsecureTransportError } from "../session/errors.ts";
import type { RequestFacts } from "../session/transport.ts";

/**
 * Plain HTTP protects no credential, so none is sent over it, except to a loopback address outside production (row CK-19).
 *
 * @throws InsecureTransportError
 */
export function assertSecure(request: RequestFacts): void {
  if (!request.secure && !isDevelopment(request)) throw new InsecureTransportError(request.host);
}

/** Whether this is somebody trying the application on their own machine. */
export function isDevelopment(request: RequestFacts): boolean {
  return !request.secure && isLoopback(request.host) && !inProduction();
}

export function inProduction(): boolean {
  const { process } = globalThis as { process?: { env?: Record<string, string | undefined> } };
  return process?.env?.NODE_ENV === "production";
}

function isLoopback(host: string): boolean {
  const name = host.replace(/:\d+$/, "").toLowerCase();
  return name === "localhost" || name.endsWith(".localhost") || /^127(?:\.\d{1,3}){3}$/.test(name) || name === "[::1]";
}
