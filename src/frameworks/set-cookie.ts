import type { ResponseChanges } from "../session/transport.ts";

/** The Set-Cookie lines of a response, ours in place of others for the same cookies. */
export function withCookies(
  lines: readonly string[],
  { cookie, oldCookie }: Pick<ResponseChanges, "cookie" | "oldCookie">,
): string[] {
  const ours = [cookie, oldCookie].filter((one) => one !== undefined);
  const others = lines.filter((line) => !ours.some(({ name }) => line.startsWith(`${name}=`)));
  return [...others, ...ours.map(({ line }) => line)];
}
