import type { NamedCookie, ResponseChanges } from "../session/transport.ts";

export const changesNothing = ({ cookies, headers, varyBy }: ResponseChanges): boolean =>
  cookies.length === 0 && varyBy === undefined && headers.length === 0;

/** The cookies that fit a response with this Cache-Control: a copy in a cache must not carry one that can be spared. */
export function cookiesFor(cacheControl: unknown, { cookies }: ResponseChanges): readonly NamedCookie[] {
  const kept =
    cacheControl !== undefined && cacheControl !== null && !/\b(?:no-store|private)\b/i.test(`${cacheControl}`);
  return kept ? cookies.filter(({ optional }) => optional !== true) : cookies;
}

/** Set-Cookie lines with ours: those of other names stay as they are (row CK-11). */
export function withCookies(lines: readonly string[], cookies: readonly NamedCookie[]): string[] {
  const others = lines.filter((line) => !cookies.some(({ name }) => line.startsWith(`${name}=`)));
  return [...others, ...cookies.map(({ line }) => line)];
}
