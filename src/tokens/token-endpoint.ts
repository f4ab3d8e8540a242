import { deviceOf } from "../session/connection.ts";
import { InvalidGrantError } from "../session/errors.ts";
import type { RequestFacts, ResponseChanges } from "../session/transport.ts";
import type {
  AccessTokenAnswer,
  RefreshOptions,
  SessionTokens,
  TokenAnswer,
  TokenLoginOptions,
} from "./session-tokens.ts";

/** How the refresh token travels. */
export interface TokenRouteOptions {
  /**
   * `"cookie"`, the default: an HttpOnly cookie, which no script sees, for browsers. `"body"`: the answer holds it, and the
   * handler passes it on from the request, for clients that are no browsers.
   */
  readonly refreshToken?: "cookie" | "body";
}

type Options<Of> = Omit<Of, "device">;

interface Presented {
  /** What the request's body holds; only with the option `refreshToken: "body"`. */
  readonly refreshToken?: unknown;
}

/**
 * Logging in, refreshing and logging out for one request: what the `tokenRoute` of an adapter hands to its handler. Answers
 * to be sent as JSON.
 */
export class TokenEndpoint<Own extends string = never> {
  readonly #tokens: SessionTokens<Own>;
  readonly #request: RequestFacts;
  readonly #inBody: boolean;
  /** The refresh token that the request's cookie holds. */
  readonly #inCookie: string | undefined;
  #changes: ResponseChanges = NO_STORE;

  /**
   * @internal Endpoints come from `tokenRoute`.
   *
   * @throws CrossSiteRequestError before the handler has done anything; CookieHeaderTooLargeError
   */
  constructor(tokens: SessionTokens<Own>, request: RequestFacts, { refreshToken = "cookie" }: TokenRouteOptions) {
    if (refreshToken !== "cookie" && refreshToken !== "body")
      throw new TypeError('tokenRoute: refreshToken is "cookie" or "body"');
    this.#tokens = tokens;
    this.#request = request;
    this.#inBody = refreshToken === "body";
    if (this.#inBody) return;
    const { refreshCookie, sessions } = tokens;
    const presented = refreshCookie.read(request);
    sessions.assertSameSite(request, refreshCookie, presented.kind !== "none");
    if (presented.kind === "token") this.#inCookie = presented.text;
    if (presented.kind === "duplicate") this.#changes = refreshCookie.clear(request);
  }

  /**
   * Tokens for a user who has proved who they are. The session of a refresh token that the cookie held before ends.
   *
   * @throws SessionLimitError, StoreUnavailableError, InsecureTransportError
   */
  async login(userId: string, options: Options<TokenLoginOptions<Own>> = {}): Promise<AccessTokenAnswer> {
    this.#tokens.refreshCookie.assertSecure(this.#request);
    const device = deviceOf(this.#request);
    const answer = this.#deliver(await this.#tokens.login(userId, { ...options, device }));
    if (this.#inCookie !== undefined) await this.#tokens.logout(this.#inCookie, { device });
    return answer;
  }

  /**
   * New tokens for the refresh token, which is in the cookie unless the option `refreshToken: "body"` is set.
   *
   * @throws InvalidGrantError, SessionConflictError, InvalidScopeError, StoreUnavailableError, InsecureTransportError
   */
  async refresh(options: Options<RefreshOptions<Own>> & Presented = {}): Promise<AccessTokenAnswer> {
    const { refreshToken, ...rest } = options;
    const presented = this.#presented(refreshToken);
    this.#tokens.refreshCookie.assertSecure(this.#request);
    if (presented === undefined) throw new InvalidGrantError();
    return this.#deliver(await this.#tokens.refresh(presented, { ...rest, device: deviceOf(this.#request) }));
  }

  /**
   * Ends the session of the refresh token. Harmless without one.
   *
   * @throws StoreUnavailableError
   */
  async logout({ refreshToken }: Presented = {}): Promise<void> {
    const presented = this.#presented(refreshToken);
    if (presented !== undefined) await this.#tokens.logout(presented, { device: deviceOf(this.#request) });
    if (!this.#inBody) this.#changes = this.#tokens.refreshCookie.clear(this.#request);
  }

  /** @internal What the head of the response has to say. */
  responseChanges(): ResponseChanges {
    return this.#changes;
  }

  #presented(fromBody: unknown): unknown {
    if (this.#inBody) return fromBody;
    if (fromBody !== undefined)
      throw new TypeError(
        'tokenRoute: refresh tokens come in the cookie; set refreshToken: "body" to take them otherwise',
      );
    return this.#inCookie;
  }

  #deliver(answer: TokenAnswer): AccessTokenAnswer {
    if (this.#inBody) return answer;
    const { accessToken, expiresIn, refreshToken, refreshExpiresIn } = answer;
    this.#changes = this.#tokens.refreshCookie.write(this.#request, refreshToken, refreshExpiresIn * 1000);
    return { accessToken, expiresIn };
  }
}

const NO_STORE: ResponseChanges = { cookies: [], headers: [["Cache-Control", "no-store"]] };
