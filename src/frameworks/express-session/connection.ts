import type { TLSSocket } from "node:tls";
import type { SessionRequest } from "./request.ts";

/**
 * Whether the client speaks TLS: with this process; with a proxy, if `proxy` is true; as Express says, if it is undefined.
 */
export function isSecure(request: SessionRequest, proxy: boolean | undefined): boolean {
  const socket = (request.socket ?? request.connection) as Partial<TLSSocket> | undefined;
  if (socket?.encrypted) return true;
  if (proxy === false) return false;
  if (proxy !== true) return request.secure === true;
  return isForwardedSecure(request);
}

/** Whether the proxy nearest to the client, as far as is known, was asked over TLS. */
export function isForwardedSecure({ headers }: SessionRequest): boolean {
  const forwarded = headers["x-forwarded-proto"];
  return typeof forwarded === "string" && forwarded.split(",", 1)[0]?.trim().toLowerCase() === "https";
}

/** Whether the request's path begins with that of the cookie. The path is that before Express takes mount points off. */
export function isUnder(request: SessionRequest, path: string): boolean {
  const { originalUrl } = request;
  const url = typeof originalUrl === "string" ? originalUrl : (request.url ?? "");
  if (url.startsWith("/") || url === "") return path === "/" || (url.split(/[?#]/, 1)[0] || "/").startsWith(path);
  // `GET http://host/path`, or `OPTIONS *`.
  return URL.canParse(url) && new URL(url).pathname.startsWith(path);
}
