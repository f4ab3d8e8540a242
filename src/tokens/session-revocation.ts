import type { Duration } from "../session/clock.ts";
import type { SessionCore } from "../session/core.ts";
import { CorruptRecordError } from "../session/errors.ts";
import { parseSessionId } from "../session/token.ts";
import type { SessionStore } from "../stores/store.ts";
import type { RevocableFacts, Revocation } from "./revocation.ts";

/**
 * Which access tokens have died with their sessions: by the revocation feed where the store keeps revocations, without a
 * look-up, else by asking the store.
 *
 * @param lifetime the longest that an access token is accepted, in milliseconds
 */
export function sessionRevocation(core: SessionCore, store: SessionStore, lifetime: Duration): Revocation {
  if (store.revocations === undefined) return new SessionLookUp(core, store);
  const feed = core.revocations.feed(lifetime);
  return { isRevoked: ({ sid, sub, issuedAt }) => feed.check({ sessionId: sid, userId: sub, issuedAt }) };
}

/** For stores without a log of revocations: a token is good while its session is there, at one read of the store each. */
export class SessionLookUp implements Revocation {
  readonly #core: SessionCore;
  readonly #store: SessionStore;

  constructor(core: SessionCore, store: SessionStore) {
    this.#core = core;
    this.#store = store;
  }

  async isRevoked({ sid, sub }: RevocableFacts): Promise<boolean> {
    // A token that was signed without a session has nothing to die with.
    if (sid === undefined) return false;
    const id = parseSessionId(sid);
    if (id === undefined) return true;
    try {
      const record = await this.#store.read(id);
      return record?.userId !== sub || this.#core.lifetime.expired(record, this.#core.clock.now()) !== undefined;
    } catch (error) {
      if (error instanceof CorruptRecordError) return true;
      throw error;
    }
  }
}
