import { CrossSiteRequestError } from "../session/errors.ts";
import type { RequestFacts } from "../session/transport.ts";

export interface CsrfOptions {
  /** Other origins whose pages may send unsafe requests, exactly as browsers write them: `https://admin.example.com`. */
  readonly trustedOrigins?: readonly string[];
  /**
   * The application's own origins, for browsers that send `Origin` but no `Sec-Fetch-Site`. Default: scheme and host of
   * the request itself.
   */
  readonly origins?: readonly string[];
  /** Also refuse unsafe requests that carry a token but neither `Sec-Fetch-Site` nor `Origin`. Default false. */
  readonly strict?: boolean;
}

/** Whether requests with this method may change nothing (RFC 9110 section 9.2.1). Any other method is unsafe. */
export const isSafeMethod = (method: string): boolean => method === "GET" || method === "HEAD" || method === "OPTIONS";

/**
 * Refuses requests of other sites by what browsers say of themselves: `Sec-Fetch-Site`, else `Origin`. The rules are
 * those of Go's CrossOriginProtection, with the scheme compared too (rows CS-01, CS-02, CS-04).
 */
export class CrossSiteCheck {
  readonly #trusted: ReadonlySet<string>;
  readonly #own: ReadonlySet<string> | undefined;
  readonly #strict: boolean;

  /** @throws TypeError for an origin that no browser would send */
  constructor({ trustedOrigins = [], origins, strict = false }: CsrfOptions = {}) {
    this.#trusted = new Set(trustedOrigins.map(checkedOrigin));
    this.#own = origins && new Set(origins.map(checkedOrigin));
    this.#strict = strict;
  }

  /**
   * For requests with unsafe methods. `hasToken` says whether the request brings a session's token.
   *
   * @throws CrossSiteRequestError
   */
  assertAllowed(request: RequestFacts, hasToken: boolean): void {
    if (isSafeMethod(request.method)) return;
    this.#assertSameSite(request, hasToken);
  }

  /**
   * For WebSocket upgrades, which are GET and yet not protected by the same-origin policy (row CS-11).
   *
   * @throws CrossSiteRequestError
   */
  assertUpgradeAllowed(request: RequestFacts, hasToken: boolean): void {
    this.#assertSameSite(request, hasToken);
  }

  #assertSameSite(request: RequestFacts, hasToken: boolean): void {
    const origin = request.header("origin");
    if (origin !== undefined && this.#trusted.has(origin)) return;
    const site = request.header("sec-fetch-site");
    if (site !== undefined) {
      if (site === "same-origin" || site === "none") return;
      throw new CrossSiteRequestError("sec-fetch-site");
    }
    if (origin !== undefined) {
      if (this.#isOwn(origin, request)) return;
      throw new CrossSiteRequestError("origin");
    }
    // Neither header: not a browser of the last years. Nothing that it sends was caused by another site's page.
    if (this.#strict && hasToken) throw new CrossSiteRequestError("no-evidence");
  }

  #isOwn(origin: string, request: RequestFacts): boolean {
    if (this.#own !== undefined) return this.#own.has(origin);
    try {
      // Through URL, so that case and default ports do not matter. The string "null" fails here.
      return new URL(origin).origin === new URL(`${request.secure ? "https" : "http"}://${request.host}`).origin;
    } catch {
      return false;
    }
  }
}

/** @throws TypeError unless the text is scheme, host and perhaps port, in the form that browsers send */
export function checkedOrigin(text: string): string {
  let origin: string | undefined;
  try {
    origin = new URL(text).origin;
  } catch {
    // Reported below.
  }
  if (origin === undefined || origin === "null" || origin !== text || text.includes("*"))
    throw new TypeError(
      `${JSON.stringify(text)} is not an origin: write scheme and host, and the port if unusual, such as "https://example.com"`,
    );
  return origin;
}
