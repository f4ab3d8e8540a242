import { type Clock, type Instant, seconds } from "../session/clock.ts";
import { alone, arrival } from "./locks.ts";

/** An access token. It is in memory and nowhere else. */
export interface AccessToken {
  readonly text: string;
  readonly expiresAt: Instant;
  /** When it was asked for; of two, the later one counts. */
  readonly issuedAt: Instant;
}

/** How long the server may take to answer a refresh, for which all tabs wait. */
const PATIENCE = seconds(8);

export interface AccessTokens {
  readonly get: () => AccessToken | undefined;
  /** What the server, or another tab, has given. */
  readonly set: (token: AccessToken | undefined) => void;
  /** Reads the body of a login or refresh. */
  readonly take: (response: Response, asked: Instant) => Promise<AccessToken>;
  /**
   * Gets a later token than the one given, once for all tabs, however many ask. Resolves with the answer that stands in the
   * way when there is none: 401 when the session is over, 503 when nothing is known.
   */
  readonly refresh: (old: AccessToken | undefined) => Promise<Response | undefined>;
}

export function accessTokens(
  clock: Clock,
  name: string,
  send: (signal: AbortSignal) => Promise<Response>,
  tell: (token: AccessToken) => void,
): AccessTokens {
  let token: AccessToken | undefined;
  /** Grows when tokens are dropped, so that an answer which was on its way does not bring one back. */
  let dropped = 0;
  let refreshing: Promise<Response | undefined> | undefined;

  const take = async (response: Response, asked: Instant) => {
    const { accessToken, expiresIn } = (await response.json()) as { accessToken: string; expiresIn: number };
    token = { text: accessToken, expiresAt: asked + seconds(expiresIn), issuedAt: Math.max(asked, issued(token) + 1) };
    return token;
  };

  const refreshOnce = (old: AccessToken | undefined) =>
    alone<Response | undefined>(name, clock, async (last) => {
      // Another tab may have been first; its token is on the way.
      await arrival(clock, () => issued(token) >= last);
      if (issued(token) > issued(old)) return [undefined, 0];
      const [asked, before] = [Math.max(clock.now(), last + 1), dropped];
      const abort = new AbortController();
      const cancel = clock.schedule(() => abort.abort(new TypeError("no answer")), PATIENCE);
      try {
        const response = await send(abort.signal);
        // A login, here or in another tab, was faster.
        if (issued(token) > issued(old)) return [undefined, 0];
        if (response.ok && dropped === before) {
          const taken = await take(response, asked);
          tell(taken);
          return [undefined, taken.issuedAt];
        }
        // As RFC 6749, section 5.2, has it.
        const refused = response.status === 400 && /"invalid_grant"/.test(await response.clone().text());
        return [response.ok || refused ? new Response(null, { status: 401 }) : response, 0];
      } finally {
        cancel();
      }
    });

  return {
    get: () => token,
    set(other) {
      if (other === undefined) dropped++;
      if (other === undefined || issued(other) > issued(token)) token = other;
    },
    take,
    refresh(old) {
      if (issued(token) > issued(old)) return Promise.resolve(undefined);
      refreshing ??= refreshOnce(old).finally(() => {
        refreshing = undefined;
      });
      return refreshing;
    },
  };
}

const issued = (token: AccessToken | undefined): Instant => token?.issuedAt ?? 0;
