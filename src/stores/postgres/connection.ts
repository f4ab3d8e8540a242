import { retryPassing } from "../retry.ts";

/** What a query answers, as far as the store looks at it. */
export interface PostgresResult {
  readonly rows: Record<string, unknown>[];
  readonly rowCount: number | null;
}

export interface PostgresStatement {
  text: string;
  values?: unknown[];
  /** Instead of the parsers of the pool or client. */
  types: { getTypeParser(): (value: string | Buffer) => unknown };
}

/** A `Pool` or a connected `Client` of `pg` 8, or what behaves like one. */
export interface PostgresQueryable {
  query(query: PostgresStatement): Promise<PostgresResult>;
}

/** What is used of a connection of its own that only listens: a `Client` of `pg`. */
export interface PostgresListener {
  connect(): Promise<unknown>;
  query(text: string): Promise<unknown>;
  on(event: "error" | "end" | "notification", listener: () => void): unknown;
  end(): Promise<unknown>;
  unref?(): unknown;
}

/** What makes a `Pool` of `pg` one from whose settings another connection can be made. */
interface SettledPool {
  readonly options: object;
  readonly Client: new (options: object) => PostgresListener;
}

/** A pool that the store has opened itself. */
interface OwnPool extends PostgresQueryable {
  end(): Promise<void>;
}

/** A deadlock, or a conflict of serializable transactions: nothing was done, and the statement may be sent again. */
const PASSING = new Set(["40001", "40P01"]);

/** Every column that the store reads is text; were it parsed otherwise, sound records would look corrupt. */
const types = { getTypeParser: () => String };

/** Sends single statements over whatever the user gave: nothing depends on which session of the server runs them. */
export class PostgresConnection {
  readonly #source: string | PostgresQueryable;
  #opening: Promise<OwnPool> | undefined;
  #closed = false;

  /** @throws TypeError for what is neither a URL nor a pool or client; the message holds nothing of the URL */
  constructor(source: string | PostgresQueryable) {
    if (typeof source === "string") {
      if (!/^postgres(?:ql)?:/i.test(source) || !URL.canParse(source))
        throw new TypeError("postgresStore: a URL begins with postgres: and percent-encodes what is special");
    } else if (typeof source?.query !== "function")
      throw new TypeError("postgresStore needs a Pool or Client of pg, or a URL");
    this.#source = source;
  }

  /** Runs one statement, in a transaction of its own. */
  async query(text: string, values?: unknown[]): Promise<PostgresResult> {
    if (this.#closed) throw new Error("the store has been closed");
    const target = typeof this.#source === "string" ? await this.#pool(this.#source) : this.#source;
    return retryPassing(
      (error) => PASSING.has(codeOf(error)),
      () => target.query(values === undefined ? { text, types } : { text, values, types }),
    );
  }

  /**
   * Makes a connection beside the pool, with the same settings; it is not connected yet. `undefined` for a single client,
   * of which nobody knows the settings.
   */
  get newListener(): (() => Promise<PostgresListener>) | undefined {
    const source = this.#source;
    if (typeof source === "string") return async () => listenerOf((await this.#pool(source)) as unknown as SettledPool);
    return "Client" in source && "options" in source
      ? async () => listenerOf(source as unknown as SettledPool)
      : undefined;
  }

  /** Closes the pool if it was opened here. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const pool = await this.#opening?.catch(() => undefined);
    await pool?.end();
  }

  #pool(url: string): Promise<OwnPool> {
    this.#opening ??= openPool(url);
    return this.#opening;
  }
}

/** The SQLSTATE of a driver's error, or "". */
export const codeOf = (error: unknown): string => String((error as { code?: unknown } | undefined)?.code ?? "");

const listenerOf = ({ Client, options }: SettledPool): PostgresListener => new Client(options);

async function openPool(url: string): Promise<OwnPool> {
  const { default: pg } = await importDriver();
  const pool = new pg.Pool({
    connectionString: url,
    connectionTimeoutMillis: 5_000,
    // A server that is gone without a word must not keep connections for good.
    query_timeout: 30_000,
    keepAlive: true,
  });
  // The pool drops the connection by itself and opens another when one is needed.
  pool.on("error", () => {});
  return pool;
}

async function importDriver(): Promise<typeof import("pg")> {
  try {
    return await import("pg");
  } catch (cause) {
    throw new Error("postgresStore with a URL needs the driver: npm install pg", { cause });
  }
}
