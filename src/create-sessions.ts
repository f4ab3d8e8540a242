import { CrossSiteCheck, type CsrfOptions } from "./csrf/fetch-metadata.ts";
import type { InitialData, SessionsSettings } from "./session/options.ts";
import type { SessionDataShape } from "./session/session.ts";
import { Sessions } from "./session/sessions.ts";
import type { Transport } from "./session/transport.ts";
import type { SessionStore } from "./stores/store.ts";
import type { MakeStrategy } from "./strategies/strategy.ts";
import { type CookieOptions, cookieTransport } from "./transports/cookie.ts";

export type SessionsOptions<Data extends object> = SessionsSettings<Data> &
  InitialData<Data> &
  ({ readonly store: SessionStore } | { readonly strategy: MakeStrategy }) & {
    /** The session cookie. Default `__Host-Http-sid; Path=/; Secure; HttpOnly; SameSite=Lax`. */
    readonly cookie?: CookieOptions;
    /** Another way for the token to travel, instead of the cookie: `headerTransport()`. */
    readonly transport?: Transport;
    /** The cross-site check; `false` turns it off. Default: unsafe requests from other sites are refused. */
    readonly csrf?: CsrfOptions | false;
  };

/**
 * The sessions of an application. Only `store` is needed, or a `strategy` that does without one.
 *
 * @throws TypeError for options that contradict each other or that browsers would refuse
 */
export function createSessions<Data extends object = SessionDataShape>(options: SessionsOptions<Data>): Sessions<Data> {
  const { cookie, transport, csrf, ...settings } = options;
  if (cookie !== undefined && transport !== undefined) throw new TypeError("Set either cookie or transport, not both");
  const crossSite = csrf === false ? undefined : new CrossSiteCheck(csrf);
  return new Sessions<Data>(settings, transport ?? cookieTransport(cookie), crossSite);
}
