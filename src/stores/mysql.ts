/**
 * Sessions in MySQL or MariaDB.
 *
 * @module
 */
import type { Instant } from "../session/clock.ts";
import type { SessionId } from "../session/token.ts";
import { escapeJson, unescapeJson } from "./escaped-json.ts";
import { MysqlConnection, type MysqlQueryable, type MysqlRow } from "./mysql/connection.ts";
import { MysqlRevocations } from "./mysql/revocations.ts";
import { type MysqlNames, migrateMysql, mysqlNames } from "./mysql/schema.ts";
import { dataToText, metaToText, toPlainText } from "./record-texts.ts";
import type { SessionPatch, SessionRecord, SessionStore } from "./store.ts";
import { recordOfRow, type TableRow, understoodRecords } from "./table-row.ts";

export type {
  MysqlCallbackQueryable,
  MysqlPromiseQueryable,
  MysqlQueryable,
  MysqlStatement,
} from "./mysql/connection.ts";

export interface MysqlStoreOptions {
  /** Name of the table: letters, digits and `_`, at most 50. Default `coatcheck_sessions`. */
  readonly table?: string;
  /** Whether the tables are made at the first use, unless they are there. `false`: call `migrate()`. Default true. */
  readonly migrate?: boolean;
}

/** A `SessionStore` that makes its own tables. It grants no leases. */
export interface MysqlStore extends SessionStore {
  /** Makes the tables unless they are there. May run twice, and in several processes at once. */
  migrate(): Promise<void>;
}

/**
 * Sessions in a table of MariaDB 10.6 or later or MySQL 8: a pool or connection of `mysql2`, with promises or callbacks, or a URL
 * such as `mysql://user:password@host/database`, for which the store opens a pool at the first use. Verbs are prepared
 * statements of their own, so the connection must be in autocommit mode and its character set utf8mb4, as is the default.
 *
 * A lost connection rejects and, with a pool, is replaced. It grants no leases: no statement of MySQL writes a row and
 * answers it, so that would cost a round trip.
 *
 * @throws TypeError for arguments that do not fit
 */
export function mysqlStore(
  poolOrConnectionOrUrl: string | MysqlQueryable,
  options: MysqlStoreOptions = {},
): MysqlStore {
  const { table = "coatcheck_sessions", migrate = true } = options;
  return new Store(new MysqlConnection(poolOrConnectionOrUrl), mysqlNames(table), migrate);
}

type Value = string | number | null;

const PAGE = 200;

// As texts: drivers parse columns of type JSON, and MariaDB has none.
const COLUMNS =
  "id, secret_hash, version, created_at, seen_at, expires_at, user_id, CAST(meta AS CHAR) AS meta, CAST(texts AS CHAR) AS texts";

// The first finds by the index, but takes texts for equal that differ in spaces at the end.
const OF_USER = "user_id = ? AND CAST(user_id AS BINARY) = CAST(? AS BINARY)";

class Store implements MysqlStore {
  readonly revocations: MysqlRevocations;
  readonly #connection: MysqlConnection;
  readonly #names: MysqlNames;
  readonly #migrates: boolean;
  #migration: Promise<void> | undefined;

  constructor(connection: MysqlConnection, names: MysqlNames, migrates: boolean) {
    this.#connection = connection;
    this.#names = names;
    this.#migrates = migrates;
    this.revocations = new MysqlRevocations(connection, names, migrates);
  }

  migrate(): Promise<void> {
    return this.revocations.migrate();
  }

  async create(record: SessionRecord): Promise<void> {
    await this.#affected(
      `INSERT INTO ${this.#names.table} (id, secret_hash, version, created_at, seen_at, expires_at, user_id, meta, texts)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      [
        record.id,
        record.secretHash,
        record.version,
        record.createdAt,
        record.seenAt,
        record.expiresAt,
        record.userId === undefined ? null : toPlainText(record.userId),
        escapeJson(metaToText(record.meta)),
        escapeJson(dataToText(record.data)),
      ],
    );
  }

  async read(id: SessionId): Promise<SessionRecord | undefined> {
    const [row] = await this.#rows(`SELECT ${COLUMNS} FROM ${this.#names.table} WHERE id = ?`, [id]);
    return row === undefined ? undefined : recordOf(row);
  }

  async update(id: SessionId, version: number, patch: SessionPatch): Promise<"updated" | "stale" | "missing"> {
    const values: Value[] = [];
    const changes = changesOf(patch, values);
    const { table } = this.#names;
    const text = `UPDATE ${table} SET ${changes.join(", ")} WHERE id = ? AND version = ?`;
    if ((await this.#affected(text, [...values, id, version])) > 0) return "updated";
    return (await this.#exists(id)) ? "stale" : "missing";
  }

  async touch(id: SessionId, seenAt: Instant, expiresAt: Instant): Promise<boolean> {
    const text = `UPDATE ${this.#names.table} SET seen_at = GREATEST(seen_at, ?), expires_at = GREATEST(expires_at, ?) WHERE id = ?`;
    // Without the flag FOUND_ROWS, a touch that raises nothing counts no row.
    return (await this.#affected(text, [seenAt, expiresAt, id])) > 0 || this.#exists(id);
  }

  async remove(id: SessionId, userId?: string): Promise<boolean> {
    const removal = `DELETE FROM ${this.#names.table} WHERE id = ?`;
    if (userId === undefined) return (await this.#affected(removal, [id])) > 0;
    return (await this.#affected(`${removal} AND ${OF_USER}`, [id, ...twice(userId)])) > 0;
  }

  async listByUser(userId: string): Promise<SessionRecord[]> {
    const text = `SELECT ${COLUMNS} FROM ${this.#names.table} WHERE ${OF_USER}`;
    return understoodRecords(await this.#rows(text, twice(userId)), recordOf);
  }

  removeByUser(userId: string, except?: SessionId): Promise<number> {
    const text = `DELETE FROM ${this.#names.table} WHERE ${OF_USER} AND id <> ?`;
    return this.#affected(text, [...twice(userId), except ?? ""]);
  }

  removeAll(): Promise<number> {
    return this.#affected(`DELETE FROM ${this.#names.table}`, []);
  }

  async removeExpired(now: Instant, limit: number): Promise<number> {
    if (!Number.isSafeInteger(limit) || limit < 0) throw new TypeError("removeExpired: limit must be a whole number");
    // The drivers' numbers are no integers to the server, which LIMIT insists on.
    const text = `DELETE FROM ${this.#names.table} WHERE expires_at <= ? ORDER BY expires_at LIMIT ${limit}`;
    return this.#affected(text, [now]);
  }

  async *all(): AsyncGenerator<SessionRecord> {
    const text = `SELECT ${COLUMNS} FROM ${this.#names.table} WHERE id > ? ORDER BY id LIMIT ${PAGE}`;
    for (let last = ""; ; ) {
      const rows = await this.#rows(text, [last]);
      yield* understoodRecords(rows, recordOf);
      if (rows.length < PAGE) return;
      last = String(rows.at(-1)?.id);
    }
  }

  close(): Promise<void> {
    return this.#connection.close();
  }

  async #exists(id: SessionId): Promise<boolean> {
    return (await this.#rows(`SELECT 1 FROM ${this.#names.table} WHERE id = ?`, [id])).length > 0;
  }

  async #rows(sql: string, values: Value[]): Promise<MysqlRow[]> {
    if (this.#migrates) await this.#migrated();
    return this.#connection.rows(sql, values);
  }

  async #affected(sql: string, values: Value[]): Promise<number> {
    if (this.#migrates) await this.#migrated();
    return this.#connection.affected(sql, values);
  }

  #migrated(): Promise<void> {
    this.#migration ??= migrateMysql(this.#connection, this.#names).catch((error) => {
      // The next operation tries again.
      this.#migration = undefined;
      throw error;
    });
    return this.#migration;
  }
}

/** The assignments of a patch: only what it changes is sent. Their values are added to `values`. */
function changesOf(patch: SessionPatch, values: Value[]): string[] {
  const changes = ["version = version + 1"];
  const assign = (column: string, value: Value) => {
    changes.push(`${column} = ?`);
    values.push(value);
  };
  if (patch.secretHash !== undefined) assign("secret_hash", patch.secretHash);
  if (patch.seenAt !== undefined) assign("seen_at", patch.seenAt);
  if (patch.expiresAt !== undefined) assign("expires_at", patch.expiresAt);
  if (patch.userId !== undefined) assign("user_id", patch.userId === null ? null : toPlainText(patch.userId));
  if (patch.meta !== undefined) assign("meta", escapeJson(metaToText(patch.meta)));
  const patches = mergePatches(patch);
  if (patches.length > 0) {
    changes.push(`texts = JSON_MERGE_PATCH(texts${", ?".repeat(patches.length)})`);
    values.push(...patches);
  }
  return changes;
}

/**
 * Merge patches (RFC 7396) that amount to a patch: null removes a key, and since all values are strings, any other value
 * replaces one. Each removal is a patch of its own, because MariaDB overlooks members of a patch that has a null among others.
 */
function mergePatches(patch: SessionPatch): string[] {
  const patches = (patch.unset ?? []).map((key) => escapeJson(`{${JSON.stringify(key)}:null}`));
  // As many as a power of two, so that there are few different statements to prepare.
  if (patches.length > 0) while (!Number.isInteger(Math.log2(patches.length))) patches.push("{}");
  if (patch.set?.size) patches.push(escapeJson(dataToText(patch.set)));
  return patches;
}

function twice(userId: string): [string, string] {
  const text = toPlainText(userId);
  return [text, text];
}

/** @throws CorruptRecordError */
function recordOf(row: MysqlRow): SessionRecord {
  const [meta, texts] = [row.meta, row.texts].map((text) => (typeof text === "string" ? unescapeJson(text) : text));
  return recordOfRow({ ...(row as unknown as TableRow), meta, texts });
}
