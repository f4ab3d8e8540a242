import type { Secret } from "../frameworks/express-session/signature.ts";
import type { UpgradeSource } from "../session/upgrade.ts";
import type { OldCookieAttributes, UpgradeOptions } from "./options.ts";
import { type OldStore, signedIdSource } from "./signed-id.ts";

/** As they were given to `session(…)` of express-session or of `coatcheck/express-session`. */
export interface ExpressSessionOptions extends UpgradeOptions {
  /** The store that the old sessions are in. */
  readonly store: OldStore;
  /** What the cookies were signed with: one, or a list of which all verify. */
  readonly secret: Secret | readonly Secret[];
  /** The name of the cookie. Default `connect.sid`. */
  readonly name?: string | undefined;
  /** Attributes of the cookie: its path and domain, if they were set, are needed for clearing it. */
  readonly cookie?: OldCookieAttributes | undefined;
}

/**
 * Sessions of express-session, for `createSessions({ upgradeFrom })`.
 *
 * @throws TypeError for a store or a secret that is missing
 */
export function expressSession({ name = "connect.sid", ...options }: ExpressSessionOptions): UpgradeSource {
  return signedIdSource({ ...options, name, prefix: "s:" });
}
