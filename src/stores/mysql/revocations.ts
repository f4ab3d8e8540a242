import type { Instant } from "../../session/clock.ts";
import { OneByOne } from "../one-by-one.ts";
import { retryPassing } from "../retry.ts";
import type { Revocation, RevocationLog, RevocationPage } from "../revocation-log.ts";
import { newRowId, type RevocationRow, readPage, revocationToText } from "../revocation-rows.ts";
import { errnoOf, type MysqlConnection, type MysqlRow } from "./connection.ts";
import { type MysqlNames, migrateMysql } from "./schema.ts";

const DUPLICATE = 1062;
const NO_SUCH_TABLE = 1146;

/**
 * Revocations in a table of their own. A position is one more than the highest that is visible; who has not seen the newest
 * collides with it, on the primary key, and tries again. So rows become visible in the order of their positions.
 */
export class MysqlRevocations implements RevocationLog {
  readonly #connection: MysqlConnection;
  readonly #names: MysqlNames;
  readonly #migrates: boolean;
  #migration: Promise<void> | undefined;
  /** They would only collide. */
  readonly #turns = new OneByOne();

  constructor(connection: MysqlConnection, names: MysqlNames, migrates: boolean) {
    this.#connection = connection;
    this.#names = names;
    this.#migrates = migrates;
  }

  /** Makes the table unless it is there, and those of the sessions. */
  async migrate(): Promise<void> {
    await migrateMysql(this.#connection, this.#names);
    try {
      // Without the right to make tables, even CREATE TABLE IF NOT EXISTS fails on one that exists.
      await this.#connection.rows(`SELECT position FROM ${this.#names.revocations} LIMIT 0`);
    } catch (error) {
      if (errnoOf(error) !== NO_SUCH_TABLE) throw error;
      await this.#connection.affected(
        `CREATE TABLE IF NOT EXISTS ${this.#names.revocations} (
           position BIGINT NOT NULL PRIMARY KEY,
           until_at BIGINT NOT NULL,
           id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
           entry MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
           INDEX until_at (until_at)
         ) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin`,
      );
    }
  }

  append(entry: Revocation): Promise<void> {
    return this.#turns.run(() => this.#add(entry));
  }

  read(cursor: string | undefined): Promise<RevocationPage> {
    return readPage(cursor, (position, limit) => this.#rowsFrom(position, limit));
  }

  async removeExpired(now: Instant, limit: number): Promise<number> {
    if (!Number.isSafeInteger(limit) || limit < 0) throw new TypeError("removeExpired: limit must be a whole number");
    await this.#migrated();
    return this.#connection.affected(`DELETE FROM ${this.#names.revocations} WHERE until_at <= ? LIMIT ${limit}`, [
      now,
    ]);
  }

  async #add(entry: Revocation): Promise<void> {
    await this.#migrated();
    const { revocations: table } = this.#names;
    const text = `INSERT INTO ${table} (position, id, until_at, entry)
      SELECT COALESCE(MAX(position), 0) + 1, ?, ?, ? FROM ${table}`;
    await retryPassing(
      (error) => errnoOf(error) === DUPLICATE,
      () => this.#connection.affected(text, [newRowId(), entry.until, revocationToText(entry)]),
    );
  }

  async #rowsFrom(position: number, limit: number): Promise<RevocationRow[]> {
    await this.#migrated();
    const text = `SELECT position, id, entry FROM ${this.#names.revocations} WHERE position >= ? ORDER BY position LIMIT ${limit}`;
    return (await this.#connection.rows(text, [position])).map(rowOf);
  }

  async #migrated(): Promise<void> {
    if (!this.#migrates) return;
    this.#migration ??= this.migrate().catch((error) => {
      // The next operation tries again.
      this.#migration = undefined;
      throw error;
    });
    await this.#migration;
  }
}

const rowOf = (row: MysqlRow): RevocationRow => ({
  position: Number(row.position),
  id: String(row.id),
  entry: String(row.entry),
});
