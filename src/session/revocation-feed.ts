import type { RevocationLog } from "../stores/revocation-log.ts";
import { type Clock, type Duration, type Instant, minutes, seconds } from "./clock.ts";
import type { SessionEvents } from "./events.ts";
import { LiveRevocations } from "./live-revocations.ts";
import type { Revocation, RevocationSubject } from "./revocation.ts";

/**
 * What happens to copies while the feed is behind. `"ask-store"`: each check reads the log first, and rejects with
 * `StoreUnavailableError` when that fails. `"accept"`: they are good until they expire, unless the feed knows otherwise.
 */
export type WhenBehind = "ask-store" | "accept";

export interface RevocationFeedOptions {
  /** Default `"ask-store"`. */
  readonly whenBehind?: WhenBehind;
  /** How long after the last reading of the log the feed counts as behind, in milliseconds. Default 5000, at least 2000. */
  readonly behindAfter?: Duration;
}

/** How often the log is read, whether or not it tells of entries by itself. */
const POLL: Duration = seconds(1);
/** How often memory and log are rid of entries that do not matter any more, at most. */
const SWEEP: Duration = minutes(1);
/** How many entries are taken out of the log in one go. */
const BATCH = 500;
/** How long entries are kept beyond their time, for clocks that disagree. */
const SLACK: Duration = minutes(1);

/**
 * The live revocations in the memory of this process, fed by the store's log: every second by reading on, and where the
 * log tells of entries by itself, at once. So a copy of a session is checked without a look into the store.
 */
export class RevocationFeed {
  readonly #log: RevocationLog;
  readonly #clock: Clock;
  readonly #events: SessionEvents;
  readonly #whenBehind: WhenBehind;
  readonly #behindAfter: Duration;
  readonly #live = new LiveRevocations();
  #cursor: string | undefined;
  #freshAt: Instant | undefined;
  #startedAt: Instant | undefined;
  #sweptAt: Instant;
  #tidiedAt = Number.NEGATIVE_INFINITY;
  #tidying: Promise<void> | undefined;
  #reading: Promise<void> | undefined;
  #hasNews = false;
  #cancelPoll: (() => void) | undefined;
  #unwatch: (() => void | Promise<void>) | undefined;
  #stopped = false;
  #reportedBehind = false;

  /** @throws TypeError for options that do not fit */
  constructor(log: RevocationLog, clock: Clock, events: SessionEvents, options: RevocationFeedOptions = {}) {
    const { whenBehind = "ask-store", behindAfter = seconds(5) } = options;
    if (whenBehind !== "ask-store" && whenBehind !== "accept")
      throw new TypeError('revocation.whenBehind must be "ask-store" or "accept"');
    if (!(behindAfter >= 2 * POLL))
      throw new TypeError(`revocation.behindAfter must be at least ${2 * POLL} milliseconds`);
    this.#log = log;
    this.#clock = clock;
    this.#events = events;
    this.#whenBehind = whenBehind;
    this.#behindAfter = behindAfter;
    this.#sweptAt = clock.now();
  }

  /** Begins to follow the log, unless it has begun. The first `check` does so, if nobody did before. */
  start(): void {
    if (this.#startedAt !== undefined || this.#stopped) return;
    this.#startedAt = this.#clock.now();
    this.#unwatch = this.#log.watch?.(() => void this.#readNews());
    this.#follow();
  }

  /** Ends it, and waits for what is under way. What is known stays known. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancelPoll?.();
    await this.#unwatch?.();
    await Promise.all([this.#reading?.catch(() => {}), this.#tidying]);
  }

  /**
   * Adds an entry to the log, and to the memory of this process. Other processes know it within about a second.
   *
   * @throws StoreUnavailableError; the entry may then be there or not
   */
  async publish(entry: Revocation): Promise<void> {
    await this.#log.append(entry);
    this.#live.add(entry);
    this.#tidyUp();
  }

  /** Whether it is known to be revoked. Looks into the memory of this process and nowhere else. */
  isRevoked(subject: RevocationSubject): boolean {
    return this.#live.isRevoked(subject);
  }

  /**
   * `isRevoked`, but minds whether the feed is behind: then `whenBehind` says what happens. The answer is a promise only when
   * the log has to be read.
   *
   * @throws StoreUnavailableError under `"ask-store"`, when the feed is behind and the log cannot be read
   */
  check(subject: RevocationSubject): boolean | Promise<boolean> {
    this.start();
    if (this.isRevoked(subject)) return true;
    if (!this.behind) return false;
    const judge = () => this.isRevoked(subject);
    if (this.#whenBehind === "ask-store") return this.catchUp().then(judge);
    // A process that has just begun knows in a moment what it now knows nothing of.
    return this.#freshAt === undefined && this.#reading !== undefined ? this.#reading.then(judge, judge) : false;
  }

  /** From which instant on a new session, of this user or of nobody, is spared by all that is known. */
  liveFrom(userId: string | undefined): Instant {
    return this.#live.liveFrom(userId);
  }

  /** When the log was last known to hold nothing that the feed does not know. `undefined`: never yet. */
  get freshAt(): Instant | undefined {
    return this.#freshAt;
  }

  /** Whether that is too long ago. */
  get behind(): boolean {
    return this.#freshAt === undefined || this.#clock.now() - this.#freshAt > this.#behindAfter;
  }

  /** How many revocations are in memory. */
  get size(): number {
    return this.#live.size;
  }

  /**
   * Reads the log on to its end, now. Those who ask at the same time share one reading.
   *
   * @throws StoreUnavailableError
   */
  catchUp(): Promise<void> {
    this.#reading ??= this.#read().finally(() => {
      this.#reading = undefined;
    });
    return this.#reading;
  }

  async #read(): Promise<void> {
    const begun = this.#clock.now();
    try {
      for (let more = true; more; ) {
        const page = await this.#log.read(this.#cursor);
        for (const entry of page.entries) this.#live.add(entry);
        this.#cursor = page.cursor;
        more = page.more && !this.#stopped;
      }
    } catch (error) {
      this.#reportBehind();
      throw error;
    }
    this.#freshAt = begun;
    this.#reportCaughtUp();
    this.#sweep();
  }

  /** A reading that is under way may have begun before there was news. */
  async #readNews(): Promise<void> {
    if (this.#hasNews) return;
    this.#hasNews = true;
    await this.#reading?.catch(() => {});
    this.#hasNews = false;
    if (!this.#stopped) await this.catchUp().catch(() => {});
  }

  /** Reads on, and again a second after each reading has ended. */
  #follow(): void {
    this.catchUp()
      .catch(() => {})
      .finally(() => {
        if (!this.#stopped) this.#cancelPoll = this.#clock.schedule(() => this.#follow(), POLL);
      });
  }

  /** Forgets what does not matter any more, now and then. */
  #sweep(): void {
    const now = this.#clock.now();
    if (now - this.#sweptAt < SWEEP) return;
    this.#sweptAt = now;
    this.#live.forgetExpired(now - SLACK);
  }

  /** Whoever adds to the log takes what has expired out of it, now and then. What fails of it is done the next time. */
  #tidyUp(): void {
    const now = this.#clock.now();
    if (this.#tidying !== undefined || this.#stopped || now - this.#tidiedAt < SWEEP) return;
    this.#tidiedAt = now;
    const tidy = async () => {
      while ((await this.#log.removeExpired(now - SLACK, BATCH)) === BATCH && !this.#stopped);
    };
    this.#tidying = tidy()
      .catch(() => {})
      .finally(() => {
        this.#tidying = undefined;
      });
  }

  #reportBehind(): void {
    const now = this.#clock.now();
    const since = this.#freshAt ?? this.#startedAt ?? now;
    if (this.#reportedBehind || now - since <= this.#behindAfter) return;
    this.#reportedBehind = true;
    const details = { freshAt: this.#freshAt, whenBehind: this.#whenBehind };
    this.#events.emit({ type: "revocationsBehind", at: now, ...details });
  }

  #reportCaughtUp(): void {
    if (!this.#reportedBehind) return;
    this.#reportedBehind = false;
    this.#events.emit({ type: "revocationsCaughtUp", at: this.#clock.now() });
  }
}
