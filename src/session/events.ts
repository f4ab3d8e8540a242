import type { Instant } from "./clock.ts";
import type { DeviceFacts } from "./record.ts";
import type { SessionId } from "./token.ts";

/** What each event adds to the common fields. Rows LG-02 and RN-08 of the checklist. */
export interface SessionEventDetails {
  /** A record was made. */
  created: unknown;
  /** A visitor came with a session of another library and was given a native one: a record was made. */
  upgraded: unknown;
  /** A user was attached; the secret is new. */
  login: unknown;
  /** The user authenticated again (step-up); the secret is new. */
  elevated: unknown;
  /** The secret was changed, on request or by the renewal period. */
  renewed: { readonly reason: "requested" | "periodic" };
  /** A token came for a session that had run out. */
  expired: { readonly reason: "idle" | "absolute" };
  logout: unknown;
  destroyed: unknown;
  /** Sessions were ended from outside: by the user on another device, by the application, or by the session limit. */
  revoked: { readonly reason: "one" | "all" | "everyone" | "limit"; readonly count: number };
  /** A login was refused because the user has too many sessions. */
  limitReached: unknown;
  /** A secret that had been rotated out came back: `in-flight` within 10 s of the rotation, `replayed` later. */
  secretReused: { readonly reason: "in-flight" | "replayed" };
  /**
   * A well-formed token opened nothing: no such session, another secret, a token of the other kind (the secret of a refresh
   * token where a session's belongs, or the reverse), a seal that is not of our keys or not of this cookie, or a copy of a
   * session that was ended.
   */
  unknownToken: {
    readonly reason: "no-session" | "wrong-secret" | "refresh-token" | "session-token" | "broken-seal" | "revoked";
  };
  /** Something that is no token came where a token belongs. */
  malformedToken: unknown;
  /** Two cookies of the session's name came in one request. */
  duplicateCookie: unknown;
  csrfRejected: { readonly reason: "sec-fetch-site" | "origin" | "no-evidence" | "token" };
  /** An access token was refused. */
  tokenRejected: {
    readonly reason:
      | ("malformed" | "too-large" | "header" | "type" | "unknown-key" | "signature")
      | ("claims" | "issuer" | "audience" | "expired" | "not-yet-valid" | "lifetime" | "revoked");
  };
  /** A refresh token was used. `repeated`: within the grace, for a lost answer, so that the same successor was sent again. */
  refreshed: { readonly reason: "used" | "repeated" };
  /**
   * A refresh token came that had been used before, so that it and all its successors were ended: the one before the
   * one in force; an older one, by somebody who has held it; or one within its grace whose successor was used already.
   */
  refreshReused: { readonly reason: "previous" | "older" | "in-grace" };
  /**
   * A refresh token that is in force was refused: it is another client's, a scope was asked for that it has not, or another
   * request used it at the same moment.
   */
  refreshRefused: { readonly reason: "client" | "scope" | "overtaken" };
  /** Two requests assigned the same keys; the losing one was refused. */
  conflict: { readonly keys: readonly string[] };
  /** A write came after logout, expiry, revocation or a rotation, and was refused. */
  lateWrite: { readonly reason: "gone" | "expired" | "rotated" };
  /** A request waited its full time for its turn and went ahead without it. */
  turnTimedOut: unknown;
  /** A stored record could not be understood; the request is anonymous. */
  corruptRecord: unknown;
  storeUnavailable: { readonly operation: string; readonly cause: unknown };
  /** A clean-up removed expired records. */
  cleanedUp: { readonly count: number };
  /** Revocations could not be read from the store for so long that copies of sessions are treated as `whenBehind` says. */
  revocationsBehind: { readonly freshAt: Instant | undefined; readonly whenBehind: "ask-store" | "accept" };
  /** They can be read again, and none is missing. */
  revocationsCaughtUp: unknown;
}

export type SessionEventType = keyof SessionEventDetails;

/** One event. Text that a client controls is capped and free of control characters (row LG-03). */
export type SessionEvent<Type extends SessionEventType = SessionEventType> = {
  [T in Type]: {
    readonly type: T;
    readonly at: Instant;
    /** The public id, where the session is known. Never the token. */
    readonly sessionId?: SessionId;
    readonly userId?: string;
    readonly device?: DeviceFacts;
  } & SessionEventDetails[T];
}[Type];

export type SessionEventListener<Type extends SessionEventType> = (event: SessionEvent<Type>) => void;

interface Channel {
  readonly hasSubscribers: boolean;
  publish(message: unknown): void;
}
type DiagnosticsChannel = { channel(name: string): Channel };

const diagnostics = (
  globalThis as { process?: { getBuiltinModule?: (id: string) => unknown } }
).process?.getBuiltinModule?.("node:diagnostics_channel") as DiagnosticsChannel | undefined;

/**
 * Typed listeners, and on Node also `node:diagnostics_channel` under `coatcheck:<type>`. A listener that throws changes
 * nothing: not the request, not the other listeners. What a subscriber of the channel throws, Node reports as an uncaught
 * exception, as for every channel.
 */
export class SessionEvents {
  readonly #listeners = new Map<SessionEventType, Set<SessionEventListener<never>>>();
  readonly #channels = new Map<SessionEventType, Channel>();

  /** Adds a listener; the returned function takes it away. */
  on<Type extends SessionEventType>(type: Type, listener: SessionEventListener<Type>): () => void {
    const listeners = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, listeners.add(listener));
    return () => listeners.delete(listener);
  }

  /** Whether anybody listens, so that the facts of an event need not be gathered for nobody. */
  heard(type: SessionEventType): boolean {
    return (this.#listeners.get(type)?.size ?? 0) > 0 || this.#channel(type) !== undefined;
  }

  emit<Type extends SessionEventType>(event: SessionEvent<Type>): void {
    const { userId } = event;
    const shown = userId === undefined ? event : { ...event, userId: printable(userId, 256) };
    const frozen = Object.freeze(shown) as SessionEvent<Type>;
    for (const listener of this.#listeners.get(event.type) ?? []) {
      try {
        const returned: unknown = (listener as SessionEventListener<Type>)(frozen);
        // An async listener's rejection must not become an unhandled one.
        if (returned instanceof Promise) returned.catch(() => {});
      } catch {
        // Observing must never decide (row LG-03).
      }
    }
    this.#channel(event.type)?.publish(frozen);
  }

  #channel(type: SessionEventType): Channel | undefined {
    if (diagnostics === undefined) return undefined;
    let channel = this.#channels.get(type);
    if (channel === undefined) {
      channel = diagnostics.channel(`coatcheck:${type}`);
      this.#channels.set(type, channel);
    }
    return channel.hasSubscribers ? channel : undefined;
  }
}

/** A client's text made fit for a log: no control characters, at most `length` characters. */
export function printable(text: string, length: number): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is taken out
  return text.slice(0, length).replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, "");
}
