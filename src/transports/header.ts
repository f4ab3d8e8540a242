import type { Presented, Transport } from "../session/transport.ts";
import { assertSecure } from "./connection.ts";

export interface HeaderOptions {
  /** Header that the client sends its token in. Default `Authorization`, as `Bearer <token>` (RFC 6750). */
  readonly request?: string;
  /** Header in which the response hands a new token over; empty when the session ended. Default `Session-Token`. */
  readonly response?: string;
}

/** In characters: what a cookie could hold too, so that the way the token travels can be changed. */
const MAX_TOKEN = 4096;

const NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

/**
 * The token in a header, for clients that are no browsers: mobile applications, command lines, servers. Such clients send
 * nothing unasked, so there is no cross-site check.
 */
export function headerTransport(options: HeaderOptions = {}): Transport {
  const request = (options.request ?? "Authorization").toLowerCase();
  const response = options.response ?? "Session-Token";
  for (const name of [request, response])
    if (!NAME.test(name)) throw new TypeError(`${JSON.stringify(name)} is not a header name`);
  const bearer = request === "authorization";

  return {
    carrier: `header ${request}`,
    maxToken: MAX_TOKEN,
    ambient: false,
    varyBy: options.request ?? "Authorization",
    read(facts): Presented {
      const value = facts.header(request);
      if (value === undefined) return { kind: "none" };
      if (bearer && !/^Bearer /i.test(value)) return { kind: "none" };
      // Repeated headers arrive joined, and a token holds no comma.
      if (value.includes(",")) return { kind: "duplicate" };
      if (!bearer) return { kind: "token", text: value.trim() };
      const match = /^Bearer +([^ ]+) *$/i.exec(value);
      return match?.[1] === undefined ? { kind: "none" } : { kind: "token", text: match[1] };
    },
    assertSecure,
    write: (_request, token) => ({
      cookies: [],
      headers: [
        [response, token],
        ["Cache-Control", "no-store"],
      ],
    }),
    clear: () => ({
      cookies: [],
      headers: [
        [response, ""],
        ["Cache-Control", "no-store"],
      ],
    }),
  };
}
