import type { Clock, Instant } from "../../session/clock.ts";
import { IN_FLIGHT } from "../../session/lifetime.ts";
import type { SessionRecord } from "../../session/record.ts";
import type { SessionId, SessionSecret } from "../../session/token.ts";

/** How many sessions are remembered at most: some 4 MB when all of them fill their cookies. */
const MAX_SESSIONS = 1000;

/** What this process sealed last of a session, and the secret that it sealed with it; or that it ended the session. */
export type Recent = { readonly record: SessionRecord; readonly secret: SessionSecret } | "ended";

/**
 * What this process did with sealed sessions in the last ten seconds. Requests that are at work at the same time see each
 * other here, since each came with a cookie of its own and nobody else knows of both.
 */
export class RecentlySealed {
  readonly #clock: Clock;
  /** In the order in which they are forgotten. */
  readonly #sessions = new Map<SessionId, { readonly recent: Recent; readonly until: Instant }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get(id: SessionId): Recent | undefined {
    const entry = this.#sessions.get(id);
    return entry !== undefined && this.#clock.now() < entry.until ? entry.recent : undefined;
  }

  keep(id: SessionId, recent: Recent): void {
    const now = this.#clock.now();
    this.#sessions.delete(id);
    this.#sessions.set(id, { recent, until: now + IN_FLIGHT });
    for (const [oldest, { until }] of this.#sessions) {
      if (now < until && this.#sessions.size <= MAX_SESSIONS) break;
      this.#sessions.delete(oldest);
    }
  }
}
