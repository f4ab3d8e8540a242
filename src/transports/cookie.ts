import type { Duration } from "../session/clock.ts";
import { CookieHeaderTooLargeError, CookieTooLargeError } from "../session/errors.ts";
import type { Presented, RequestFacts, ResponseChanges, Transport } from "../session/transport.ts";
import { assertSecure, inProduction, isDevelopment } from "./connection.ts";

export interface CookieOptions {
  /**
   * Default `__Host-Http-sid`, which browsers only take from this host, over TLS and not from scripts; `__Secure-sid` when
   * `domain` is set.
   */
  readonly name?: string;
  /** Lets the hosts below this domain share the cookie. Default none: this host only. */
  readonly domain?: string;
  /** Default `/`. Not a security boundary. */
  readonly path?: string;
  /** Default `Lax`. `None` is for pages embedded in other sites. */
  readonly sameSite?: "Strict" | "Lax" | "None";
  /** CHIPS: one cookie per embedding site. Needs `sameSite: "None"`. Default false. */
  readonly partitioned?: boolean;
  readonly priority?: "Low" | "Medium" | "High";
}

/** Limits of RFC 6265bis section 5.6, in bytes; Max-Age in seconds, section 5.5. */
const MAX_COOKIE = 4096;
const MAX_ATTRIBUTE = 1024;
const MAX_AGE = 34_560_000;
/** Row TR-07. */
const MAX_HEADER = 8192;
const MAX_COOKIES = 180;

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const COOKIE_VALUE = /^[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*$/;
const ATTRIBUTE_VALUE = /^[\x20-\x3a\x3c-\x7e]+$/;
const DOMAIN = /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)+$/i;

/**
 * The token in a cookie: `Secure; HttpOnly; SameSite=Lax; Path=/`, gone when the browser closes. On plain HTTP to a
 * loopback address, outside production, the cookie is a plain `sid` without Secure; on plain HTTP to anywhere else none
 * is sent (row CK-19).
 *
 * @throws TypeError for a name and attributes that browsers would refuse together (row CK-02)
 */
export function cookieTransport(options: CookieOptions = {}): Transport {
  const name = options.name ?? (options.domain === undefined ? "__Host-Http-sid" : "__Secure-sid");
  const secure = cookieFormat({ ...options, name });
  // Browsers refuse prefixes and Partitioned without Secure, so the development cookie has none of them.
  const development = cookieFormat(
    {
      name: name.replace(PREFIX, "") || "sid",
      path: options.path,
      sameSite: options.sameSite === "None" ? "Lax" : options.sameSite,
    },
    false,
  );
  // Asked once: the environment is slow to read.
  const production = inProduction();
  const formatFor = (request: RequestFacts) => (!production && isDevelopment(request) ? development : secure);

  return {
    carrier: `cookie ${name}`,
    maxToken: MAX_COOKIE - name.length,
    ambient: true,
    beside: (suffix) => cookieTransport({ ...options, name: `${name}-${suffix}` }),
    varyBy: "Cookie",
    read(request): Presented {
      const header = request.header("cookie");
      if (header === undefined) return { kind: "none" };
      const values = readCookie(header, formatFor(request).name);
      if (values.length > 1) return { kind: "duplicate" };
      return values[0] === undefined ? { kind: "none" } : { kind: "token", text: values[0] };
    },
    assertSecure,
    write(request, token, lifetime): ResponseChanges {
      const format = formatFor(request);
      return { cookies: [{ name: format.name, line: format.write(token, lifetime) }], headers: NO_STORE };
    },
    clear(request): ResponseChanges {
      const format = formatFor(request);
      return { cookies: [{ name: format.name, line: format.clear }], headers: NO_STORE };
    },
  };
}

/** Set-Cookie alone does not keep a response out of shared caches (RFC 9111 section 7.3; row TR-01). */
const NO_STORE: ResponseChanges["headers"] = [["Cache-Control", "no-store"]];

const PREFIX = /^__(?:host-http|host|secure|http)-/i;

interface CookieFormat {
  readonly name: string;
  readonly clear: string;
  write(value: string, lifetime: Duration | undefined): string;
}

/** Checks name and attributes once, and prepares what all lines have in common. */
function cookieFormat(options: CookieOptions & { readonly name: string }, secure = true): CookieFormat {
  const { name, domain, path = "/", sameSite = "Lax", partitioned = false, priority } = options;
  if (!TOKEN.test(name)) throw new TypeError(`cookie.name ${JSON.stringify(name)} is not a token of RFC 9110`);
  if (!path.startsWith("/") || !ATTRIBUTE_VALUE.test(path))
    throw new TypeError("cookie.path must begin with / and hold no ;");
  if (domain !== undefined && !DOMAIN.test(domain))
    throw new TypeError(`cookie.domain ${JSON.stringify(domain)} is not a domain name; write it without a leading dot`);
  if (!["Strict", "Lax", "None"].includes(sameSite))
    throw new TypeError('cookie.sameSite is "Strict", "Lax" or "None"');
  if (priority !== undefined && !["Low", "Medium", "High"].includes(priority))
    throw new TypeError('cookie.priority is "Low", "Medium" or "High"');
  if (partitioned && sameSite !== "None") throw new TypeError('cookie.partitioned needs sameSite: "None"');
  const prefix = PREFIX.exec(name)?.[0].toLowerCase() ?? "";
  if (prefix.startsWith("__host-") && domain !== undefined)
    throw new TypeError(`A ${prefix} cookie cannot have a domain`);
  if (prefix.startsWith("__host-") && path !== "/") throw new TypeError(`A ${prefix} cookie must have path "/"`);
  for (const [what, value] of Object.entries({ path, domain: domain ?? "" }))
    if (value.length > MAX_ATTRIBUTE) throw new CookieTooLargeError(what, value.length, MAX_ATTRIBUTE);

  const attributes =
    `; Path=${path}` +
    (domain === undefined ? "" : `; Domain=${domain}`) +
    (secure ? "; Secure" : "") +
    `; HttpOnly; SameSite=${sameSite}` +
    (partitioned ? "; Partitioned" : "") +
    (priority === undefined ? "" : `; Priority=${priority}`);
  return {
    name,
    clear: `${name}=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT${attributes}`,
    write(value, lifetime) {
      if (!COOKIE_VALUE.test(value))
        throw new TypeError("The value of the session cookie has characters that no cookie can hold");
      const bytes = name.length + value.length;
      if (bytes > MAX_COOKIE) throw new CookieTooLargeError("name and value", bytes, MAX_COOKIE);
      const maxAge =
        lifetime === undefined ? "" : `; Max-Age=${Math.min(MAX_AGE, Math.max(0, Math.floor(lifetime / 1000)))}`;
      return `${name}=${value}${maxAge}${attributes}`;
    },
  };
}

/**
 * All values of one cookie in a Cookie header, in linear time. Malformed pairs are passed over, quotes around a value
 * are taken off, nothing is decoded, no object is keyed by a client's text (row CK-13).
 *
 * @throws CookieHeaderTooLargeError above 8 KiB or 180 cookies (row TR-07)
 */
export function readCookie(header: string, name: string): string[] {
  if (header.length > MAX_HEADER) throw new CookieHeaderTooLargeError();
  const values: string[] = [];
  let count = 0;
  let start = 0;
  while (start < header.length) {
    let end = header.indexOf(";", start);
    if (end === -1) end = header.length;
    if (++count > MAX_COOKIES) throw new CookieHeaderTooLargeError();
    while (start < end && isSpace(header.charCodeAt(start))) start++;
    if (header.startsWith(name, start)) {
      let at = start + name.length;
      while (at < end && isSpace(header.charCodeAt(at))) at++;
      if (header[at] === "=" && at < end) values.push(unquoted(header.slice(at + 1, end).trim()));
    }
    start = end + 1;
  }
  return values;
}

const isSpace = (code: number): boolean => code === 0x20 || code === 0x09;

function unquoted(value: string): string {
  return value.length >= 2 && value.startsWith('"') && value.endsWith('"') ? value.slice(1, -1) : value;
}
