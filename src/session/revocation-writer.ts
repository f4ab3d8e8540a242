import type { RevocationLog } from "../stores/revocation-log.ts";
import type { Clock, Duration, Instant } from "./clock.ts";
import type { SessionEvents } from "./events.ts";
import type { RevocationSubject } from "./revocation.ts";
import { RevocationFeed, type RevocationFeedOptions } from "./revocation-feed.ts";
import type { SessionId } from "./token.ts";

export interface RevocationOptions extends RevocationFeedOptions {
  /**
   * Longest life of what is checked without reading the store, in milliseconds: for a process that checks nothing of that
   * kind itself, but ends sessions of which others do. Default: what the tokens and strategies of this process need.
   */
  readonly lifetime?: Duration;
}

/**
 * Puts endings of sessions into the store's log, before they take effect, once somebody needs that; until then it does
 * nothing. Each rejects with `StoreUnavailableError` when that fails, and then the ending must not go on.
 */
export class RevocationWriter {
  readonly #log: RevocationLog | undefined;
  readonly #clock: Clock;
  readonly #events: SessionEvents;
  readonly #options: RevocationFeedOptions;
  #feed: RevocationFeed | undefined;
  #lifetime: Duration = 0;

  /** @throws TypeError for options that do not fit, or that ask for a log where there is none */
  constructor(log: RevocationLog | undefined, clock: Clock, events: SessionEvents, options: RevocationOptions = {}) {
    const { lifetime, ...feedOptions } = options;
    this.#log = log;
    this.#clock = clock;
    this.#events = events;
    this.#options = feedOptions;
    if (lifetime !== undefined) this.feed(lifetime);
  }

  /**
   * The one feed of this process. From now on endings are written, for at least `lifetime`.
   *
   * @throws TypeError when the store has no log, or `lifetime` is no length of time
   */
  feed(lifetime: Duration): RevocationFeed {
    if (this.#log === undefined) throw new TypeError("this store keeps no revocations: it has no `revocations`");
    if (!(lifetime > 0 && lifetime < Number.POSITIVE_INFINITY))
      throw new TypeError("revocation: lifetime must be a positive number of milliseconds");
    this.#lifetime = Math.max(this.#lifetime, lifetime);
    this.#feed ??= new RevocationFeed(this.#log, this.#clock, this.#events, this.#options);
    return this.#feed;
  }

  /** Whether anything is written at all. */
  get needed(): boolean {
    return this.#feed !== undefined;
  }

  /** Whether it is revoked, as far as is known without asking. */
  isRevoked(subject: RevocationSubject): boolean {
    return this.#feed?.isRevoked(subject) === true;
  }

  /**
   * When a secret that is made now, for a session of this user or of nobody, counts as issued: now, but later than every
   * revocation of theirs that is known here and than the secret `before` it, even those of this very millisecond.
   */
  secretAt(userId: string | undefined, before = Number.NEGATIVE_INFINITY): Instant {
    const now = this.#clock.now();
    return this.#feed === undefined ? now : Math.max(now, this.#feed.liveFrom(userId), before + 1);
  }

  /** A session is about to end. */
  async sessionEnds(sessionId: SessionId): Promise<void> {
    await this.#feed?.publish({ kind: "session", sessionId, until: this.#until() });
  }

  /** A session is about to get another secret, for security: what was issued before must not live on. */
  async sessionRotates(sessionId: SessionId, before: Instant): Promise<void> {
    await this.#feed?.publish({ kind: "session", sessionId, before, until: this.#until() });
  }

  /** Ends the sessions of a user with `remove`. */
  userEnds<Result>(userId: string, except: SessionId | undefined, remove: () => Promise<Result>): Promise<Result> {
    const spared = except === undefined ? undefined : { except };
    return this.#around(remove, (before) => ({ kind: "user", userId, before, ...spared, until: this.#until() }));
  }

  /** Ends all sessions with `remove`. */
  everyoneEnds<Result>(remove: () => Promise<Result>): Promise<Result> {
    return this.#around(remove, (before) => ({ kind: "everyone", before, until: this.#until() }));
  }

  /** Stops the feed. */
  async stop(): Promise<void> {
    await this.#feed?.stop();
  }

  /** Says it before, so that a failure stops the removal; and again after, for what a session gave out until it was gone. */
  async #around<Result>(
    remove: () => Promise<Result>,
    entry: (before: Instant) => Parameters<RevocationFeed["publish"]>[0],
  ): Promise<Result> {
    const publish = async () => this.#feed?.publish(entry(this.#afterNow()));
    await publish();
    const result = await remove();
    await publish();
    return result;
  }

  /** What was issued in this very millisecond is dead too. */
  #afterNow(): Instant {
    return this.#clock.now() + 1;
  }

  #until(): Instant {
    return this.#clock.now() + this.#lifetime;
  }
}
