/**
 * Sessions in an SQLite file.
 *
 * @module
 */
import { type Clock, type Duration, type Instant, systemClock } from "../session/clock.ts";
import { randomBytes } from "../session/crypto.ts";
import type { SessionId } from "../session/token.ts";
import { dataFromText, dataToText, metaToText, toPlainText } from "./record-texts.ts";
import { SqliteRevocations } from "./sqlite/revocations.ts";
import { createTable } from "./sqlite/schema.ts";
import { prepareStatements, type Statements } from "./sqlite/statements.ts";
import { inTransaction } from "./sqlite/transaction.ts";
import { isBusy, openSqliteFile, type SqliteHandle } from "./sqlite-handle.ts";
import { type LeaseRequest, patchData, type SessionPatch, type SessionRecord, type SessionStore } from "./store.ts";
import { recordOfRow, type TableRow, understoodRecords } from "./table-row.ts";

export type { SqliteHandle, SqliteStatement, SqliteValue } from "./sqlite-handle.ts";

export interface SqliteStoreOptions {
  /** Name of the table: letters, digits and `_`, at most 63. Default `coatcheck_sessions`. */
  readonly table?: string;
  /** Whether file and tables are made at the first use, unless they are there. Default true. */
  readonly migrate?: boolean;
  /**
   * What an acknowledged write survives. `"full"`: a power cut. `"normal"`: the end of the process, however violent, but a
   * power cut may undo the last writes; several times faster. Default `"full"`. Only for a path: a handle that is passed
   * in keeps its own pragmas.
   */
  readonly synchronous?: "full" | "normal";
  /** Default: the machine's. */
  readonly clock?: Clock;
}

/** How long SQLite itself waits for a lock, once; the event loop stands still meanwhile. */
const BLOCKING_WAIT: Duration = 100;
/** How long an operation is tried again while another connection holds the lock. */
const PATIENCE: Duration = 1500;
const FIRST_PAUSE: Duration = 4;
const LONGEST_PAUSE: Duration = 64;

const PAGE = 200;

/**
 * Sessions in an SQLite database: a path, or an open handle of libsql, better-sqlite3, `node:sqlite` or `bun:sqlite`. Several
 * processes of one machine may share a file. For a path, libsql, better-sqlite3 or `node:sqlite` is imported at the first use,
 * whichever is there; the file is in WAL mode.
 *
 * While another connection holds the write lock, an operation is tried again for 1.5 seconds, then it rejects. Of a handle
 * that is passed in, the pragmas are the application's: WAL mode and a `busy_timeout` of 100 ms are advised, because SQLite
 * waits with the event loop standing still. It must have no transaction open across an `await`: writes are refused meanwhile.
 *
 * @throws TypeError for arguments that do not fit; what is wrong with the file shows at the first use
 */
export function sqliteStore(pathOrHandle: string | SqliteHandle, options: SqliteStoreOptions = {}): SessionStore {
  const { table = "coatcheck_sessions", migrate = true, synchronous, clock = systemClock } = options;
  if (!/^(?!sqlite_)[A-Za-z_][A-Za-z0-9_]{0,62}$/i.test(table))
    throw new TypeError(`sqliteStore: ${JSON.stringify(table.slice(0, 64))} cannot be the name of a table`);
  if (synchronous !== undefined && synchronous !== "full" && synchronous !== "normal")
    throw new TypeError('sqliteStore: synchronous is "full" or "normal"');
  if (typeof pathOrHandle === "string") {
    if (pathOrHandle === "" || pathOrHandle.includes("\0"))
      throw new TypeError("sqliteStore: the path is empty or has a NUL");
    if (pathOrHandle.includes("://"))
      throw new TypeError("sqliteStore takes the path of a file, not a URL; openStore of coatcheck/stores takes URLs");
  } else {
    if (typeof pathOrHandle?.prepare !== "function" || typeof pathOrHandle.exec !== "function")
      throw new TypeError("sqliteStore needs a path, or an open database with prepare() and exec()");
    if (synchronous !== undefined)
      throw new TypeError("sqliteStore: set synchronous on the handle itself; its pragmas are yours");
  }
  return new SqliteStore(pathOrHandle, table, migrate, synchronous ?? "full", clock);
}

class SqliteStore implements SessionStore {
  readonly revocations: SqliteRevocations;
  readonly #source: string | SqliteHandle;
  readonly #table: string;
  readonly #migrates: boolean;
  readonly #synchronous: "full" | "normal";
  readonly #clock: Clock;
  #database: Database | undefined;
  #opening: Promise<Database> | undefined;
  #closed = false;
  /** Operations that wait for another connection's lock. */
  #waiting = 0;

  constructor(
    source: string | SqliteHandle,
    table: string,
    migrates: boolean,
    synchronous: "full" | "normal",
    clock: Clock,
  ) {
    this.#source = source;
    this.#table = table;
    this.#migrates = migrates;
    this.#synchronous = synchronous;
    this.#clock = clock;
    this.revocations = new SqliteRevocations(
      {
        read: (work) => this.#run(({ handle }) => work(handle)),
        write: (work) => this.#write(({ handle }) => work(handle)),
      },
      table,
    );
  }

  create(record: SessionRecord): Promise<void> {
    return this.#write(({ statements }) => {
      statements.insert.run(
        record.id,
        record.secretHash,
        record.version,
        record.createdAt,
        record.seenAt,
        record.expiresAt,
        record.userId === undefined ? null : toPlainText(record.userId),
        metaToText(record.meta),
        dataToText(record.data),
      );
    });
  }

  read(id: SessionId, lease?: LeaseRequest): Promise<SessionRecord | undefined> {
    if (lease !== undefined) return this.#readLeased(id, lease);
    return this.#run(({ statements }) => {
      const row = statements.read.get(id) as TableRow | null | undefined;
      return row ? recordOfRow(row) : undefined;
    });
  }

  release(id: SessionId, holder: string): Promise<void> {
    return this.#writeLease(({ statements }) => {
      statements.release.run(id, toPlainText(holder));
    });
  }

  update(id: SessionId, version: number, patch: SessionPatch): Promise<"updated" | "stale" | "missing"> {
    return this.#write(({ statements }) => {
      const row = statements.readData.get(id) as Pick<TableRow, "version" | "texts"> | null | undefined;
      if (!row) return "missing";
      if (Number(row.version) !== version) return "stale";
      const changesData = Boolean(patch.set?.size || patch.unset?.length);
      statements.update.run(
        patch.secretHash ?? null,
        patch.seenAt ?? null,
        patch.expiresAt ?? null,
        patch.userId === undefined ? 0 : 1,
        patch.userId === undefined || patch.userId === null ? null : toPlainText(patch.userId),
        patch.meta === undefined ? null : metaToText(patch.meta),
        changesData ? dataToText(patchData(dataFromText(row.texts), patch)) : null,
        patch.release === undefined ? null : toPlainText(patch.release),
        id,
      );
      return "updated";
    });
  }

  touch(id: SessionId, seenAt: Instant, expiresAt: Instant): Promise<boolean> {
    return this.#write(({ statements }) => changes(statements.touch.run(seenAt, expiresAt, id)) > 0);
  }

  remove(id: SessionId, userId?: string): Promise<boolean> {
    return this.#write(({ statements }) => {
      const removed =
        userId === undefined ? statements.remove.run(id) : statements.removeOfUser.run(id, toPlainText(userId));
      return changes(removed) > 0;
    });
  }

  listByUser(userId: string): Promise<SessionRecord[]> {
    return this.#run(({ statements }) =>
      understoodRecords(statements.listByUser.all(toPlainText(userId)) as TableRow[], recordOfRow),
    );
  }

  removeByUser(userId: string, except?: SessionId): Promise<number> {
    return this.#write(({ statements }) => changes(statements.removeByUser.run(toPlainText(userId), except ?? "")));
  }

  removeAll(): Promise<number> {
    return this.#write(({ statements }) => changes(statements.removeAll.run()));
  }

  async removeExpired(now: Instant, limit: number): Promise<number> {
    const removed = await this.#write(({ statements }) => changes(statements.removeExpired.run(now, limit, now)));
    await otherWork();
    return removed;
  }

  async *all(): AsyncGenerator<SessionRecord> {
    let last = "";
    for (;;) {
      const rows = await this.#run(({ statements }) => statements.page.all(last, PAGE) as TableRow[]);
      yield* understoodRecords(rows, recordOfRow);
      if (rows.length < PAGE) return;
      await otherWork();
      last = String(rows.at(-1)?.id);
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const database = await this.#opening?.catch(() => undefined);
    this.#database = undefined;
    this.#opening = undefined;
    if (typeof this.#source === "string") database?.handle.close?.();
  }

  #readLeased(id: SessionId, lease: LeaseRequest): Promise<SessionRecord | undefined> {
    return this.#writeLease(({ statements }) => {
      const row = statements.read.get(id) as TableRow | null | undefined;
      if (!row) return undefined;
      const record = recordOfRow(row);
      const taken =
        record.lease !== undefined && record.lease.holder !== lease.holder && lease.now < record.lease.until;
      if (taken || record.secretHash !== lease.secretHash) return record;
      statements.lease.run(toPlainText(lease.holder), lease.until, id);
      return { ...record, lease: { holder: lease.holder, until: lease.until } };
    });
  }

  /** Leases need not survive a power cut, so they do not wait for the disk. */
  #writeLease<Result>(work: (database: Database) => Result): Promise<Result> {
    if (typeof this.#source !== "string" || this.#synchronous !== "full") return this.#write(work);
    return this.#run((database) => {
      database.handle.exec("PRAGMA synchronous = NORMAL");
      try {
        return inTransaction(database.handle, () => work(database));
      } finally {
        database.handle.exec("PRAGMA synchronous = FULL");
      }
    });
  }

  /** One transaction that holds the write lock from its beginning. `work` is synchronous, so nothing comes in between. */
  #write<Result>(work: (database: Database) => Result): Promise<Result> {
    return this.#run((database) => inTransaction(database.handle, () => work(database)));
  }

  /** Runs `work`; again, while another connection holds a lock that it needs. */
  async #run<Result>(work: (database: Database) => Result): Promise<Result> {
    const database = this.#database ?? (await this.#opened());
    try {
      return work(database);
    } catch (error) {
      if (!isBusy(error)) throw error;
    }
    return this.#retry(async () => work(await this.#opened()));
  }

  async #retry<Result>(attempt: () => Promise<Result>): Promise<Result> {
    const deadline = this.#clock.now() + PATIENCE;
    if (this.#waiting++ === 0) this.#waitInSqlite(0);
    try {
      for (let pause = FIRST_PAUSE; ; pause = Math.min(2 * pause, LONGEST_PAUSE)) {
        await this.#pause(pause);
        try {
          return await attempt();
        } catch (error) {
          if (!isBusy(error) || this.#clock.now() >= deadline) throw error;
        }
      }
    } finally {
      if (--this.#waiting === 0) this.#waitInSqlite(BLOCKING_WAIT);
    }
  }

  /** Only the first operation that meets a lock blocks the event loop; until the lock is gone the others just look. */
  #waitInSqlite(wait: Duration): void {
    if (typeof this.#source === "string") this.#database?.handle.exec(`PRAGMA busy_timeout = ${wait}`);
  }

  async #pause(length: Duration): Promise<void> {
    const jitter = (randomBytes(1)[0] as number) / 255;
    // The clock does not keep the process alive, and a process must not end before its write was answered.
    const alive = setInterval(() => {}, 60_000);
    await new Promise<void>((resolve) => this.#clock.schedule(resolve, length * (0.5 + jitter / 2)));
    clearInterval(alive);
  }

  async #opened(): Promise<Database> {
    if (this.#closed) throw new Error("the store has been closed");
    this.#opening ??= this.#open();
    try {
      return await this.#opening;
    } catch (error) {
      // The next operation tries again.
      this.#opening = undefined;
      throw error;
    }
  }

  async #open(): Promise<Database> {
    const path = typeof this.#source === "string" ? this.#source : undefined;
    const handle = typeof this.#source === "string" ? await openSqliteFile(this.#source, this.#migrates) : this.#source;
    const prepared = () => {
      if (path !== undefined) setPragmas(handle, this.#synchronous);
      if (this.#migrates) createTable(handle, this.#table);
      return { handle, statements: prepareStatements(handle, this.#table) };
    };
    try {
      let database: Database;
      try {
        database = prepared();
      } catch (error) {
        if (!isBusy(error)) throw error;
        database = await this.#retry(async () => prepared());
      }
      if (!this.#closed) this.#database = database;
      return database;
    } catch (error) {
      if (path !== undefined) handle.close?.();
      throw error;
    }
  }
}

/** SQLite answers at once, so batch after batch would keep the event loop from everything else. */
const otherWork = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

interface Database {
  readonly handle: SqliteHandle;
  readonly statements: Statements;
}

function setPragmas(handle: SqliteHandle, synchronous: "full" | "normal"): void {
  handle.exec(`PRAGMA busy_timeout = ${BLOCKING_WAIT}`);
  handle.exec("PRAGMA journal_mode = WAL");
  handle.exec(`PRAGMA synchronous = ${synchronous}`);
}

/** How many rows a statement changed; drivers may answer with bigint. */
const changes = (result: unknown): number => Number((result as { changes: unknown }).changes);
