import { systemClock } from "../../session/clock.ts";
import { callable } from "./callable.ts";
import { deprecate } from "./deprecation.ts";
import { setCookieLine } from "./set-cookie.ts";

/** Settings of the session's cookie. */
export interface CookieOptions {
  /** Default `/`. Requests outside of it have no session. */
  path?: string | undefined;
  /** Milliseconds until the browser drops the cookie. Default: when it closes. */
  maxAge?: number | null | undefined;
  /** Set `maxAge` instead. Of the two, the one that is defined last counts. */
  expires?: Date | boolean | null | undefined;
  /** Default true: scripts cannot read the cookie. */
  httpOnly?: boolean | undefined;
  /** Default: the host of the request alone. */
  domain?: string | undefined;
  /** `true`: only over TLS, and nothing is set over plain HTTP. `"auto"`: as the connection is. Default false. */
  secure?: boolean | "auto" | undefined;
  /** `true` is `"strict"`. `"auto"`: `"none"` over TLS, else `"lax"`. Default: not said. */
  sameSite?: boolean | "lax" | "strict" | "none" | "auto" | undefined;
  /** CHIPS: one cookie for each embedding site. */
  partitioned?: boolean | undefined;
  priority?: "low" | "medium" | "high" | undefined;
  /** Taken and without effect, as in express-session: the value is always percent-encoded. */
  encode?: ((value: string) => string) | undefined;
  /** Taken and without effect, as in express-session: the value is always signed. */
  signed?: boolean | undefined;
}

/** What of a cookie is written into the store, in this order. */
export interface CookieData {
  originalMaxAge: number | null;
  partitioned: boolean | undefined;
  priority: CookieOptions["priority"];
  expires: Date | boolean | null | undefined;
  secure: CookieOptions["secure"];
  httpOnly: boolean | undefined;
  domain: string | undefined;
  path: string | undefined;
  sameSite: CookieOptions["sameSite"];
}

export class CookieBase implements CookieOptions {
  declare path?: string | undefined;
  declare httpOnly?: boolean | undefined;
  declare domain?: string | undefined;
  declare secure?: boolean | "auto" | undefined;
  declare sameSite?: CookieOptions["sameSite"];
  declare partitioned?: boolean | undefined;
  declare priority?: CookieOptions["priority"];
  declare encode?: CookieOptions["encode"];
  declare signed?: boolean | undefined;
  /** The `maxAge` that the cookie began with, to which `touch` sets it back. */
  declare originalMaxAge: number | null;
  /** @deprecated use `expires` */
  declare _expires: Date | boolean | null | undefined;

  /** @throws TypeError for options that are no object, and for a `maxAge` that is neither number nor Date */
  constructor(options?: CookieOptions) {
    this.path = "/";
    this._expires = null;
    this.originalMaxAge = null;
    this.httpOnly = true;
    if (options) {
      if (typeof options !== "object") throw new TypeError("argument options must be a object");
      const own = this as unknown as Record<string, unknown>;
      // `data` can only be read.
      for (const key in options) if (key !== "data") own[key] = (options as Record<string, unknown>)[key];
    }
    this.originalMaxAge ??= this.maxAge as number | null;
  }

  get expires(): Date | boolean | null | undefined {
    return this._expires;
  }

  set expires(date: Date | boolean | null | undefined) {
    this._expires = date;
    this.originalMaxAge = this.maxAge as number | null;
  }

  /** Milliseconds that are left. */
  get maxAge(): number | null | undefined {
    const { _expires } = this;
    return _expires instanceof Date ? _expires.valueOf() - systemClock.now() : (_expires as null | undefined);
  }

  set maxAge(ms: number | null | undefined) {
    if (typeof ms === "number") {
      this._expires = new Date(systemClock.now() + ms);
      this.originalMaxAge = ms;
      return;
    }
    // JavaScript may pass what the type does not allow.
    const other: unknown = ms;
    if (other instanceof Date) deprecate("maxAge as Date; pass number of milliseconds instead");
    else if (other) throw new TypeError("maxAge must be a number or Date");
    this.expires = other as null | undefined;
  }

  get data(): CookieData {
    return {
      originalMaxAge: this.originalMaxAge,
      partitioned: this.partitioned,
      priority: this.priority,
      expires: this._expires,
      secure: this.secure,
      httpOnly: this.httpOnly,
      domain: this.domain,
      path: this.path,
      sameSite: this.sameSite,
    };
  }

  /** The value of a `Set-Cookie` header. */
  serialize(name: string, value: string): string {
    return setCookieLine(name, value, this.data);
  }

  toJSON(): CookieData {
    return this.data;
  }
}

/** The settings of one session's cookie: change them and the next `Set-Cookie` says so. */
export const Cookie = callable(CookieBase);
export type Cookie = CookieBase;

/** A cookie as it was when `data` was written into a store. */
export function restoredCookie(data: CookieData | Cookie): Cookie {
  const expires: unknown = data.expires;
  const cookie = new CookieBase(data as CookieOptions);
  if (typeof expires === "string") cookie._expires = new Date(expires);
  // Setting `expires` has set it to what is left.
  cookie.originalMaxAge = data.originalMaxAge;
  return cookie;
}
