import type { CookieData } from "./cookie.ts";

const NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?";
const DOMAIN = new RegExp(`^\\.?${LABEL}(?:\\.${LABEL})*$`, "i");
/** Printable ASCII without `;` and `<`. */
const PATH = /^[ -:=-~]*$/;

/**
 * The value of a `Set-Cookie` header; the cookie's value is percent-encoded.
 *
 * @throws TypeError that names the attribute which no cookie can have
 */
export function setCookieLine(name: string, value: string, attributes: Partial<CookieData>): string {
  const { domain, path, expires, httpOnly, secure, partitioned, priority, sameSite } = attributes;
  if (!NAME.test(name)) throw new TypeError("argument name is invalid");
  let line = `${name}=${encodeURIComponent(value)}`;
  if (domain) line += `; Domain=${matching(domain, DOMAIN, "domain")}`;
  if (path) line += `; Path=${matching(path, PATH, "path")}`;
  if (expires) {
    if (!(expires instanceof Date) || Number.isNaN(expires.valueOf())) throw invalid("expires");
    line += `; Expires=${expires.toUTCString()}`;
  }
  if (httpOnly) line += "; HttpOnly";
  if (secure) line += "; Secure";
  if (partitioned) line += "; Partitioned";
  if (priority) line += `; Priority=${oneOf(["Low", "Medium", "High"], priority, "priority")}`;
  if (sameSite)
    line += `; SameSite=${sameSite === true ? "Strict" : oneOf(["Lax", "Strict", "None"], sameSite, "sameSite")}`;
  return line;
}

const invalid = (what: string): TypeError => new TypeError(`option ${what} is invalid`);

function matching(text: string, pattern: RegExp, what: string): string {
  if (!pattern.test(text)) throw invalid(what);
  return text;
}

function oneOf(allowed: readonly string[], value: string, what: string): string {
  const found = allowed.find((one) => one.toLowerCase() === String(value).toLowerCase());
  if (found === undefined) throw invalid(what);
  return found;
}
