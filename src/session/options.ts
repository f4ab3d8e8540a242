import type { SessionStore } from "../stores/store.ts";
import type { MakeStrategy } from "../strategies/strategy.ts";
import type { MakeCache } from "./client-copy.ts";
import type { Clock, Duration } from "./clock.ts";
import type { Codec } from "./codec.ts";
import type { ConflictPolicy } from "./data.ts";
import type { LifetimeOptions, LifetimePreset } from "./lifetime.ts";
import type { RevocationOptions } from "./revocation-writer.ts";
import type { SchemaOptions } from "./schema.ts";
import type { UpgradeSource } from "./upgrade.ts";
import type { SessionLimit } from "./user-sessions.ts";

/** What the sessions of an application are made of, apart from transport and CSRF. All have safe defaults but the store. */
export interface SessionsSettings<Data extends object> extends SchemaOptions<Data> {
  /** Where records are kept. Needed, unless `strategy` says otherwise. */
  readonly store?: SessionStore;
  /** Another way to keep sessions than in a store: `sealed({ keys })` of `coatcheck/sealed`. */
  readonly strategy?: MakeStrategy;
  /** Spares the store the reads of safe requests: `snapshotCookie({ keys })` of `coatcheck/sealed`. Default none. */
  readonly cache?: MakeCache;
  /** Timeouts: a preset, or limits in milliseconds. Default 30 minutes idle, 12 hours absolute. */
  readonly lifetime?: LifetimeOptions | LifetimePreset;
  /** How values are written as text. Default JSON. */
  readonly codec?: Codec;
  /**
   * What happens when two requests assign one key of one session at the same time. Default `"reject"`: HTTP 409. For sealed
   * sessions, most of whose conflicts nobody sees, `"overwrite"`.
   */
  readonly onConflict?: ConflictPolicy;
  /** Whether what an anonymous visitor gathered stays at login: all, none, or these keys. Default true. */
  readonly keepAtLogin?: boolean | readonly (keyof Data & string)[];
  /** How many sessions a user may have. Default no limit. */
  readonly sessionsPerUser?: SessionLimit;
  /** How unsafe requests of one session take turns; `false` for not at all. */
  readonly turns?: TurnsOptions | false;
  /** Where visitors come from who had a session of another library: `expressSession(…)` of `coatcheck/upgrade`. */
  readonly upgradeFrom?: UpgradeSource;
  /** How long the store may take to answer, in milliseconds. Default 2000; at most a day. */
  readonly storeTimeout?: Duration;
  /** How copies of sessions, such as access tokens, are revoked that are checked without reading the store. */
  readonly revocation?: RevocationOptions;
  /**
   * Whether responses of a logged-in session say how many seconds it has left, `Session-Expires: idle=1799, absolute=43199`,
   * so that a page can warn in time: `createClient` of `coatcheck/browser` does. Default false.
   */
  readonly announceExpiry?: boolean;
  /** Most bytes that the data of a session may take. Default 65536. */
  readonly maxDataBytes?: number;
  /** Default: the machine's. */
  readonly clock?: Clock;
}

/** Values that a session shows before they are set. Required when `Data` has keys that are not optional. */
export type InitialData<Data extends object> =
  Partial<Data> extends Data ? { readonly initial?: Data } : { readonly initial: Data };

export interface TurnsOptions {
  /** How long a request waits for its turn before it goes ahead without, in milliseconds. Default 5000; at most a day. */
  readonly wait?: Duration;
  /** Whether turns hold across processes too, by a lease, in stores that grant leases. Default true. */
  readonly acrossProcesses?: boolean;
}

/** What a route may want otherwise than the rest. */
export interface RouteOptions {
  /** Requests of this route do not count as activity: polling, beacons (row LT-07). Default false. */
  readonly passive?: boolean;
  /** Whether unsafe requests of this route take turns. Default true. */
  readonly turns?: boolean;
  /** `"allow"` exempts the route from the cross-site check: webhooks with their own signature. Default `"refuse"`. */
  readonly crossSite?: "refuse" | "allow";
  /** When the store is down: answer 503, or go on without a session that can be written. Default `"refuse"`. */
  readonly storeDown?: "refuse" | "anonymous";
}
