import { randomBytes } from "node:crypto";
import { type MysqlQueryable, mysqlStore } from "coatcheck/mysql";
import { openStore } from "coatcheck/stores";
import { storeConformance } from "coatcheck/testing";
import fc from "fast-check";
import callbackMysql from "mysql2";
import mysql from "mysql2/promise";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { newRecord } from "../../src/testing/conformance/scene.ts";
import { describeWithService } from "../services/services.ts";
import { countRoundTrips } from "./round-trips.ts";

describe("mysqlStore", () => {
  it("refuses names that are not plain identifiers", () => {
    const pool = { execute: async () => [[], []] as [unknown, unknown] };
    for (const table of [
      "",
      "a`b",
      "a;b",
      "a b",
      "a.b",
      "1a",
      "é",
      "a\0",
      "x".repeat(51),
      "a'--",
      "a\nb",
      {} as string,
    ])
      expect(() => mysqlStore(pool, { table })).toThrow(TypeError);
  });

  it("refuses what is neither a URL nor a pool or connection, without quoting it", () => {
    for (const source of [
      undefined,
      {},
      5,
      "",
      "postgres://ada:hunter2@db/x",
      "mysql://ada:hunter2@[/x",
      "ada:hunter2",
    ])
      expect(() => mysqlStore(source as string)).toThrow(expect.not.stringContaining("hunter2"));
  });
});

describeWithService("mysql", ({ url }) => {
  const database = `coatcheck_test_${randomBytes(6).toString("hex")}`;
  const within = (server: string) => {
    const address = new URL(server);
    address.pathname = `/${database}`;
    return address.href;
  };
  const uri = within(url);
  const pool = mysql.createPool({ uri, connectionLimit: 5 });
  const other = mysql.createPool({ uri, connectionLimit: 5 });
  let tables = 0;
  const newTable = () => ({ table: `sessions_${++tables}` });

  beforeAll(async () => {
    const connection = await mysql.createConnection(url);
    await connection.query(`CREATE DATABASE \`${database}\``);
    await connection.end();
  });

  afterAll(async () => {
    await pool.query(`DROP DATABASE IF EXISTS \`${database}\``);
    await pool.end();
    await other.end();
  });

  function conformance(one: MysqlQueryable, second: MysqlQueryable) {
    const cases = storeConformance({
      createStore() {
        const { table } = newTable();
        return {
          store: mysqlStore(one, { table }),
          reopen: () => mysqlStore(second, { table }),
          corrupt: (id) => pool.execute(`UPDATE \`${table}\` SET texts = '{"a":1}' WHERE id = ?`, [id]),
        };
      },
      skip: { leases: "no statement of MySQL writes a row and answers it" },
    });
    return cases.filter(({ skipped }) => skipped === undefined);
  }

  describe("SC-05: keeps the store contract", () => {
    it.each(conformance(pool, other))("$name", ({ run }) => run());
  });

  describe("keeps the store contract with callbacks, strange settings and without FOUND_ROWS", () => {
    const settings = {
      uri,
      connectionLimit: 5,
      flags: ["-FOUND_ROWS"],
      rowsAsArray: true,
      supportBigNumbers: true,
      bigNumberStrings: true,
      nestTables: true,
      typeCast: () => ({ strange: true }),
    };
    const strange = callbackMysql.createPool(settings);
    afterAll(() => strange.promise().end());
    it.each(conformance(strange, strange))("$name", ({ run }) => run());
  });

  countRoundTrips({
    url,
    defaultPort: 3306,
    async open(through) {
      const one = mysql.createPool({ uri: within(through), connectionLimit: 1 });
      const store = mysqlStore(one, { table: "round_trips" });
      await store.migrate();
      return { store, end: () => one.end() };
    },
  });

  describe("takes", () => {
    it("a connection", async () => {
      const connection = await mysql.createConnection(uri);
      onTestFinished(() => connection.end());
      const store = mysqlStore(connection, newTable());
      const record = newRecord();
      await store.create(record);
      await store.close?.();
      await expect(store.read(record.id)).rejects.toThrow("closed");
      await connection.query("SELECT 1");
    });

    it("a URL of either scheme, and closes what it opened", async () => {
      for (const address of [uri, uri.replace("mysql:", "mariadb:")]) {
        const store = mysqlStore(address, newTable());
        const record = newRecord({ userId: "ada" });
        await store.create(record);
        expect(await store.read(record.id)).toEqual(record);
        await store.close?.();
        await store.close?.();
        await expect(store.read(record.id)).rejects.toThrow("closed");
      }
    });

    it("a URL in openStore", async () => {
      const store = await openStore(uri);
      expect(await store.removeAll()).toBe(0);
      await store.close?.();
    });
  });

  describe("migrations", () => {
    it("run twice and beside each other", async () => {
      const names = newTable();
      const stores = Array.from({ length: 8 }, (_, i) => mysqlStore(i % 2 ? pool : other, names));
      await Promise.all(stores.map((store) => store.migrate()));
      const record = newRecord();
      await stores[0]?.create(record);
      await Promise.all(stores.map((store) => store.migrate()));
      expect(await stores[1]?.read(record.id)).toEqual(record);
    });

    it("are left alone when told so", async () => {
      const store = mysqlStore(pool, { ...newTable(), migrate: false });
      await expect(store.removeAll()).rejects.toMatchObject({ errno: 1146 });
      await store.migrate();
      expect(await store.removeAll()).toBe(0);
    });

    it("are tried again after a failure", async () => {
      const { table } = newTable();
      const store = mysqlStore(pool, { table });
      await pool.query(`CREATE TABLE \`${table}_schema\` (version INT NOT NULL)`);
      await expect(store.removeAll()).rejects.toThrow();
      await pool.query(`DROP TABLE \`${table}_schema\``);
      expect(await store.removeAll()).toBe(0);
    });

    it("refuse a schema of another release", async () => {
      const { table } = newTable();
      await mysqlStore(pool, { table }).migrate();
      await pool.query(`UPDATE \`${table}_schema\` SET version = 99`);
      await expect(mysqlStore(pool, { table }).removeAll()).rejects.toThrow("schema version 99");
    });

    it("quote names, so that reserved words can be used", async () => {
      for (const table of ["user", "select", "table"]) expect(await mysqlStore(pool, { table }).removeAll()).toBe(0);
    });
  });

  it("tells user ids apart whatever the collation makes of them", async () => {
    const store = mysqlStore(pool, newTable());
    for (const userId of [
      "ada",
      "Ada",
      "ada ",
      "ada  ",
      "ädä",
      "ada\0",
      "",
      " ",
      `${"x".repeat(3000)}1`,
      `${"x".repeat(3000)}2`,
    ]) {
      const record = newRecord({ userId });
      await store.create(record);
      expect(await store.listByUser(userId)).toEqual([record]);
    }
  });

  it("gives back any keys and texts exactly", async () => {
    const store = mysqlStore(pool, newTable());
    const text = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.json(),
      fc.string().map((s) => `${s}\0\ud800\u001a\\u0000`),
    );
    const key = fc.oneof(text, fc.constantFrom("a", "A", "á", '"', "\\", "$", ".", "", "a ", "__proto__", "null"));
    const texts = fc.array(fc.tuple(key, text), { maxLength: 12 }).map((entries) => new Map(entries));
    await fc.assert(
      fc.asyncProperty(texts, texts, fc.array(key, { maxLength: 5 }), async (before, set, others) => {
        const record = newRecord({
          data: before,
          meta: { secretAt: 1, flashes: [{ kind: "k", message: others.join() }] },
        });
        await store.create(record);
        const unset = [...others, ...[...before.keys()].slice(0, others.length)];
        expect(await store.update(record.id, 1, { set, unset })).toBe("updated");
        const after = new Map([...[...before].filter(([name]) => !unset.includes(name)), ...set]);
        expect(await store.read(record.id)).toEqual({ ...record, version: 2, data: after });
      }),
      { numRuns: 100 },
    );
  }, 60_000);
});
