/**
 * Server-side sessions: `createSessions`, what it is configured with, and what it answers with.
 *
 * @module
 */
export { createSessions, type SessionsOptions } from "./create-sessions.ts";
export type { CsrfOptions } from "./csrf/fetch-metadata.ts";
export type { MakeCache } from "./session/client-copy.ts";
export {
  type Clock,
  type Duration,
  days,
  hours,
  type Instant,
  minutes,
  seconds,
  systemClock,
} from "./session/clock.ts";
export { type Codec, jsonCodec } from "./session/codec.ts";
export type { ConflictPolicy, MergeConflict } from "./session/data.ts";
export * from "./session/errors.ts";
export type { SessionEvent, SessionEventDetails, SessionEventListener, SessionEventType } from "./session/events.ts";
export type { Exchange } from "./session/exchange.ts";
export type { Lifetime, LifetimeOptions, LifetimePreset } from "./session/lifetime.ts";
export type { LoginOptions } from "./session/login.ts";
export type { RouteOptions } from "./session/options.ts";
export type { DeviceFacts, Flash } from "./session/record.ts";
export type { Revocation, RevocationSubject } from "./session/revocation.ts";
export type { RevocationFeed, RevocationFeedOptions, WhenBehind } from "./session/revocation-feed.ts";
export type { RevocationOptions } from "./session/revocation-writer.ts";
export type { Migration, SchemaOptions, StandardSchema } from "./session/schema.ts";
export type { Session, SessionDataShape } from "./session/session.ts";
export type { Sessions } from "./session/sessions.ts";
export type { SecretHash, SessionId, SessionSecret } from "./session/token.ts";
export type { NamedCookie, RequestFacts, ResponseChanges, Transport } from "./session/transport.ts";
export type { OldSession, OldTicket, UpgradeSource } from "./session/upgrade.ts";
export type {
  ActingOptions,
  ActingSession,
  SessionInfo,
  SessionLimit,
  SessionsOfUser,
} from "./session/user-sessions.ts";
export type { RevocationLog } from "./stores/revocation-log.ts";
export type { SessionStore } from "./stores/store.ts";
export type { MakeStrategy } from "./strategies/strategy.ts";
export { type CookieOptions, cookieTransport } from "./transports/cookie.ts";
export { type HeaderOptions, headerTransport } from "./transports/header.ts";
