import type { RevocationLog } from "./revocation-log.ts";

/**
 * Both logs as one, for the time of a move. New entries go to the new one; what was revoked before, or by processes that do
 * not know the new store yet, is in the old one.
 */
export function movingRevocations(from: RevocationLog, to: RevocationLog): RevocationLog {
  return {
    append: (entry) => to.append(entry),
    async read(cursor) {
      const after: readonly (string | null)[] = cursor === undefined ? [] : JSON.parse(cursor);
      const [old, fresh] = await Promise.all([from.read(after[0] ?? undefined), to.read(after[1] ?? undefined)]);
      const isEmpty = old.cursor === undefined && fresh.cursor === undefined;
      return {
        entries: [...old.entries, ...fresh.entries],
        cursor: isEmpty ? undefined : JSON.stringify([old.cursor ?? null, fresh.cursor ?? null]),
        more: old.more || fresh.more,
      };
    },
    watch(news) {
      const ends = [from, to].map((log) => log.watch?.(news));
      return async () => {
        for (const end of ends) await end?.();
      };
    },
    async removeExpired(now, limit) {
      const count = await from.removeExpired(now, limit);
      return count < limit ? count + (await to.removeExpired(now, limit - count)) : count;
    },
  };
}

/** Adds to `to` what `from` has that still matters; the number of entries. Done again it changes nothing. */
export async function copyRevocations(from: RevocationLog, to: RevocationLog, now: number): Promise<number> {
  let count = 0;
  for (let cursor: string | undefined, more = true; more; ) {
    const page = await from.read(cursor);
    for (const entry of page.entries) {
      if (entry.until <= now) continue;
      await to.append(entry);
      count++;
    }
    ({ cursor, more } = page);
  }
  return count;
}
