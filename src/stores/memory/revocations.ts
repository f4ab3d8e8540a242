import type { Instant } from "../../session/clock.ts";
import type { Revocation, RevocationLog, RevocationPage } from "../revocation-log.ts";

/** Most entries of one page. */
const PAGE = 200;

/** The revocations of a memory store: known to all who share the store, at once. */
export class MemoryRevocations implements RevocationLog {
  /** By position, in order. */
  readonly #entries = new Map<number, Revocation>();
  readonly #watchers = new Set<{ readonly news: () => void }>();
  #last = 0;

  async append(entry: Revocation): Promise<void> {
    this.#entries.set(++this.#last, entry);
    for (const { news } of this.#watchers) news();
  }

  async read(cursor: string | undefined): Promise<RevocationPage> {
    const after = Number(cursor ?? 0);
    // No position is given twice, so nothing can come between those that are there.
    const newer = [...this.#entries].filter(([position]) => position > after);
    const page = newer.slice(0, PAGE);
    const entries = page.map(([, entry]) => entry);
    return { entries, cursor: page.at(-1)?.[0].toString() ?? cursor, more: newer.length > page.length };
  }

  watch(news: () => void): () => void {
    const watcher = { news };
    this.#watchers.add(watcher);
    news();
    return () => {
      this.#watchers.delete(watcher);
    };
  }

  async removeExpired(now: Instant, limit: number): Promise<number> {
    let count = 0;
    for (const [position, { until }] of this.#entries) {
      if (count >= limit) break;
      if (until <= now && this.#entries.delete(position)) count++;
    }
    return count;
  }
}
