import type { Instant } from "../../session/clock.ts";
import type { Revocation, RevocationLog, RevocationPage } from "../revocation-log.ts";
import { newRowId, type RevocationRow, readPage, revocationToText } from "../revocation-rows.ts";
import type { SqliteHandle } from "../sqlite-handle.ts";

/** How the store runs work on its database. */
export interface SqliteWork {
  read<Result>(work: (handle: SqliteHandle) => Result): Promise<Result>;
  /** In one transaction that holds the write lock. */
  write<Result>(work: (handle: SqliteHandle) => Result): Promise<Result>;
}

/** Revocations in a table of their own, made at the first use. Writers hold the file's lock, so positions are in order. */
export class SqliteRevocations implements RevocationLog {
  readonly #work: SqliteWork;
  readonly #table: string;
  #statements: Statements | undefined;

  constructor(work: SqliteWork, table: string) {
    this.#work = work;
    this.#table = `${table}_revocations`;
  }

  append(entry: Revocation): Promise<void> {
    return this.#work.write((handle) => {
      this.#prepared(handle).insert.run(newRowId(), entry.until, revocationToText(entry));
    });
  }

  read(cursor: string | undefined): Promise<RevocationPage> {
    return readPage(cursor, (position, limit) => this.#rowsFrom(position, limit));
  }

  removeExpired(now: Instant, limit: number): Promise<number> {
    return this.#work.write((handle) => {
      const { changes } = this.#prepared(handle).removeExpired.run(now, limit) as { changes: unknown };
      return Number(changes);
    });
  }

  async #rowsFrom(position: number, limit: number): Promise<RevocationRow[]> {
    const work = this.#statements === undefined ? this.#work.write : this.#work.read;
    const rows = await work((handle) => this.#prepared(handle).page.all(position, limit) as RevocationRow[]);
    // Drivers may answer with bigint.
    return rows.map((row) => ({ ...row, position: Number(row.position) }));
  }

  #prepared(handle: SqliteHandle): Statements {
    this.#statements ??= prepare(handle, this.#table);
    return this.#statements;
  }
}

type Statements = ReturnType<typeof prepare>;

function prepare(handle: SqliteHandle, name: string) {
  const table = `"${name}"`;
  handle.exec(
    `CREATE TABLE IF NOT EXISTS ${table} (
       position INTEGER PRIMARY KEY,
       id TEXT NOT NULL,
       until_at INTEGER NOT NULL,
       entry TEXT NOT NULL
     )`,
  );
  handle.exec(`CREATE INDEX IF NOT EXISTS "${name}_until_at" ON ${table} (until_at)`);
  return {
    // Without a value, the position is one more than the highest.
    insert: handle.prepare(`INSERT INTO ${table} (id, until_at, entry) VALUES (?, ?, ?)`),
    page: handle.prepare(`SELECT position, id, entry FROM ${table} WHERE position >= ? ORDER BY position LIMIT ?`),
    removeExpired: handle.prepare(
      `DELETE FROM ${table} WHERE position IN (SELECT position FROM ${table} WHERE until_at <= ? LIMIT ?)`,
    ),
  };
}
