import { type Instant, systemClock } from "../../session/clock.ts";
import { OneByOne } from "../one-by-one.ts";
import type { Revocation, RevocationLog, RevocationPage } from "../revocation-log.ts";
import { newRowId, type RevocationRow, readPage, revocationToText } from "../revocation-rows.ts";
import { type Line, Subscription } from "../subscription.ts";
import { codeOf, type PostgresConnection, type PostgresListener } from "./connection.ts";
import { migratePostgres, type PostgresNames } from "./schema.ts";

const UNDEFINED_TABLE = "42P01";

/**
 * Revocations in a table of their own. Who adds one takes a lock until the end of the transaction and only then a number from
 * the sequence, so rows become visible in the order of their positions. (NOTIFY takes such a lock anyway.)
 *
 * That there is news is notified; the message is empty.
 */
export class PostgresRevocations implements RevocationLog {
  readonly #connection: PostgresConnection;
  readonly #names: PostgresNames;
  readonly #migrates: boolean;
  /** Those who wait for the lock would each keep a connection of the pool. */
  readonly #turns = new OneByOne();
  #migration: Promise<void> | undefined;
  readonly watch?: (news: () => void) => () => Promise<void>;

  constructor(connection: PostgresConnection, names: PostgresNames, migrates: boolean) {
    this.#connection = connection;
    this.#names = names;
    this.#migrates = migrates;
    const { newListener } = connection;
    if (newListener !== undefined)
      this.watch = (news) => {
        const open = async (ended: () => void) => listen(await newListener(), this.#channel, news, ended);
        const subscription = new Subscription(open, news, systemClock);
        return () => subscription.stop();
      };
  }

  /** Makes the table unless it is there, and those of the sessions. */
  async migrate(): Promise<void> {
    await migratePostgres(this.#connection, this.#names);
    const { revocations: table, index } = this.#names;
    try {
      // Without the right to make tables, even CREATE TABLE IF NOT EXISTS fails on one that exists.
      await this.#connection.query(`SELECT FROM ${table} LIMIT 0`);
    } catch (error) {
      if (codeOf(error) !== UNDEFINED_TABLE) throw error;
      await this.#connection.query(`
        SELECT pg_advisory_xact_lock(hashtext('coatcheck'));
        CREATE TABLE IF NOT EXISTS ${table} (
          position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
          until_at bigint NOT NULL,
          id text COLLATE "C" NOT NULL,
          entry text NOT NULL
        );
        CREATE INDEX IF NOT EXISTS ${index("revoked")} ON ${table} (until_at);
      `);
    }
  }

  append(entry: Revocation): Promise<void> {
    return this.#turns.run(() => this.#add(entry));
  }

  read(cursor: string | undefined): Promise<RevocationPage> {
    return readPage(cursor, (position, limit) => this.#rowsFrom(position, limit));
  }

  async removeExpired(now: Instant, limit: number): Promise<number> {
    const { revocations: table } = this.#names;
    const { rowCount } = await this.#query(
      `DELETE FROM ${table} WHERE position IN
         (SELECT position FROM ${table} WHERE until_at <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED)`,
      [now, limit],
    );
    return rowCount ?? 0;
  }

  async #add(entry: Revocation): Promise<void> {
    const { revocations: table } = this.#names;
    await this.#query(
      `WITH turn AS MATERIALIZED (SELECT pg_advisory_xact_lock(hashtext('coatcheck revocations'), hashtext($4::text))),
       added AS (INSERT INTO ${table} (id, until_at, entry) SELECT $1::text, $2::bigint, $3::text FROM turn RETURNING position)
       SELECT pg_notify($4::text, '') FROM added`,
      [newRowId(), entry.until, revocationToText(entry), this.#channel],
    );
  }

  /** Tables of the same name in other schemas share it, and then read once in vain. */
  get #channel(): string {
    const { revocations } = this.#names;
    return revocations.slice(revocations.lastIndexOf('"', revocations.length - 2) + 1, -1);
  }

  async #rowsFrom(position: number, limit: number): Promise<RevocationRow[]> {
    const { rows } = await this.#query(
      // Qualified, because the name alone means the text among the results.
      `SELECT position::text, id, entry FROM ${this.#names.revocations} AS log
       WHERE position >= $1 ORDER BY log.position LIMIT $2`,
      [position, limit],
    );
    return rows.map((row) => ({ position: Number(row.position), id: String(row.id), entry: String(row.entry) }));
  }

  async #query(text: string, values: unknown[]) {
    if (this.#migrates) await this.#migrated();
    return this.#connection.query(text, values);
  }

  #migrated(): Promise<void> {
    this.#migration ??= this.migrate().catch((error) => {
      // The next operation tries again.
      this.#migration = undefined;
      throw error;
    });
    return this.#migration;
  }
}

async function listen(
  listener: PostgresListener,
  channel: string,
  heard: () => void,
  ended: () => void,
): Promise<Line> {
  // Without a listener for errors, a connection that breaks would end the process.
  for (const event of ["error", "end"] as const) listener.on(event, ended);
  listener.on("notification", heard);
  const close = () => void listener.end().catch(() => {});
  try {
    await listener.connect();
    await listener.query(`LISTEN "${channel}"`);
  } catch (error) {
    close();
    throw error;
  }
  listener.unref?.();
  return { ping: () => listener.query("SELECT"), close };
}
