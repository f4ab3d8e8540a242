import { randomBytes } from "node:crypto";
import type { Revocation } from "coatcheck";
import { type PostgresQueryable, postgresStore } from "coatcheck/postgres";
import type { RevocationLog, SessionStore } from "coatcheck/stores";
import pg from "pg";
import { afterAll, expect, it, onTestFinished } from "vitest";
import { describeWithService } from "../../services/services.ts";
import { startTcpProxy } from "../../services/tcp-proxy.ts";

const everyone = (before: number): Revocation => ({ kind: "everyone", before, until: 9 });

const logOf = (store: SessionStore): RevocationLog => store.revocations as RevocationLog;

/** Watches a log; `next` resolves at the next news. */
function watched(log: RevocationLog) {
  let heard = () => {};
  const next = () =>
    new Promise<void>((resolve) => {
      heard = resolve;
    });
  const first = next();
  const unwatch = log.watch?.(() => heard());
  if (unwatch === undefined) throw new Error("the log tells of no news");
  onTestFinished(() => unwatch());
  return { first, next };
}

/** Who waits for the turn to add an entry. */
const WAITING = `SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
  AND classid::bigint = (hashtext('coatcheck revocations')::bigint & 4294967295)`;

describeWithService("postgres", ({ url }) => {
  const schema = `coatcheck_test_${randomBytes(6).toString("hex")}`;
  const pool = new pg.Pool({ connectionString: url, max: 5 });
  let tables = 0;
  const newTable = () => ({ schema, table: `revocations_${++tables}` });
  const store = (on: PostgresQueryable | string, names = newTable()) => {
    const opened = postgresStore(on, names);
    onTestFinished(() => opened.close?.());
    return logOf(opened);
  };

  afterAll(async () => {
    await pool.query(`DROP SCHEMA IF EXISTS "${schema}" CASCADE`);
    await pool.end();
  });

  it.each(["a pool", "a URL"])("LO-09: %s tells of news again after its connections were cut", async (source) => {
    const names = newTable();
    const proxy = await startTcpProxy(url, 5432);
    const own = new pg.Pool({ connectionString: proxy.url, max: 2 });
    own.on("error", () => {});
    onTestFinished(async () => {
      await own.end();
      await proxy.close();
    });
    const log = store(source === "a URL" ? proxy.url : own, names);
    const other = store(pool, names);
    const { first, next } = watched(log);
    await first;
    const { cursor } = await log.read(undefined);
    const again = next();
    proxy.cut();
    await other.append(everyone(1));
    await again;
    expect((await log.read(cursor).catch(() => log.read(cursor))).entries).toEqual([everyone(1)]);
    const news = next();
    await other.append(everyone(2));
    await news;
    expect((await log.read(undefined)).entries).toEqual([everyone(1), everyone(2)]);
  });

  it("survives that the server ends the connection that listens", async () => {
    const names = { schema, table: `killed_${schema}`.slice(0, 40) };
    const log = store(pool, names);
    const { first, next } = watched(log);
    await first;
    const again = next();
    const { rowCount } = await pool.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'LISTEN "${names.table}_revocations"'`,
    );
    expect(rowCount).toBe(1);
    await again;
    const news = next();
    await log.append(everyone(1));
    await news;
  });

  it("LO-09: an entry whose transaction is slow to end is missed by nobody who read past it", async () => {
    const names = newTable();
    const log = store(pool, names);
    await log.append(everyone(1));
    const { cursor } = await log.read(undefined);
    // What the store does, held back between the number and the commit.
    const slow = await pool.connect();
    onTestFinished(() => slow.release());
    await slow.query("BEGIN");
    await store({ query: (query) => slow.query(query as pg.QueryConfig) }, names).append(everyone(2));
    const second = log.append(everyone(3));
    const waiting = expect
      .poll(async () => (await pool.query(WAITING)).rowCount, { timeout: 10_000 })
      .toBeGreaterThan(0);
    await Promise.race([second, waiting]);
    const during = await log.read(cursor);
    await slow.query("COMMIT");
    await second;
    const after = await log.read(during.cursor);
    expect([...during.entries, ...after.entries]).toEqual([everyone(2), everyone(3)]);
  });

  it("tells of no news over a single client, whose settings nobody knows", async () => {
    const client = new pg.Client(url);
    await client.connect();
    onTestFinished(() => client.end());
    const log = store(client);
    expect(log.watch).toBeUndefined();
    await log.append(everyone(1));
    expect((await log.read(undefined)).entries).toEqual([everyone(1)]);
  });
});
