import type { Duration, Instant } from "../session/clock.ts";
import { SessionEndedError } from "../session/errors.ts";
import type { DeviceFacts } from "../session/record.ts";
import type { Session } from "../session/session.ts";
import type { Sessions } from "../session/sessions.ts";
import type { SessionId } from "../session/token.ts";
import type { Transport } from "../session/transport.ts";
import { type AccessTokenSettings, type OwnClaims, Tokens } from "./access-token.ts";
import { KNOWN_CLAIMS } from "./claims.ts";
import type { IssuedRefreshToken, RefreshTokens } from "./refresh-tokens.ts";
import { isScope } from "./scope.ts";
import { SessionLookUp } from "./session-revocation.ts";

export interface TokenLoginOptions<Own extends string = never> {
  /** How the user proved who they are, as RFC 8176 values such as `"pwd"` or `"otp"`: the claim `amr`. */
  readonly methods?: readonly string[];
  /** What the tokens are good for: names with single spaces between. */
  readonly scope?: string;
  /** The application that the tokens are issued to. Default: the option `clientId`. */
  readonly clientId?: string;
  /** What the user's list of devices is to tell of this one. */
  readonly device?: DeviceFacts;
  /** Claims of your own for the access token. */
  readonly claims?: OwnClaims<Own>;
}

export interface RefreshOptions<Own extends string = never>
  extends Pick<TokenLoginOptions<Own>, "clientId" | "device" | "claims"> {
  /** Less than what the token is good for, and from then on no more than this. Default: all of it. */
  readonly scope?: string;
}

export interface AccessTokenAnswer {
  readonly accessToken: string;
  /** Seconds. */
  readonly expiresIn: number;
}

export interface TokenAnswer extends AccessTokenAnswer {
  /** Good for one `refresh`. */
  readonly refreshToken: string;
  /** Seconds until it expires unless it is used. */
  readonly refreshExpiresIn: number;
}

/** What `issue` needs of a session. */
export type LoggedInSession = Pick<
  Session,
  "id" | "userId" | "readOnly" | "secretAt" | "expiresAt" | "authenticatedAt" | "methods"
>;

/** Access tokens that belong to sessions, and the refresh tokens that give new ones. */
export class SessionTokens<Own extends string = never> extends Tokens<Own> {
  readonly #clientId: string;
  readonly #lifetime: Duration;
  readonly #looksUp: boolean;
  readonly #refreshTokens: RefreshTokens;
  /** @internal What `tokenRoute` needs. */
  readonly sessions: Pick<Sessions, "records" | "assertSameSite">;
  /** @internal */
  readonly refreshCookie: Transport;

  /** @internal `createTokens` makes it. */
  constructor(
    settings: AccessTokenSettings,
    refreshTokens: RefreshTokens,
    sessions: Pick<Sessions, "records" | "assertSameSite">,
    refreshCookie: Transport,
  ) {
    super(settings);
    this.#clientId = settings.clientId;
    this.#lifetime = settings.lifetime;
    this.#looksUp = settings.revocation instanceof SessionLookUp;
    this.#refreshTokens = refreshTokens;
    this.sessions = sessions;
    this.refreshCookie = refreshCookie;
  }

  /**
   * A session for a user who has proved who they are: an access token, and a refresh token for the next one. The session is
   * listed with the user's devices, and counts and ends like any other.
   *
   * @throws SessionLimitError, StoreUnavailableError
   */
  async login(userId: string, options: TokenLoginOptions<Own> = {}): Promise<TokenAnswer> {
    if (typeof userId !== "string" || userId === "" || userId.length > 256)
      throw new TypeError("login: userId must be a text of 1 to 256 characters");
    const { clientId = this.#clientId, methods, scope, device, claims } = options;
    assertScope("login", scope);
    return this.#answer(await this.#refreshTokens.create(userId, { clientId, methods, scope, device }), claims);
  }

  /**
   * New tokens for a refresh token, which is dead from then on. Whoever uses it again ends the session, since two have it.
   *
   * @param refreshToken from outside: anything
   * @throws InvalidGrantError for every token that is not in force; SessionConflictError when another request used it at the
   *   same time and was first; InvalidScopeError for more than it is good for, and then it stays in force;
   *   StoreUnavailableError
   */
  async refresh(refreshToken: unknown, options: RefreshOptions<Own> = {}): Promise<TokenAnswer> {
    const { clientId = this.#clientId, scope, device, claims } = options;
    return this.#answer(await this.#refreshTokens.use(refreshToken, { clientId, scope, device }), claims);
  }

  /**
   * Ends the session of a refresh token, with its access tokens. Harmless for a token that is not in force any more.
   *
   * @throws StoreUnavailableError: the session may still be there
   */
  logout(refreshToken: unknown, { device }: Pick<TokenLoginOptions, "device"> = {}): Promise<void> {
    return this.#refreshTokens.end(refreshToken, device);
  }

  /**
   * An access token for a session with a cookie, so that its user can call other services. It dies with the session.
   *
   * @throws TypeError when nobody is logged in, and for sealed sessions beside a store that keeps no revocations, where no
   *   such token could be told from one of an ended session; SessionEndedError for a request whose own token was rotated out, or whose
   *   session has ended meanwhile
   */
  issue(
    session: LoggedInSession,
    options: Pick<TokenLoginOptions<Own>, "scope" | "clientId" | "claims"> = {},
  ): AccessTokenAnswer {
    const { userId, authenticatedAt, methods, id, secretAt, expiresAt } = session;
    if (userId === undefined) throw new TypeError("issue: nobody is logged in");
    const { revocations, strategy } = this.sessions.records().core;
    if (this.#looksUp && !strategy.keptInStore)
      throw new TypeError("issue: with sealed sessions the store has to keep revocations (`revocations`)");
    if (session.readOnly) throw new SessionEndedError("rotated");
    // A revocation is kept for the lifetime of the tokens from before it, not of later ones.
    if (revocations.isRevoked({ sessionId: id, userId, issuedAt: secretAt as Instant }))
      throw new SessionEndedError("gone");
    const { clientId = this.#clientId, scope, claims } = options;
    assertScope("issue", scope);
    const facts = { id, userId, secretAt, expiresAt, authenticatedAt, methods, scope, clientId };
    return this.#accessToken(facts as SessionFacts, claims);
  }

  #answer({ token, record, scope }: IssuedRefreshToken, claims: OwnClaims<Own> | undefined): TokenAnswer {
    const { id, userId, expiresAt, meta } = record;
    const { secretAt, authenticatedAt, methods, refresh } = meta;
    const facts = { id, userId, secretAt, expiresAt, authenticatedAt, methods, scope, clientId: refresh.clientId };
    return {
      ...this.#accessToken(facts, claims),
      refreshToken: token,
      refreshExpiresIn: Math.floor((expiresAt - this.clock.now()) / 1000),
    };
  }

  #accessToken(session: SessionFacts, own: OwnClaims<Own> | undefined): AccessTokenAnswer {
    const { id, userId, secretAt, expiresAt, authenticatedAt, methods = [], scope, clientId } = session;
    const left = Math.floor((expiresAt - this.clock.now()) / 1000) * 1000;
    const lifetime = Math.min(this.#lifetime, Math.max(1000, left));
    // Where the session tells nothing, a user's record that has a scope must not tell it instead.
    for (const name of Object.keys(own ?? {}))
      if (KNOWN_CLAIMS.has(name)) throw new TypeError(`claims: ${JSON.stringify(name)} is for the session to tell`);
    const claims = {
      ...own,
      sub: userId,
      client_id: clientId,
      sid: id,
      sid_at: secretAt,
      ...(authenticatedAt === undefined ? undefined : { auth_time: Math.floor(authenticatedAt / 1000) }),
      ...(methods.length === 0 ? undefined : { amr: methods }),
      ...(scope === undefined ? undefined : { scope }),
    };
    const accessToken = this.sign(claims as Parameters<typeof this.sign>[0], { lifetime });
    return { accessToken, expiresIn: Math.floor(lifetime / 1000) };
  }
}

/** What an access token tells of its session. */
interface SessionFacts {
  readonly id: SessionId;
  readonly userId: string;
  readonly secretAt: Instant;
  readonly expiresAt: Instant;
  readonly authenticatedAt: Instant | undefined;
  readonly methods: readonly string[] | undefined;
  readonly scope: string | undefined;
  readonly clientId: string;
}

function assertScope(operation: string, scope: string | undefined): void {
  if (scope !== undefined && !isScope(scope))
    throw new TypeError(`${operation}: a scope is one or several names with single spaces between`);
}
