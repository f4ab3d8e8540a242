import type { SqliteHandle } from "../sqlite-handle.ts";

/** Runs `work` in a transaction that writes. It is undone when `work` throws. */
export function inTransaction<Result>(handle: SqliteHandle, work: () => Result): Result {
  handle.exec("BEGIN IMMEDIATE");
  try {
    const result = work();
    handle.exec("COMMIT");
    return result;
  } catch (error) {
    try {
      handle.exec("ROLLBACK");
    } catch {
      // SQLite has rolled back by itself, as it does when the disk is full.
    }
    throw error;
  }
}
