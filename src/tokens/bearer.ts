import type { Clock, Duration } from "../session/clock.ts";
import { InsufficientScopeError, RecentAuthRequiredError, TokenRequiredError } from "../session/errors.ts";
import type { AccessClaims } from "./claims.ts";
import { isScope } from "./scope.ts";

/** What `createTokens` makes, as far as the adapters know it. */
export interface TokenVerifier<Token extends AccessClaims = AccessClaims> {
  readonly clock: Clock;
  /** @throws InvalidTokenError, StoreUnavailableError */
  verify(token: string): Promise<Token>;
}

/** The verified token of a request, and by whom it was verified. */
interface Authorized {
  readonly tokens: TokenVerifier;
  readonly token: AccessClaims;
}

const authorized = Symbol("coatcheck.accessToken");
type Carrier = { [authorized]?: Authorized };

/**
 * Verifies the token of an `Authorization` header (RFC 6750 section 2.1) and keeps it with the request. A token anywhere else,
 * such as in the query, is not looked at (row JW-19).
 *
 * @param authorization the header's value; several headers joined are no token
 * @param carrier the framework's own object for the request
 * @throws TokenRequiredError when there is none, InvalidTokenError when it is not valid, StoreUnavailableError
 */
export async function authorize<Token extends AccessClaims>(
  tokens: TokenVerifier<Token>,
  authorization: string | undefined,
  carrier: object,
): Promise<Token> {
  if (authorization === undefined || !/^Bearer(?: |$)/i.test(authorization)) throw new TokenRequiredError();
  const token = await tokens.verify(authorization.slice("Bearer".length).trim());
  (carrier as Carrier)[authorized] = { tokens, token };
  return token;
}

/**
 * The verified token of a request, with the claims that its `tokens` declared.
 *
 * @param request what the framework calls it: `req`, `request`, `ctx`, `c`
 * @throws TypeError when `requireAccessToken(tokens)` did not run before
 */
export function accessTokenOf<Token extends AccessClaims>(tokens: TokenVerifier<Token>, request: object): Token {
  const found = (request as Carrier)[authorized];
  if (found === undefined || found.tokens !== tokens)
    throw new TypeError("accessTokenOf: requireAccessToken(tokens) has to run before");
  return found.token as Token;
}

/** Throws unless the token of a request passes. */
export type TokenCheck = (request: object) => void;

/**
 * Asks for a scope, or for several with spaces between, all of them.
 *
 * @throws TypeError for a text that is no scope
 * @returns throws InsufficientScopeError when the token lacks one
 */
export function scopeCheck(scope: string): TokenCheck {
  if (!isScope(scope)) throw new TypeError("requireScope: a scope is one or several names with single spaces between");
  const needed = scope.split(" ");

  return function checkScope(request) {
    const granted = authorizedOf(request, "requireScope").token.scope?.split(" ") ?? [];
    if (!needed.every((name) => granted.includes(name))) throw new InsufficientScopeError(scope);
  };
}

/**
 * Asks for a user who authenticated less than `maxAge` ago, by the token's `auth_time` (RFC 9470).
 *
 * @param maxAge milliseconds, one second or more
 * @returns throws RecentAuthRequiredError when that is longer ago, or unknown
 */
export function recentAuthCheck(maxAge: Duration): TokenCheck {
  if (!(maxAge >= 1000)) throw new TypeError("requireRecentAuth: maxAge is one second or more, in milliseconds");

  return function checkRecentAuth(request) {
    const { tokens, token } = authorizedOf(request, "requireRecentAuth");
    const age = tokens.clock.now() - (token.auth_time ?? Number.NEGATIVE_INFINITY) * 1000;
    if (!(age < maxAge)) throw new RecentAuthRequiredError(Math.floor(maxAge / 1000));
  };
}

function authorizedOf(request: object, asker: string): Authorized {
  const found = (request as Carrier)[authorized];
  if (found === undefined) throw new TypeError(`${asker}: requireAccessToken(tokens) has to run before`);
  return found;
}
