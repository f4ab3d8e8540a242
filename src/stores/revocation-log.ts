import type { Instant } from "../session/clock.ts";
import type { Revocation } from "../session/revocation.ts";

export type {
  EveryoneRevocation,
  Revocation,
  SessionRevocation,
  UserRevocation,
} from "../session/revocation.ts";

/** Some of a log's entries, oldest first. */
export interface RevocationPage {
  readonly entries: readonly Revocation[];
  /** For the next `read`. `undefined`: the log is empty. */
  readonly cursor: string | undefined;
  /** Whether there is more to read after `cursor` now. */
  readonly more: boolean;
}

/**
 * The revocations of a store, for the processes that check copies of sessions without reading the store. The cases of
 * `storeConformance` that speak of revocations prove an implementation.
 *
 * As for every verb of a store: a promise that rejects means that the store failed and nothing is known about the write.
 */
export interface RevocationLog {
  /**
   * Adds an entry. When it resolves, the entry is as durable as the store promises to be, and every `read` that begins
   * from then on shows it. When it rejects, the entry may be there or not; adding it again is harmless.
   */
  append(entry: Revocation): Promise<void>;

  /**
   * The entries that were added after those of the read which gave `cursor`; without one, all. Entries may come again;
   * none whose `append` had resolved is ever left out, whatever the order in which concurrent appends became visible. A log
   * that cannot tell what came after a cursor, because entries were removed or lost in a failover, begins anew.
   *
   * A page holds a bounded number. An entry that cannot be understood is passed over.
   */
  read(cursor: string | undefined): Promise<RevocationPage>;

  /**
   * Calls `news` when there may be something new to read: an entry was added, by any process, or the connection over which
   * that is told stands, at first or again. Only in logs that can tell. It is a help and no promise: nothing but `read` says
   * that nothing is missing. Connects by itself, again after every failure, keeps no process alive and never throws. The
   * returned function ends it.
   */
  watch?(news: () => void): () => void | Promise<void>;

  /** Removes at most `limit` entries with `until <= now`; the number removed. */
  removeExpired(now: Instant, limit: number): Promise<number>;
}
