/**
 * Access tokens: JSON Web Tokens (RFC 9068) that are signed, short-lived, and verified without a look-up.
 *
 * @module
 */
export { InvalidGrantError, InvalidScopeError, InvalidTokenError } from "../session/errors.ts";
export type { AccessToken, OwnClaims, SignOptions, Tokens } from "./access-token.ts";
export type { TokenVerifier } from "./bearer.ts";
export type { AccessClaims, NumericDate, TokenRejection, UserClaims } from "./claims.ts";
export { createTokens, type SessionTokensOptions, type TokensOptions } from "./create-tokens.ts";
export type { KeyRing } from "./key-ring.ts";
export { generateKey, type Jwk, type KeyInput, type KeyMaterial, type TokenAlgorithm } from "./keys.ts";
export type { RevocableFacts, Revocation } from "./revocation.ts";
export type {
  AccessTokenAnswer,
  LoggedInSession,
  RefreshOptions,
  SessionTokens,
  TokenAnswer,
  TokenLoginOptions,
} from "./session-tokens.ts";
export type { TokenEndpoint, TokenRouteOptions } from "./token-endpoint.ts";
