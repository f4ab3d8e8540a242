import type { Cookie } from "./cookie.ts";

/**
 * What `req.session` holds. Declare the keys of your application once:
 * `declare module "coatcheck/express-session" { interface SessionData { views: number } }`.
 */
export interface SessionData {
  cookie: Cookie;
}
