/**
 * Moving over from another library without a logout: visitors with a cookie of its are given native sessions.
 *
 * @module
 */
export { type ExpressSessionOptions, expressSession } from "./express-session.ts";
export { type FastifySessionOptions, fastifySession } from "./fastify-session.ts";
export { type IronSessionOptions, ironSession } from "./iron-session.ts";
export type { OldCookieAttributes, UpgradeOptions } from "./options.ts";
export type { OldStore } from "./signed-id.ts";
