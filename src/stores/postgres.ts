/**
 * Sessions in PostgreSQL.
 *
 * @module
 */
import type { Instant } from "../session/clock.ts";
import type { SessionId } from "../session/token.ts";
import { escapeJson, unescapeJson } from "./escaped-json.ts";
import { PostgresConnection, type PostgresQueryable } from "./postgres/connection.ts";
import { queryableJson } from "./postgres/queryable.ts";
import { PostgresRevocations } from "./postgres/revocations.ts";
import { migratePostgres, type PostgresNames, postgresNames } from "./postgres/schema.ts";
import { dataToText, metaToText, toPlainText } from "./record-texts.ts";
import type { LeaseRequest, SessionPatch, SessionRecord, SessionStore } from "./store.ts";
import { recordOfRow, type TableRow, understoodRecords } from "./table-row.ts";

export type { PostgresQueryable, PostgresResult, PostgresStatement } from "./postgres/connection.ts";

export interface PostgresStoreOptions {
  /** Name of the table: letters, digits and `_`, at most 50. Default `coatcheck_sessions`. */
  readonly table?: string;
  /** Name of the schema: letters, digits and `_`. Default: the first of the connection's search_path, mostly `public`. */
  readonly schema?: string;
  /** Whether the tables are made at the first use, unless they are there. `false`: call `migrate()`. Default true. */
  readonly migrate?: boolean;
  /**
   * Whether the column `data` holds each value as `jsonb`, for queries by operators. `false` leaves it empty and about
   * halves the space that data takes. Default true.
   */
  readonly queryable?: boolean;
}

/** A `SessionStore` that grants leases and makes its own tables. */
export interface PostgresStore extends SessionStore {
  release(id: SessionId, holder: string): Promise<void>;
  /** Makes the tables and indexes unless they are there. May run twice, and in several processes at once. */
  migrate(): Promise<void>;
}

/**
 * Sessions in a table of PostgreSQL 12 or later: a `Pool` or a connected `Client` of `pg` 8, or a URL such as
 * `postgres://user:password@host/database`, for which the store opens a pool at the first use. Every verb is one
 * statement without a name, so a transaction pooler may stand in between.
 *
 * A lost connection rejects and, with a pool, is replaced. A `Client` cannot come back. Give a pool of your own an `error`
 * listener, else Node ends the process when an idle connection breaks.
 *
 * @throws TypeError for arguments that do not fit
 */
export function postgresStore(
  poolOrClientOrUrl: string | PostgresQueryable,
  options: PostgresStoreOptions = {},
): PostgresStore {
  const { table = "coatcheck_sessions", schema, migrate = true, queryable = true } = options;
  return new Store(new PostgresConnection(poolOrClientOrUrl), postgresNames(table, schema), migrate, queryable);
}

const PAGE = 200;
const ATTEMPTS = 5;

// As texts, whatever parsers of its own the application has given to the driver.
const COLUMNS = `id, secret_hash, version::text, created_at::text, seen_at::text, expires_at::text, user_id,
  meta::text, texts::text, lease_holder, lease_until::text`;

class Store implements PostgresStore {
  readonly revocations: PostgresRevocations;
  readonly #connection: PostgresConnection;
  readonly #names: PostgresNames;
  readonly #queryable: boolean;
  readonly #migrates: boolean;
  #migration: Promise<void> | undefined;

  constructor(connection: PostgresConnection, names: PostgresNames, migrates: boolean, queryable: boolean) {
    this.#connection = connection;
    this.#names = names;
    this.#migrates = migrates;
    this.#queryable = queryable;
    this.revocations = new PostgresRevocations(connection, names, migrates);
  }

  migrate(): Promise<void> {
    return this.revocations.migrate();
  }

  async create(record: SessionRecord): Promise<void> {
    await this.#query(
      `INSERT INTO ${this.#names.table} (id, secret_hash, version, created_at, seen_at, expires_at, user_id, meta, texts, data)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
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
        this.#copyOf(record.data),
      ],
    );
  }

  async read(id: SessionId, lease?: LeaseRequest): Promise<SessionRecord | undefined> {
    const { rows } = await (lease === undefined
      ? this.#query(`SELECT ${COLUMNS} FROM ${this.#names.table} WHERE id = $1`, [id])
      : this.#lease(id, lease));
    return rows[0] === undefined ? undefined : recordOf(rows[0]);
  }

  async release(id: SessionId, holder: string): Promise<void> {
    await this.#query(
      `UPDATE ${this.#names.table} SET lease_holder = NULL WHERE id = $1 AND lease_holder = $2 AND ${UNHURRIED}`,
      [id, toPlainText(holder)],
    );
  }

  async update(id: SessionId, version: number, patch: SessionPatch): Promise<"updated" | "stale" | "missing"> {
    const values: unknown[] = [id, version];
    const changes = this.#changes(patch, (value) => `$${values.push(value)}`);
    const { table } = this.#names;
    const text = `
      WITH updated AS (UPDATE ${table} SET ${changes.join(", ")} WHERE id = $1 AND version = $2 RETURNING id)
      SELECT (SELECT count(*)::text FROM updated) AS updated, (SELECT version::text FROM ${table} WHERE id = $1) AS found`;
    for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
      const [row] = (await this.#query(text, values)).rows;
      if (Number(row?.updated) === 1) return "updated";
      if (row?.found == null) return "missing";
      if (Number(row.found) !== version) return "stale";
      // `found` is from before another writer, for whom the UPDATE had waited: ask again how it ended.
    }
    throw new Error("the server leaves the record as it is");
  }

  async touch(id: SessionId, seenAt: Instant, expiresAt: Instant): Promise<boolean> {
    return this.#changed(
      `UPDATE ${this.#names.table} SET seen_at = greatest(seen_at, $2), expires_at = greatest(expires_at, $3) WHERE id = $1`,
      [id, seenAt, expiresAt],
    ).then(some);
  }

  async remove(id: SessionId, userId?: string): Promise<boolean> {
    const removal = `DELETE FROM ${this.#names.table} WHERE id = $1`;
    if (userId === undefined) return this.#changed(removal, [id]).then(some);
    return this.#changed(`${removal} AND user_id = $2`, [id, toPlainText(userId)]).then(some);
  }

  async listByUser(userId: string): Promise<SessionRecord[]> {
    const text = `SELECT ${COLUMNS} FROM ${this.#names.table} WHERE user_id = $1`;
    return understoodRecords((await this.#query(text, [toPlainText(userId)])).rows, recordOf);
  }

  removeByUser(userId: string, except?: SessionId): Promise<number> {
    return this.#changed(`DELETE FROM ${this.#names.table} WHERE user_id = $1 AND id <> $2`, [
      toPlainText(userId),
      except ?? "",
    ]);
  }

  removeAll(): Promise<number> {
    return this.#changed(`DELETE FROM ${this.#names.table}`, []);
  }

  removeExpired(now: Instant, limit: number): Promise<number> {
    // Taking the lock looks at the newest state of each row: one that was touched meanwhile is not among the due.
    return this.#changed(
      `WITH due AS MATERIALIZED (
         SELECT id FROM ${this.#names.table} WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED
       )
       DELETE FROM ${this.#names.table} AS session USING due WHERE session.id = due.id`,
      [now, limit],
    );
  }

  async *all(): AsyncGenerator<SessionRecord> {
    const text = `SELECT ${COLUMNS} FROM ${this.#names.table} WHERE id > $1 ORDER BY id LIMIT ${PAGE}`;
    for (let last = ""; ; ) {
      const { rows } = await this.#query(text, [last]);
      yield* understoodRecords(rows, recordOf);
      if (rows.length < PAGE) return;
      last = String(rows.at(-1)?.id);
    }
  }

  close(): Promise<void> {
    return this.#connection.close();
  }

  /** Grants or refuses the lease and answers the row, whoever has it now. */
  #lease(id: SessionId, lease: LeaseRequest) {
    const granted = "secret_hash = $5 AND (lease_holder IS NULL OR lease_holder = $2 OR lease_until <= $4)";
    return this.#query(
      `UPDATE ${this.#names.table} SET
         lease_holder = CASE WHEN ${granted} THEN $2 ELSE lease_holder END,
         lease_until = CASE WHEN ${granted} THEN $3 ELSE lease_until END
       WHERE id = $1 AND ${UNHURRIED}
       RETURNING ${COLUMNS}`,
      [id, toPlainText(lease.holder), lease.until, lease.now, lease.secretHash],
    );
  }

  /** The assignments of a patch: only what it changes is sent. `bind` takes a value and gives its placeholder. */
  #changes(patch: SessionPatch, bind: (value: unknown) => string): string[] {
    const changes = ["version = version + 1"];
    if (patch.secretHash !== undefined) changes.push(`secret_hash = ${bind(patch.secretHash)}`);
    if (patch.seenAt !== undefined) changes.push(`seen_at = ${bind(patch.seenAt)}`);
    if (patch.expiresAt !== undefined) changes.push(`expires_at = ${bind(patch.expiresAt)}`);
    if (patch.userId !== undefined)
      changes.push(`user_id = ${bind(patch.userId === null ? null : toPlainText(patch.userId))}`);
    if (patch.meta !== undefined) changes.push(`meta = ${bind(escapeJson(metaToText(patch.meta)))}`);
    if (patch.release !== undefined)
      changes.push(`lease_holder = nullif(lease_holder, ${bind(toPlainText(patch.release))})`);
    let texts = "texts";
    let data = "data";
    if (patch.unset?.length) {
      // As one JSON array: a driver's own array literals need not agree about quotes.
      const keys = bind(escapeJson(JSON.stringify(patch.unset)));
      const removed = ` - ARRAY(SELECT jsonb_array_elements_text(${keys}::jsonb))`;
      texts += removed;
      data += removed;
    }
    if (patch.set?.size) {
      texts = `(${texts}) || ${bind(escapeJson(dataToText(patch.set)))}::jsonb`;
      data = `(${data}) || ${bind(this.#copyOf(patch.set))}::jsonb`;
    }
    if (texts !== "texts") changes.push(`texts = ${texts}`, `data = ${data}`);
    return changes;
  }

  /** The JSON object for the column `data`. */
  #copyOf(texts: ReadonlyMap<string, string>): string {
    if (!this.#queryable) return "{}";
    const members = Array.from(texts, ([key, text]) => `${JSON.stringify(key)}:${queryableJson(text)}`);
    return escapeJson(`{${members.join(",")}}`);
  }

  async #changed(text: string, values: unknown[]): Promise<number> {
    return (await this.#query(text, values)).rowCount ?? 0;
  }

  async #query(text: string, values: unknown[]) {
    if (this.#migrates) await this.#migrated();
    return this.#connection.query(text, values);
  }

  #migrated(): Promise<void> {
    this.#migration ??= migratePostgres(this.#connection, this.#names).catch((error) => {
      // The next operation tries again.
      this.#migration = undefined;
      throw error;
    });
    return this.#migration;
  }
}

/** A condition that always holds: leases need not survive a crash, so their commit does not wait for the disk. */
const UNHURRIED = "set_config('synchronous_commit', 'off', true) IS NOT NULL";

const some = (count: number): boolean => count > 0;

/** @throws CorruptRecordError */
function recordOf(row: Record<string, unknown>): SessionRecord {
  const [meta, texts] = [row.meta, row.texts].map((text) => (typeof text === "string" ? unescapeJson(text) : text));
  return recordOfRow({ ...(row as unknown as TableRow), meta, texts });
}
