import { type FoundCookie, findCookie } from "./cookie-header.ts";
import { debug } from "./debug.ts";
import { deprecate } from "./deprecation.ts";
import type { SessionRequest } from "./request.ts";
import type { Settings } from "./settings.ts";
import { type Secret, unsign } from "./signature.ts";

/** What cookie-parser leaves on requests. */
interface ParsedCookies {
  readonly signedCookies?: Readonly<Record<string, unknown>>;
  readonly cookies?: Readonly<Record<string, unknown>>;
}

/** The session id in the request's cookie, if the signature is right. */
export function presentedId(
  request: SessionRequest,
  { name, warnings }: Settings,
  secrets: readonly Secret[],
): string | undefined {
  const { cookie } = request.headers;
  const found: FoundCookie | undefined = cookie ? findCookie(cookie, name) : undefined;
  if (found?.repeated) warnings.give("COATCHECK_TWO_SESSION_COOKIES");
  return (found && verified(found.value, secrets)) || parsedElsewhere(request as ParsedCookies, name, secrets);
}

/** For applications where something took the Cookie header away after cookie-parser had read it. */
function parsedElsewhere(
  { signedCookies, cookies }: ParsedCookies,
  name: string,
  secrets: readonly Secret[],
): string | undefined {
  const signed = signedCookies?.[name];
  const plain = cookies?.[name];
  const id =
    (typeof signed === "string" && signed) || (typeof plain === "string" && verified(plain, secrets)) || undefined;
  if (id) deprecate("cookie should be available in req.headers.cookie");
  return id;
}

function verified(value: string, secrets: readonly Secret[]): string | undefined {
  const id = value.startsWith("s:") ? unsign(value.slice(2), secrets) : undefined;
  if (id === undefined) debug("cookie without a good signature");
  return id;
}
