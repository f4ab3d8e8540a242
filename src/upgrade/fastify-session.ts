import type { UpgradeSource } from "../session/upgrade.ts";
import type { OldCookieAttributes, UpgradeOptions } from "./options.ts";
import { type OldStore, signedIdSource } from "./signed-id.ts";

/** As they were given to `@fastify/session`. */
export interface FastifySessionOptions extends UpgradeOptions {
  /** The store that the old sessions are in. */
  readonly store: OldStore;
  /** What the cookies were signed with: one, or a list of which all verify. With the algorithm that is the default, SHA-256. */
  readonly secret: string | Buffer | readonly (string | Buffer)[];
  /** The name of the cookie. Default `sessionId`. */
  readonly cookieName?: string | undefined;
  /** What comes before the signed id. Default nothing. */
  readonly cookiePrefix?: string | undefined;
  /** Attributes of the cookie: its path and domain, if they were set, are needed for clearing it. */
  readonly cookie?: OldCookieAttributes | undefined;
}

/**
 * Sessions of `@fastify/session`, for `createSessions({ upgradeFrom })`.
 *
 * @throws TypeError for a store or a secret that is missing
 */
export function fastifySession(options: FastifySessionOptions): UpgradeSource {
  const { cookieName = "sessionId", cookiePrefix = "", ...rest } = options;
  return signedIdSource({ ...rest, name: cookieName, prefix: cookiePrefix });
}
