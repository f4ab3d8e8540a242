import { type Duration, days, hours, type Instant, minutes, seconds } from "./clock.ts";
import type { SessionRecord } from "./record.ts";

/** How long a session lives. All lengths in milliseconds; `minutes(30)` and its kin make them readable. */
export interface Lifetime {
  /** Without activity for this long, the session ends. Default 30 minutes. At least 1 s; `Infinity` for none. */
  readonly idle: Duration;
  /** After this long since creation or the last authentication it ends, whatever happens. Default 12 hours; at most 400 days. */
  readonly absolute: Duration;
}

export interface LifetimeOptions extends Partial<Lifetime> {
  /** The limits of a session whose user asked to be remembered. Default 14 days idle, 30 days absolute. */
  readonly remember?: Partial<Lifetime>;
  /** The limits of a refresh token and its successors. Default 7 days without use, 30 days in all (row RT-05). */
  readonly refresh?: Partial<Lifetime>;
  /** Changes the secret this often while the session is used; the old one may read for 10 s more. Default off; at least 1 minute. */
  readonly renewEvery?: Duration;
  /** How fresh an authentication `requireRecentAuth` asks for. Default 5 minutes (row LT-09). */
  readonly recentAuth?: Duration;
}

/**
 * Limits by NIST SP 800-63B-4 assurance level: `aal1` no idle limit, 30 days; `aal2` 1 hour, 24 hours;
 * `aal3` 15 minutes, 12 hours.
 */
export type LifetimePreset = "aal1" | "aal2" | "aal3";

/** For how long a request that was on its way during a rotation is told apart from a replay. */
export const IN_FLIGHT: Duration = seconds(10);

/** Nothing lives longer, whatever the policy. */
export const MAX_ABSOLUTE = days(400);

const PRESETS: Record<LifetimePreset, Lifetime> = {
  aal1: { idle: Number.POSITIVE_INFINITY, absolute: days(30) },
  aal2: { idle: hours(1), absolute: hours(24) },
  aal3: { idle: minutes(15), absolute: hours(12) },
};

/** The policy: which deadlines a record has, and when activity is worth a write. */
export class LifetimePolicy {
  readonly recentAuth: Duration;
  readonly renewEvery: Duration | undefined;
  readonly #normal: Lifetime;
  readonly #remembered: Lifetime;
  readonly #upgradeGrace: Duration;
  readonly #refresh: Lifetime;

  /** `upgradeGrace`: for how long the session of another library lives on beside the native one. */
  constructor(options: LifetimeOptions | LifetimePreset = {}, upgradeGrace: Duration = 0) {
    if (typeof options === "string" && !Object.hasOwn(PRESETS, options))
      throw new TypeError(`lifetime: there is no preset ${JSON.stringify(options)}`);
    const given: LifetimeOptions = typeof options === "string" ? PRESETS[options] : options;
    this.#normal = checked("lifetime", { idle: given.idle ?? minutes(30), absolute: given.absolute ?? hours(12) });
    // A preset is a ceiling that neither remember-me nor refresh tokens may raise.
    this.#remembered =
      typeof options === "string"
        ? this.#normal
        : checked("lifetime.remember", {
            idle: given.remember?.idle ?? Math.max(days(14), this.#normal.idle),
            absolute: given.remember?.absolute ?? Math.max(days(30), this.#normal.absolute),
          });
    this.#upgradeGrace = upgradeGrace;
    this.#refresh =
      typeof options === "string"
        ? this.#normal
        : checked("lifetime.refresh", {
            idle: given.refresh?.idle ?? days(7),
            absolute: given.refresh?.absolute ?? days(30),
          });
    this.recentAuth = given.recentAuth ?? minutes(5);
    if (!(this.recentAuth > 0)) throw new TypeError("lifetime.recentAuth must be a positive number of milliseconds");
    this.renewEvery = given.renewEvery;
    if (this.renewEvery !== undefined && !(this.renewEvery >= minutes(1)))
      throw new TypeError("lifetime.renewEvery must be at least 1 minute");
  }

  /** The longest that any session lives. */
  get longest(): Duration {
    return Math.max(this.#normal.absolute, this.#remembered.absolute);
  }

  /** The instant that activity cannot move: counted from the last authentication, else from creation. */
  absoluteDeadline(record: Pick<SessionRecord, "createdAt" | "meta">): Instant {
    return (record.meta.authenticatedAt ?? record.createdAt) + this.#limits(record).absolute;
  }

  /** The nearer of both deadlines, for a session last seen at `seenAt`. */
  deadline(record: Pick<SessionRecord, "createdAt" | "meta">, seenAt: Instant): Instant {
    return Math.min(seenAt + this.#limits(record).idle, this.absoluteDeadline(record));
  }

  /** Whether the record is past a deadline, and which. One rule: valid while `now < deadline` (row LT-04). */
  expired(record: SessionRecord, now: Instant): "idle" | "absolute" | undefined {
    if (now >= this.absoluteDeadline(record)) return "absolute";
    // The second term lets a policy that was tightened since the record was written bite at once.
    if (now >= record.expiresAt || now >= record.seenAt + this.#limits(record).idle) return "idle";
    return undefined;
  }

  /** Whether activity now is worth writing down: at most once per 60 s and per tenth of the idle limit (row LT-06). */
  touchDue(record: SessionRecord, now: Instant): boolean {
    return now - record.seenAt >= Math.min(minutes(1), this.#limits(record).idle / 10);
  }

  /** Whether the secret is old enough to be changed; the first one after an upgrade is, once the grace is over. */
  renewalDue({ meta }: SessionRecord, now: Instant): boolean {
    const age = now - meta.secretAt;
    if (meta.upgradedFrom !== undefined && age >= this.#upgradeGrace) return true;
    return this.renewEvery !== undefined && age >= this.renewEvery;
  }

  /** Whether a cookie that was kept this long is a remembered user's: the longer limits must not make it live longer. */
  remembers(kept: Duration | undefined): boolean {
    return kept !== undefined && kept >= this.#remembered.idle;
  }

  #limits(record: Pick<SessionRecord, "meta">): Lifetime {
    if (record.meta.refresh !== undefined) return this.#refresh;
    return record.meta.remember ? this.#remembered : this.#normal;
  }
}

function checked(name: string, { idle, absolute }: Lifetime): Lifetime {
  if (!(idle >= 1000)) throw new TypeError(`${name}.idle must be at least 1000 milliseconds, or Infinity`);
  if (!(absolute >= 1000 && absolute <= MAX_ABSOLUTE))
    throw new TypeError(`${name}.absolute must be between 1000 milliseconds and 400 days`);
  return { idle, absolute };
}
