import { existsSync, mkdirSync } from "node:fs";
import { dirname } from "node:path";

/** What the store binds and what columns hold. Drivers may answer with bigint instead of number. */
export type SqliteValue = string | number | null;

/** A prepared statement, as all synchronous drivers have it. */
export interface SqliteStatement {
  run(...values: SqliteValue[]): unknown;
  get(...values: SqliteValue[]): unknown;
  all(...values: SqliteValue[]): unknown[];
}

/** An open database of libsql, better-sqlite3, `node:sqlite` (`DatabaseSync`) or `bun:sqlite`. */
export interface SqliteHandle {
  exec(sql: string): unknown;
  prepare(sql: string): SqliteStatement;
  close?(): unknown;
}

/** The drivers in the order in which they are tried, with the export that opens a file. */
const DRIVERS = [
  ["libsql", "default"],
  ["better-sqlite3", "default"],
  ["node:sqlite", "DatabaseSync"],
] as const;

/**
 * Opens a file with the first driver that is installed; makes the file and its folder if it may.
 *
 * @throws Error that names the packages when there is no driver, or for a file that is missing and may not be made
 */
export async function openSqliteFile(path: string, makes: boolean): Promise<SqliteHandle> {
  const Database = await importDriver();
  if (path !== ":memory:" && makes) mkdirSync(dirname(path), { recursive: true });
  if (path !== ":memory:" && !makes && !existsSync(path)) throw new Error("There is no such SQLite file.");
  return new Database(path);
}

async function importDriver(): Promise<new (path: string) => SqliteHandle> {
  const failures: unknown[] = [];
  for (const [name, opens] of DRIVERS) {
    try {
      const driver = await import(/* @vite-ignore */ name);
      return driver[opens];
    } catch (error) {
      failures.push(error);
    }
  }
  throw new Error(
    "sqliteStore found no SQLite driver: npm install libsql, or better-sqlite3, or use Node 22.13 or later, which has node:sqlite. " +
      "An open handle can be passed instead of a path.",
    { cause: new AggregateError(failures, "no driver could be imported") },
  );
}

/** SQLITE_BUSY; its extended codes have the same low byte. */
const BUSY = 5;

/** Whether another connection holds a lock that the operation needs. */
export function isBusy(error: unknown): boolean {
  // better-sqlite3, libsql and Bun name the code; node:sqlite gives the number in `errcode`.
  const { code, errcode } = error as { code?: unknown; errcode?: unknown };
  if (typeof code === "string" && code.startsWith("SQLITE_BUSY")) return true;
  return typeof errcode === "number" && (errcode & 0xff) === BUSY;
}
