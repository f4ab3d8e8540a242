/**
 * The `typ` of every kind of signed token (RFC 8725 section 3.11). A verifier accepts its own and no other (row JW-11). What
 * is not signed as a JWT, such as session, refresh and CSRF tokens, has a shape that none of these can have.
 */
export const TOKEN_TYPES = {
  access: "at+jwt",
  refresh: "rt+jwt",
  deviceBoundSession: "dbsc+jwt",
  proofOfPossession: "dpop+jwt",
  logout: "logout+jwt",
} as const;

export type TokenType = (typeof TOKEN_TYPES)[keyof typeof TOKEN_TYPES];

/** Whether a header's `typ` names this kind: letter case does not count, and `application/` may be there or not. */
export function isType(typ: unknown, type: TokenType): boolean {
  return typeof typ === "string" && typ.toLowerCase().replace(/^application\//, "") === type;
}
