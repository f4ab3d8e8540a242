import { retryPassing } from "../retry.ts";

/** A pool or connection of `mysql2/promise`, or what behaves like one. */
export interface MysqlPromiseQueryable {
  execute(options: MysqlStatement, values?: (string | number | null)[]): Promise<[unknown, unknown]>;
}

/** A pool or connection of `mysql2` with callbacks. */
export interface MysqlCallbackQueryable {
  promise(): MysqlPromiseQueryable;
}

export type MysqlQueryable = MysqlPromiseQueryable | MysqlCallbackQueryable;

/** A statement with the settings that it needs, whatever those of the pool. */
export interface MysqlStatement {
  sql: string;
  rowsAsArray: boolean;
  nestTables: boolean;
  typeCast: (field: unknown, next: () => unknown) => unknown;
}

/** A pool that the store has opened itself. */
interface OwnPool extends MysqlPromiseQueryable {
  end(): Promise<void>;
}

export type MysqlRow = Record<string, unknown>;

/** ER_LOCK_WAIT_TIMEOUT, ER_LOCK_DEADLOCK, ER_CHECKREAD: the statement was undone, and may be sent again. */
const PASSING = new Set([1205, 1213, 1020]);

/** Rows as the driver gives them by default; were they read otherwise, sound records would look corrupt. */
const PLAIN = { rowsAsArray: false, nestTables: false, typeCast: (_: unknown, next: () => unknown) => next() };

/** Sends single prepared statements over whatever the user gave; each is a transaction of its own. */
export class MysqlConnection {
  readonly #source: string | MysqlPromiseQueryable;
  #opening: Promise<OwnPool> | undefined;
  #closed = false;

  /** @throws TypeError for what is neither a URL nor a pool or connection; the message holds nothing of the URL */
  constructor(source: string | MysqlQueryable) {
    if (typeof source === "string") {
      if (!/^(?:mysql|mariadb):\/\//i.test(source) || !URL.canParse(source))
        throw new TypeError("mysqlStore: a URL begins with mysql:// or mariadb:// and percent-encodes what is special");
      this.#source = source.replace(/^mariadb:/i, "mysql:");
    } else if (typeof (source as Partial<MysqlCallbackQueryable> | undefined)?.promise === "function")
      this.#source = (source as MysqlCallbackQueryable).promise();
    else if (typeof (source as Partial<MysqlPromiseQueryable> | undefined)?.execute === "function")
      this.#source = source as MysqlPromiseQueryable;
    else throw new TypeError("mysqlStore needs a pool or connection of mysql2, or a URL");
  }

  async rows(sql: string, values: (string | number | null)[] = []): Promise<MysqlRow[]> {
    return (await this.#execute(sql, values)) as MysqlRow[];
  }

  /** How many rows the statement found or, for a connection without the flag FOUND_ROWS, changed. */
  async affected(sql: string, values: (string | number | null)[] = []): Promise<number> {
    return Number(((await this.#execute(sql, values)) as { affectedRows?: unknown }).affectedRows ?? 0);
  }

  /** Closes the pool if it was opened here. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const pool = await this.#opening?.catch(() => undefined);
    await pool?.end();
  }

  async #execute(sql: string, values: (string | number | null)[]): Promise<unknown> {
    if (this.#closed) throw new Error("the store has been closed");
    const target = typeof this.#source === "string" ? await this.#pool(this.#source) : this.#source;
    const [result] = await retryPassing(
      (error) => PASSING.has(errnoOf(error)),
      () => target.execute({ sql, ...PLAIN }, values),
    );
    return result;
  }

  #pool(uri: string): Promise<OwnPool> {
    this.#opening ??= openPool(uri);
    return this.#opening;
  }
}

/** The number of a server's error, or 0. */
export const errnoOf = (error: unknown): number => Number((error as { errno?: unknown } | undefined)?.errno ?? 0);

async function openPool(uri: string): Promise<OwnPool> {
  const { createPool } = await importDriver();
  return createPool({ uri, connectTimeout: 5_000, enableKeepAlive: true, keepAliveInitialDelay: 10_000 });
}

async function importDriver(): Promise<typeof import("mysql2/promise")> {
  try {
    return await import("mysql2/promise");
  } catch (cause) {
    throw new Error("mysqlStore with a URL needs the driver: npm install mysql2", { cause });
  }
}
