/** Every `code` that an error of this library can carry. */
export type ErrorCode =
  | "store_unavailable"
  | "session_conflict"
  | "session_ended"
  | "session_limit_reached"
  | "recent_auth_required"
  | "session_data_invalid"
  | "session_too_large"
  | "corrupt_record"
  | "cross_site_request"
  | "csrf_token_invalid"
  | "token_required"
  | "token_invalid"
  | "token_scope_insufficient"
  | "invalid_grant"
  | "invalid_scope"
  | "insecure_transport"
  | "cookie_too_large"
  | "cookie_header_too_large"
  | "headers_sent";

/**
 * Base of all errors that hostile input, stored data or a failing store can cause. Misuse by the programmer is a
 * `TypeError` instead. No message ever holds a token, a secret or a cookie value.
 */
export abstract class CoatcheckError extends Error {
  /** Stable, for `switch`. */
  abstract readonly code: ErrorCode;
  /** The HTTP status that the adapters answer with. */
  abstract readonly status: number;
  /** Seconds for a `Retry-After` header, where waiting helps. */
  readonly retryAfter?: number;
  /** A sentence that may be shown to the client. */
  abstract readonly publicMessage: string;
  /** What Express, Fastify and Koa send along when such an error comes to their own error handling. */
  get headers(): Readonly<Record<string, string>> | undefined {
    return this.retryAfter === undefined ? undefined : { "Retry-After": String(this.retryAfter) };
  }
  override get name(): string {
    return this.constructor.name;
  }
}

/** The store did not answer, or not in time. Nothing is known about the write. The visitor's session is untouched. */
export class StoreUnavailableError extends CoatcheckError {
  readonly code = "store_unavailable";
  readonly status = 503;
  override readonly retryAfter = 5;
  readonly publicMessage = "Please try again in a moment.";
  constructor(operation: string, options: { cause: unknown }) {
    super(`The session store failed in ${operation}().`, options);
  }
}

/** Two requests assigned the same keys of one session, or used one refresh token, at the same time. Nothing of this request was saved. */
export class SessionConflictError extends CoatcheckError {
  readonly code = "session_conflict";
  readonly status = 409;
  readonly publicMessage = "Another request changed the same thing at the same time. Please try again.";
  /** The top-level keys in conflict. */
  readonly keys: readonly string[];
  constructor(keys: readonly string[]) {
    const named = keys.map((key) => JSON.stringify(key.slice(0, 64))).join(", ");
    super(
      keys.length === 0
        ? "Other requests kept changing the session first."
        : `Concurrent requests assigned the same session data (${named}). Use session.update(key, fn), or set onConflict.`,
    );
    this.keys = keys;
  }
}

/** The session ended, or its secret was changed, while this request was at work. Nothing of this request was saved. */
export class SessionEndedError extends CoatcheckError {
  readonly code = "session_ended";
  readonly status = 409;
  readonly publicMessage = "The session ended while this request was being answered. Please try again.";
  readonly reason: "gone" | "expired" | "rotated";
  constructor(reason: "gone" | "expired" | "rotated") {
    super(`A write came too late: the session is ${reason}. Nothing of it was saved.`);
    this.reason = reason;
  }
}

/** The user already has as many sessions as the policy allows, and the policy is `"reject"`. */
export class SessionLimitError extends CoatcheckError {
  readonly code = "session_limit_reached";
  readonly status = 403;
  readonly publicMessage = "You are signed in on too many devices. Sign out on one of them first.";
  constructor(max: number) {
    super(`The user already has ${max} sessions.`);
  }
}

/** The action needs a user who has authenticated recently. Let them sign in again, then call `elevate` or `login`. */
export class RecentAuthRequiredError extends CoatcheckError {
  readonly code = "recent_auth_required";
  readonly status = 401;
  readonly publicMessage = "Please sign in again to do this.";
  /** For clients that hold an access token: how fresh the authentication has to be, in seconds. */
  readonly maxAge?: number;
  constructor(maxAge?: number) {
    super("The user has not authenticated recently enough for this action.");
    if (maxAge !== undefined) this.maxAge = maxAge;
  }
  /** The step-up challenge of RFC 9470. */
  override get headers() {
    if (this.maxAge === undefined) return undefined;
    return { "WWW-Authenticate": `Bearer error="insufficient_user_authentication", max_age="${this.maxAge}"` };
  }
}

/** Stored data does not fit the schema, even after the migrations. It is left as it is. */
export class SessionDataError extends CoatcheckError {
  readonly code = "session_data_invalid";
  readonly status = 500;
  readonly publicMessage = "Something went wrong.";
  /** Where and what, without the values. */
  readonly issues: readonly string[];
  constructor(issues: readonly string[], options?: { cause?: unknown }) {
    super(`Stored session data is not valid: ${issues.join("; ")}. Add a migration for the change of shape.`, options);
    this.issues = issues;
  }
}

/** The data of the session would be larger than `maxDataBytes`. Nothing of this request was saved. */
export class SessionTooLargeError extends CoatcheckError {
  readonly code = "session_too_large";
  readonly status = 413;
  readonly publicMessage = "That is too much to remember.";
  constructor(bytes: number, limit: number) {
    super(
      `The session data would take ${bytes} bytes, more than maxDataBytes (${limit}). Keep large things in a database.`,
    );
  }
}

/** A stored record cannot be understood. The core treats the request as anonymous and reports it. */
export class CorruptRecordError extends CoatcheckError {
  readonly code = "corrupt_record";
  readonly status = 500;
  readonly publicMessage = "Something went wrong.";
  constructor(options?: { cause?: unknown }) {
    super("A stored session record cannot be understood.", options);
  }
}

/** A request with an unsafe method came from another site. The session was not opened. */
export class CrossSiteRequestError extends CoatcheckError {
  readonly code = "cross_site_request";
  readonly status = 403;
  readonly publicMessage = "Forbidden.";
  readonly reason: "sec-fetch-site" | "origin" | "no-evidence";
  constructor(reason: "sec-fetch-site" | "origin" | "no-evidence") {
    super(
      `A cross-site request was refused (${reason}). If this origin is yours, add it to csrf.trustedOrigins; ` +
        "if the route has its own authentication, exempt the route.",
    );
    this.reason = reason;
  }
}

/** The CSRF token is missing or does not belong to this session. */
export class CsrfTokenError extends CoatcheckError {
  readonly code = "csrf_token_invalid";
  readonly status = 403;
  readonly publicMessage = "This form is out of date. Please load the page again.";
  constructor() {
    super("The CSRF token is missing or does not belong to this session.");
  }
}

/** The request carries no access token. */
export class TokenRequiredError extends CoatcheckError {
  readonly code = "token_required";
  readonly status = 401;
  readonly publicMessage = "An access token is required.";
  constructor() {
    super("The request carries no access token in its Authorization header.");
  }
  // Without an error attribute, as nothing was wrong (RFC 6750 section 3.1).
  override get headers() {
    return { "WWW-Authenticate": "Bearer" };
  }
}

/** A token is not valid here and now. Always the same, so that nobody learns from it what to mend (row JW-13). */
export class InvalidTokenError extends CoatcheckError {
  readonly code = "token_invalid";
  readonly status = 401;
  readonly publicMessage = "The access token is not valid.";
  constructor() {
    super("The token is not valid.");
  }
  override get headers() {
    return { "WWW-Authenticate": 'Bearer error="invalid_token"' };
  }
}

/** The access token is valid, but not good for this. */
export class InsufficientScopeError extends CoatcheckError {
  readonly code = "token_scope_insufficient";
  readonly status = 403;
  readonly publicMessage = "The access token does not allow this.";
  /** What would be needed: names with single spaces between. */
  readonly scope: string;
  constructor(scope: string) {
    super(`The access token lacks the scope ${JSON.stringify(scope)}.`);
    this.scope = scope;
  }
  override get headers() {
    return { "WWW-Authenticate": `Bearer error="insufficient_scope", scope="${this.scope}"` };
  }
}

/**
 * A refresh token is not in force: unknown, expired, revoked, used before, or of another client. Always the same, so that
 * nobody learns which (row RT-09). The user has to log in again.
 */
export class InvalidGrantError extends CoatcheckError {
  readonly code = "invalid_grant";
  readonly status = 400;
  /** The word that RFC 6749 section 5.2 has for it. */
  readonly publicMessage = "invalid_grant";
  constructor() {
    super("The refresh token is not valid.");
  }
}

/** A refresh asked for a scope that its login did not have. The refresh token is still in force. */
export class InvalidScopeError extends CoatcheckError {
  readonly code = "invalid_scope";
  readonly status = 400;
  /** The word that RFC 6749 section 5.2 has for it. */
  readonly publicMessage = "invalid_scope";
  constructor() {
    super("The refresh token does not have the scope that was asked for.");
  }
}

/** A credential was about to be sent over plain HTTP. */
export class InsecureTransportError extends CoatcheckError {
  readonly code = "insecure_transport";
  readonly status = 500;
  readonly publicMessage = "Something went wrong.";
  constructor(host: string) {
    super(
      `No session cookie is sent over plain HTTP to ${JSON.stringify(host.slice(0, 128))}. Serve over HTTPS. If TLS ends at a proxy in front ` +
        'of the application, trust it: app.set("trust proxy", …) in Express, the trustProxy option elsewhere. ' +
        "In development use http://localhost.",
    );
  }
}

/** A cookie would exceed what browsers keep (RFC 6265bis section 5.6: 4096 bytes), so it would be lost silently. */
export class CookieTooLargeError extends CoatcheckError {
  readonly code = "cookie_too_large";
  readonly status = 500;
  readonly publicMessage = "Something went wrong.";
  readonly bytes: number;
  readonly limit: number;
  constructor(what: string, bytes: number, limit: number, advice = "") {
    super(`The cookie's ${what} takes ${bytes} bytes; browsers drop it above ${limit}. ${advice}`.trimEnd());
    this.bytes = bytes;
    this.limit = limit;
  }
}

/** The Cookie header exceeds 8 KiB or 180 cookies (standard row TR-07). The session was not opened. */
export class CookieHeaderTooLargeError extends CoatcheckError {
  readonly code = "cookie_header_too_large";
  readonly status = 431;
  readonly publicMessage = "The request carries too many cookies. Clear the cookies of this site.";
  constructor() {
    super("The Cookie header is larger than 8 KiB or names more than 180 cookies.");
  }
}

/** The session needs to send a cookie, but the head of the response has left. Nothing was changed. */
export class HeadersSentError extends CoatcheckError {
  readonly code = "headers_sent";
  readonly status = 500;
  readonly publicMessage = "Something went wrong.";
  constructor(operation: string) {
    super(`${operation} needs to send a cookie, but the response has begun. Do it before the first byte.`);
  }
}

/** All of them, for an exhaustive `switch (error.code)`. */
export type AnyCoatcheckError =
  | StoreUnavailableError
  | SessionConflictError
  | SessionEndedError
  | SessionLimitError
  | RecentAuthRequiredError
  | SessionDataError
  | SessionTooLargeError
  | CorruptRecordError
  | CrossSiteRequestError
  | CsrfTokenError
  | TokenRequiredError
  | InvalidTokenError
  | InsufficientScopeError
  | InvalidGrantError
  | InvalidScopeError
  | InsecureTransportError
  | CookieTooLargeError
  | CookieHeaderTooLargeError
  | HeadersSentError;
