import type { SqliteHandle, SqliteStatement } from "../sqlite-handle.ts";

export type Statements = ReturnType<typeof prepareStatements>;

const COLUMNS =
  "id, secret_hash, version, created_at, seen_at, expires_at, user_id, meta, data AS texts, lease_holder, lease_until";

/** All that is ever asked of the table of sessions. */
export function prepareStatements(handle: SqliteHandle, name: string) {
  const table = `"${name}"`;
  const prepare = (sql: string): SqliteStatement => handle.prepare(sql);
  return {
    insert: prepare(
      `INSERT INTO ${table} (id, secret_hash, version, created_at, seen_at, expires_at, user_id, meta, data)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    ),
    read: prepare(`SELECT ${COLUMNS} FROM ${table} WHERE id = ?`),
    readData: prepare(`SELECT version, data AS texts FROM ${table} WHERE id = ?`),
    update: prepare(
      `UPDATE ${table} SET
         version = version + 1,
         secret_hash = coalesce(?, secret_hash),
         seen_at = coalesce(?, seen_at),
         expires_at = coalesce(?, expires_at),
         user_id = CASE ? WHEN 1 THEN ? ELSE user_id END,
         meta = coalesce(?, meta),
         data = coalesce(?, data),
         lease_holder = nullif(lease_holder, ?)
       WHERE id = ?`,
    ),
    touch: prepare(`UPDATE ${table} SET seen_at = max(seen_at, ?), expires_at = max(expires_at, ?) WHERE id = ?`),
    lease: prepare(`UPDATE ${table} SET lease_holder = ?, lease_until = ? WHERE id = ?`),
    release: prepare(`UPDATE ${table} SET lease_holder = NULL WHERE id = ? AND lease_holder = ?`),
    remove: prepare(`DELETE FROM ${table} WHERE id = ?`),
    removeOfUser: prepare(`DELETE FROM ${table} WHERE id = ? AND user_id = ?`),
    listByUser: prepare(`SELECT ${COLUMNS} FROM ${table} WHERE user_id = ?`),
    removeByUser: prepare(`DELETE FROM ${table} WHERE user_id = ? AND id <> ?`),
    removeAll: prepare(`DELETE FROM ${table}`),
    removeExpired: prepare(
      `DELETE FROM ${table} WHERE rowid IN
         (SELECT rowid FROM ${table} WHERE expires_at <= ? ORDER BY expires_at LIMIT ?) AND expires_at <= ?`,
    ),
    page: prepare(`SELECT ${COLUMNS} FROM ${table} WHERE id > ? ORDER BY id LIMIT ?`),
  };
}
