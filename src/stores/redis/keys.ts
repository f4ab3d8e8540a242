import { createHash } from "node:crypto";
import { parseSessionId, type SessionId } from "../../session/token.ts";
import { toUtf8Text } from "./fields.ts";

/**
 * The keys of one application. What follows the prefix has a fixed length and no further colon, so that keys of applications
 * with different prefixes never meet, whatever the prefixes are.
 */
export class RedisKeys {
  /** Sessions by the time at which they expire: a sorted set of ids. */
  readonly expiry: string;
  /** Revocations: a sorted set by position. */
  readonly revocations: string;
  /** Where it is published that there are new ones. */
  readonly revocationChannel: string;
  /** The pattern of SCAN that finds all sessions. */
  readonly sessionPattern: string;
  readonly #prefix: string;

  /** `clientPrefix`: what the client puts in front of every key by itself. */
  constructor(prefix: string, clientPrefix: string) {
    this.#prefix = prefix;
    this.expiry = `${prefix}expiry`;
    this.revocations = `${prefix}revocations`;
    this.revocationChannel = `${clientPrefix}${prefix}revocations`;
    this.sessionPattern = `${escapeGlob(clientPrefix + prefix)}s:${"?".repeat(22)}`;
  }

  /** A hash with everything about one session, so that any script about it needs this key alone. */
  session(id: SessionId): string {
    return `${this.#prefix}s:${id}`;
  }

  /** A sorted set of the ids of a user's sessions. The user is hashed: names of keys show up in many places. */
  user(userId: string): string {
    return `${this.#prefix}u:${createHash("sha256").update(toUtf8Text(userId)).digest("base64url")}`;
  }

  /** The id in the name of a key that SCAN found, or `undefined` when it is no session's. */
  idIn(key: string): SessionId | undefined {
    return parseSessionId(key.slice(-22));
  }
}

function escapeGlob(text: string): string {
  return text.replace(/[\\*?[\]^-]/g, "\\$&");
}
