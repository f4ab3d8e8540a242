import { setCookieLine } from "../frameworks/express-session/set-cookie.ts";
import { type Duration, minutes } from "../session/clock.ts";
import type { RequestFacts } from "../session/transport.ts";
import type { UpgradeSource } from "../session/upgrade.ts";

type OldData = Readonly<Record<string, unknown>>;

/** What all libraries to move over from have in common. */
export interface UpgradeOptions {
  /**
   * Which user is logged in, by the old session's data. The native session is then listed under that user. Default:
   * `data.passport.user` or else `data.userId`, where that is a text or a number.
   */
  // biome-ignore lint/suspicious/noExplicitAny: what the old library kept has no type
  userId?(data: any): string | number | null | undefined;
  /**
   * For how long the old session lives on beside the native one, in milliseconds: at least as long as requests are on
   * their way, or as servers with the old library still run. Then it is ended, and its cookie cleared, by the first request
   * that brings the native cookie. Default 5 minutes.
   */
  readonly grace?: Duration;
}

/** With which attributes the old cookie was set. Without the same path, domain and partitioned it cannot be cleared. */
export interface OldCookieAttributes {
  readonly path?: string | undefined;
  readonly domain?: string | undefined;
  readonly partitioned?: boolean | undefined;
  // Of no use here: so that options can be passed as they are.
  readonly httpOnly?: unknown;
  readonly secure?: unknown;
  readonly sameSite?: unknown;
  readonly maxAge?: unknown;
  readonly expires?: unknown;
  readonly priority?: unknown;
}

/** @throws TypeError for a grace that is no time */
export function commonOf(
  { userId = usualUserId, grace = minutes(5) }: UpgradeOptions,
  name: string,
  { path = "/", domain, partitioned }: OldCookieAttributes = {},
): Pick<UpgradeSource, "userId" | "grace" | "clear"> {
  if (!(grace >= 0 && grace < Number.POSITIVE_INFINITY))
    throw new TypeError("upgradeFrom: grace must be a number of milliseconds, 0 or more");
  const clear = (secure: boolean) =>
    setCookieLine(name, "", { path, domain, partitioned, secure, httpOnly: true, expires: new Date(0) });
  // Now, so that attributes which no cookie can have are found when the application starts.
  const [secure, plain] = [clear(true), clear(false)];
  return { userId, grace, clear: (request: RequestFacts) => ({ name, line: request.secure ? secure : plain }) };
}

function usualUserId(data: OldData): string | number | undefined {
  const { passport, userId } = data as { passport?: { user?: unknown } | null; userId?: unknown };
  return [passport?.user, userId].find((id) => typeof id === "string" || typeof id === "number") as
    | string
    | number
    | undefined;
}
