// What sessions take on the disk of a database: node bench/store-size.mjs postgres://… | mysql://… | sqlite: [sessions]
// Makes a table or file of its own and removes it. For MongoDB it only adds up the documents: node bench/store-size.mjs mongodb:
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const url = process.argv[2] ?? "";
const count = Number(process.argv[3] ?? 100_000);
const table = `coatcheck_size_${randomBytes(4).toString("hex")}`;
const now = Date.now();

if (/^postgres/.test(url)) await measurePostgres();
else if (/^mysql/.test(url)) await measureMysql();
else if (/^sqlite/.test(url)) await measureSqlite();
else if (/^mongodb/.test(url)) await measureMongodb();
else throw new Error("give the URL of a PostgreSQL or MySQL server, or sqlite: or mongodb:");

async function measurePostgres() {
  const { postgresStore } = await import("coatcheck/postgres");
  const { default: pg } = await import("pg");
  const pool = new pg.Pool({ connectionString: url });
  const one = async (text) => Object.values((await pool.query(text)).rows[0])[0];
  for (const queryable of [true, false]) {
    const ids = await fill(postgresStore(pool, { table, queryable }));
    const report = async (state) => {
      const total = Number(await one(`SELECT pg_total_relation_size('${table}')`));
      const indexes = Number(await one(`SELECT pg_indexes_size('${table}')`));
      print(`queryable: ${queryable}, ${state}`, total, indexes);
    };
    await pool.query(`VACUUM ANALYZE ${table}`);
    await report("as created");
    await update(postgresStore(pool, { table, queryable }), ids);
    await pool.query(`VACUUM ANALYZE ${table}`);
    await report("after two updates of each, vacuumed once");
    await pool.query(`DROP TABLE ${table}, ${table}_schema`);
  }
  await pool.end();
}

async function measureMysql() {
  const { mysqlStore } = await import("coatcheck/mysql");
  const mysql = await import("mysql2/promise");
  const pool = mysql.createPool(url);
  const ids = await fill(mysqlStore(pool, { table }));
  const report = async (state) => {
    await pool.query(`ANALYZE TABLE ${table}`);
    const [[sizes]] = await pool.query(
      "SELECT data_length AS data, index_length AS indexes FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?",
      [table],
    );
    print(state, Number(sizes.data) + Number(sizes.indexes), Number(sizes.indexes));
  };
  await report("as created");
  await update(mysqlStore(pool, { table }), ids);
  await report("after two updates of each");
  await pool.query(`DROP TABLE ${table}, ${table}_schema`);
  await pool.end();
}

async function measureSqlite() {
  const { sqliteStore } = await import("coatcheck/sqlite");
  const folder = mkdtempSync(join(tmpdir(), "coatcheck-bench-"));
  const path = join(folder, "sessions.db");
  const opened = async (work) => {
    const store = sqliteStore(path, { synchronous: "normal" });
    const result = await work(store);
    // Closing brings the write-ahead log into the file.
    await store.close();
    return result;
  };
  const report = (state) => print(state, statSync(path).size);
  const ids = await opened(fill);
  report("as created");
  await opened((store) => update(store, ids));
  report("after two updates of each");
  rmSync(folder, { recursive: true });
}

async function measureMongodb() {
  const { documentOf } = await import(new URL("../dist/stores/mongodb/documents.js", import.meta.url));
  const { BSON } = await import("mongodb");
  let bytes = 0;
  for (let i = 0; i < 1000; i++) bytes += BSON.calculateObjectSize(documentOf(record(i)));
  console.log(`MongoDB: ${Math.round(bytes / 1000)} bytes a document, before compression and without indexes`);
}

async function fill(store) {
  const ids = [];
  for (let done = 0; done < count; done += 500) {
    const batch = Array.from({ length: Math.min(500, count - done) }, (_, i) => record(done + i));
    await Promise.all(batch.map((each) => store.create(each)));
    ids.push(...batch.map(({ id }) => id));
  }
  return ids;
}

async function update(store, ids) {
  for (let version = 1; version <= 2; version++) {
    const patch = { seenAt: now + version, expiresAt: now + version, set: new Map([["cart", cart(3)]]) };
    for (let done = 0; done < ids.length; done += 500)
      await Promise.all(ids.slice(done, done + 500).map((id) => store.update(id, version, patch)));
  }
}

function print(title, total, indexes) {
  const each = (bytes) => Math.round(bytes / count);
  const share = indexes === undefined ? "" : `, ${each(indexes)} of them indexes`;
  console.log(`${title}: ${each(total)} bytes a session${share}; ${((total / count) * 1e-3).toFixed(2)} GB a million`);
}

function cart(lines) {
  return JSON.stringify(
    Array.from({ length: lines }, (_, n) => ({ productId: `product-${n}`, quantity: n, price: 1999 })),
  );
}

/** Somebody who is logged in, has three things in the cart and a theme: about 250 bytes of data. */
function record(i) {
  return {
    id: randomBytes(16).toString("base64url"),
    secretHash: randomBytes(32).toString("base64url"),
    version: 1,
    createdAt: now,
    seenAt: now,
    expiresAt: now + 30 * 60_000,
    userId: `user-${i}`,
    meta: {
      secretAt: now,
      previousSecretHash: randomBytes(32).toString("base64url"),
      authenticatedAt: now,
      methods: ["pwd"],
      remember: false,
      device: {
        userAgent:
          "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36",
        ip: "203.0.113.0",
      },
    },
    data: new Map([
      ["cart", cart(3)],
      ["theme", '"dark"'],
      ["lastVisited", '"/products/17"'],
    ]),
  };
}
