import type { SqliteHandle } from "../sqlite-handle.ts";
import { inTransaction } from "./transaction.ts";

const SCHEMA_VERSION = 1;

/** Makes the table unless it is there. Processes that open at once do so one after the other. */
export function createTable(handle: SqliteHandle, table: string): void {
  inTransaction(handle, () => {
    handle.exec(
      `CREATE TABLE IF NOT EXISTS "${table}" (
         id TEXT NOT NULL PRIMARY KEY,
         secret_hash TEXT NOT NULL,
         version INTEGER NOT NULL,
         created_at INTEGER NOT NULL,
         seen_at INTEGER NOT NULL,
         expires_at INTEGER NOT NULL,
         user_id TEXT,
         meta TEXT NOT NULL,
         data TEXT NOT NULL,
         lease_holder TEXT,
         lease_until INTEGER
       )`,
    );
    handle.exec(`CREATE INDEX IF NOT EXISTS "${table}_expires_at" ON "${table}" (expires_at)`);
    handle.exec(`CREATE INDEX IF NOT EXISTS "${table}_user_id" ON "${table}" (user_id) WHERE user_id IS NOT NULL`);
    // PRAGMA user_version belongs to the application.
    handle.exec(`CREATE TABLE IF NOT EXISTS "${table}_schema" (version INTEGER NOT NULL)`);
    handle.exec(
      `INSERT INTO "${table}_schema" SELECT ${SCHEMA_VERSION} WHERE NOT EXISTS (SELECT 1 FROM "${table}_schema")`,
    );
    const found = handle.prepare(`SELECT version FROM "${table}_schema"`).get() as { version: unknown };
    if (Number(found.version) !== SCHEMA_VERSION)
      throw new Error(
        `the table ${table} has schema version ${Number(found.version)}; this release knows ${SCHEMA_VERSION}`,
      );
  });
}
