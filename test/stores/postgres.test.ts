import { randomBytes } from "node:crypto";
import { createSessions, headerTransport, type Sessions, seconds } from "coatcheck";
import { type PostgresStatement, type PostgresStoreOptions, postgresStore } from "coatcheck/postgres";
import { openStore } from "coatcheck/stores";
import { type StoreConformanceOptions, storeConformance } from "coatcheck/testing";
import fc from "fast-check";
import pg from "pg";
import { afterAll, describe, expect, it, onTestFinished } from "vitest";
import { newRecord } from "../../src/testing/conformance/scene.ts";
import { describeWithService } from "../services/services.ts";
import { Client, times, type Visit } from "../session/support.ts";
import { countRoundTrips } from "./round-trips.ts";

describe("postgresStore", () => {
  it("refuses names that are not plain identifiers", () => {
    const pool = new pg.Pool();
    for (const name of ["", 'a"b', "a;b", "a b", "a.b", "1a", "é", "a\0", "x".repeat(51), "a'--", "a\nb", {} as string])
      for (const options of [{ table: name }, { schema: name === "x".repeat(51) ? "pg_catalog" : name }])
        expect(() => postgresStore(pool, options)).toThrow(TypeError);
  });

  it("refuses what is neither a URL nor a pool or client, without quoting it", () => {
    for (const source of [
      undefined,
      {},
      5,
      "",
      "mysql://ada:hunter2@db/x",
      "postgres://ada:hunter2@[/x",
      "ada:hunter2",
    ])
      expect(() => postgresStore(source as string)).toThrow(expect.not.stringContaining("hunter2"));
  });
});

describeWithService("postgres", ({ url }) => {
  const schema = `coatcheck_test_${randomBytes(6).toString("hex")}`;
  const pool = new pg.Pool({ connectionString: url, max: 5 });
  const other = new pg.Pool({ connectionString: url, max: 5 });
  let tables = 0;
  const newTable = (): Required<Pick<PostgresStoreOptions, "schema" | "table">> => ({
    schema,
    table: `sessions_${++tables}`,
  });
  const count = async (text: string) => (await pool.query(text)).rows.length;

  afterAll(async () => {
    await pool.query(`DROP SCHEMA IF EXISTS "${schema}" CASCADE`);
    await pool.end();
    await other.end();
  });

  function conformance(one: pg.Pool, second: pg.Pool, options: Partial<StoreConformanceOptions> = {}) {
    return storeConformance({
      createStore() {
        const names = newTable();
        return {
          store: postgresStore(one, names),
          reopen: () => postgresStore(second, names),
          corrupt: (id) => pool.query(`UPDATE "${schema}"."${names.table}" SET texts = '{"a":1}' WHERE id = $1`, [id]),
        };
      },
      ...options,
    });
  }

  describe("SC-05: keeps the store contract", () => {
    it.each(conformance(pool, other))("$name", ({ run }) => run());
  });

  describe("keeps the store contract where transactions are serializable", () => {
    const serializable = new pg.Pool({
      connectionString: url,
      max: 5,
      options: "-c default_transaction_isolation=serializable",
    });
    afterAll(() => serializable.end());
    const races = conformance(serializable, serializable).filter(({ name }) => /parallel|while|against/.test(name));
    it.each(races)("$name", ({ run }) => run());
  });

  countRoundTrips({
    url,
    defaultPort: 5432,
    async open(through) {
      const one = new pg.Pool({ connectionString: through, max: 1 });
      const store = postgresStore(one, { schema, table: "round_trips" });
      await store.migrate();
      return { store, end: () => one.end() };
    },
  });

  describe("takes", () => {
    it("a client", async () => {
      const client = new pg.Client(url);
      await client.connect();
      onTestFinished(() => client.end());
      const store = postgresStore(client, newTable());
      const record = newRecord();
      await store.create(record);
      await store.close?.();
      await expect(store.read(record.id)).rejects.toThrow("closed");
      expect((await client.query("SELECT 1")).rowCount).toBe(1);
    });

    it("a URL, and closes what it opened", async () => {
      const names = newTable();
      const store = postgresStore(`${url}?application_name=${names.table}_${schema}`, names);
      const record = newRecord({ userId: "ada" });
      await store.create(record);
      expect(await store.read(record.id)).toEqual(record);
      const connections = () =>
        count(`SELECT FROM pg_stat_activity WHERE application_name = '${names.table}_${schema}'`.slice(0, 200));
      expect(await connections()).toBe(1);
      await store.close?.();
      await expect.poll(connections).toBe(0);
    });

    it("a URL in openStore", async () => {
      const store = await openStore(`${url}?options=-c%20search_path%3D${schema}`);
      await pool.query(`CREATE SCHEMA IF NOT EXISTS "${schema}"`);
      expect(await store.removeAll()).toBe(0);
      await store.close?.();
    });

    it.each<[string, pg.PoolConfig]>([
      [
        "parsers of its own",
        { types: { getTypeParser: () => () => ({ strange: true }) } as unknown as pg.CustomTypesConfig },
      ],
      ["binary answers", { binary: true } as pg.PoolConfig],
    ])("a pool with %s", async (_, settings) => {
      const strange = new pg.Pool({ connectionString: url, max: 1, ...settings });
      onTestFinished(() => strange.end());
      const store = postgresStore(strange, newTable());
      const record = newRecord({ userId: "ada", data: new Map([["a", "1"]]) });
      await store.create(record);
      expect(await store.update(record.id, 2, {})).toBe("stale");
      expect(await store.update(record.id, 1, {})).toBe("updated");
      const lease = { holder: "me", until: 2 };
      expect(await store.read(record.id, { ...lease, now: 1, secretHash: record.secretHash })).toEqual({
        ...record,
        version: 2,
        lease,
      });
      expect(await store.listByUser("ada")).toHaveLength(1);
      expect(await store.removeByUser("ada")).toBe(1);
    });

    it("a pooler that gives every statement to another connection", async () => {
      const clients = [new pg.Client(url), new pg.Client(url)];
      await Promise.all(clients.map((client) => client.connect()));
      onTestFinished(async () => void (await Promise.all(clients.map((client) => client.end()))));
      let turn = 0;
      const pooler = {
        query: (query: PostgresStatement) => (clients[turn++ % 2] as pg.Client).query(query),
      };
      const store = postgresStore(pooler, newTable());
      const record = newRecord();
      await store.create(record);
      for (let version = 1; version <= 5; version++) {
        const now = record.seenAt + version;
        expect(
          (await store.read(record.id, { holder: "me", now, until: now + 9, secretHash: record.secretHash }))?.version,
        ).toBe(version);
        expect(await store.update(record.id, version, { set: new Map([["n", "1"]]), release: "me" })).toBe("updated");
      }
    });
  });

  describe("migrations", () => {
    it("run twice and beside each other", async () => {
      const names = newTable();
      const stores = Array.from({ length: 8 }, (_, i) => postgresStore(i % 2 ? pool : other, names));
      await Promise.all(stores.map((store) => store.migrate()));
      const record = newRecord();
      await stores[0]?.create(record);
      await Promise.all(stores.map((store) => store.migrate()));
      expect(await stores[1]?.read(record.id)).toEqual(record);
    });

    it("make the schema, beside each other too", async () => {
      const names = { schema: `${schema}_new`, table: "sessions" };
      onTestFinished(async () => void (await pool.query(`DROP SCHEMA IF EXISTS "${names.schema}" CASCADE`)));
      await Promise.all([pool, other, pool, other].map((each) => postgresStore(each, names).migrate()));
      expect(await postgresStore(pool, names).removeAll()).toBe(0);
    });

    it("are left alone when told so", async () => {
      const names = newTable();
      const store = postgresStore(pool, { ...names, migrate: false });
      await expect(store.removeAll()).rejects.toMatchObject({ code: "42P01" });
      await store.migrate();
      expect(await store.removeAll()).toBe(0);
    });

    it("are tried again after a failure", async () => {
      const store = postgresStore(pool, { schema: `${schema}_later`, table: "sessions" });
      onTestFinished(async () => void (await pool.query(`DROP SCHEMA IF EXISTS "${schema}_later" CASCADE`)));
      await pool.query(`CREATE SCHEMA "${schema}_later"; CREATE VIEW "${schema}_later".sessions AS SELECT 1 AS a`);
      await expect(store.removeAll()).rejects.toThrow();
      await pool.query(`DROP VIEW "${schema}_later".sessions`);
      expect(await store.removeAll()).toBe(0);
    });

    it("need no rights when there is nothing to do", async () => {
      const names = newTable();
      await postgresStore(pool, names).migrate();
      const role = `${schema}_role`;
      const client = new pg.Client(url);
      await client.connect();
      onTestFinished(async () => {
        await client.query(`RESET ROLE; DROP OWNED BY "${role}"; DROP ROLE "${role}"`);
        await client.end();
      });
      await client.query(`CREATE ROLE "${role}"; GRANT USAGE ON SCHEMA "${schema}" TO "${role}"`);
      await client.query(`GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA "${schema}" TO "${role}"`);
      await client.query(`SET ROLE "${role}"`);
      const store = postgresStore(client, names);
      const record = newRecord();
      await store.create(record);
      expect(
        (await store.read(record.id, { holder: "me", now: 1, until: 2, secretHash: record.secretHash }))?.lease?.holder,
      ).toBe("me");
      expect(await store.remove(record.id)).toBe(true);
    });

    it("refuse a schema of another release", async () => {
      const names = newTable();
      const store = postgresStore(pool, names);
      await store.migrate();
      await pool.query(`UPDATE "${schema}"."${names.table}_schema" SET version = 99`);
      await expect(postgresStore(pool, names).removeAll()).rejects.toThrow("schema version 99");
    });

    it("quote names, so that reserved words and capitals can be used", async () => {
      for (const table of ["user", "Select", "TABLE"]) {
        const store = postgresStore(pool, { schema, table });
        expect(await store.removeAll()).toBe(0);
        expect(await count(`SELECT FROM pg_tables WHERE schemaname = '${schema}' AND tablename = '${table}'`)).toBe(1);
      }
    });
  });

  it("RN-07: 200 parallel requests of one visitor to two applications are all accepted and counted", async () => {
    const names = newTable();
    await postgresStore(pool, names).migrate();
    const applications = [pool, other].map((each) =>
      createSessions<Visit>({
        store: postgresStore(each, names),
        transport: headerTransport(),
        storeTimeout: seconds(30),
        turns: { wait: seconds(60) },
      }),
    ) as [Sessions<Visit>, Sessions<Visit>];
    const visitor = new Client(applications[0]);
    await visitor.request((session) => session.login("ada"), { method: "POST" });
    const add = (i: number) =>
      new Client(applications[i % 2] as Sessions<Visit>, visitor.token).request(
        (session) => {
          session.data.cart ??= [];
          session.data.cart.push(`thing-${i}`);
        },
        { method: "POST" },
      );
    await Promise.all(times(200, add));
    const cart = await visitor.request((session) => session.data.cart);
    expect(new Set(cart)).toEqual(new Set(times(200, (i) => `thing-${i}`)));
    for (const application of applications) await application.close();
  }, 90_000);

  describe("what operators see", () => {
    it("values as jsonb, whatever visitors put in", async () => {
      const names = newTable();
      const store = postgresStore(pool, names);
      const cart = [{ productId: "mug", quantity: 2, color: "blue" }];
      const deep = `${"[".repeat(5000)}${"]".repeat(5000)}`;
      const record = newRecord({
        userId: "ada",
        data: new Map([
          ["cart", JSON.stringify(cart)],
          ["gone", "true"],
          ["nul\0", '"\\u0000\\ud800"'],
          ["deep", deep],
          ["devalue", "no json"],
        ]),
      });
      await store.create(record);
      await store.create(newRecord());
      const from = `FROM "${schema}"."${names.table}"`;
      expect(await count(`SELECT ${from} WHERE data->'cart' @> '[{"productId": "mug"}]'`)).toBe(1);
      await store.update(record.id, 1, {
        set: new Map([["cart", JSON.stringify([{ productId: "pen" }])]]),
        unset: ["gone", "nul\0"],
      });
      const { rows } = await pool.query(`SELECT data ${from} WHERE user_id = 'ada'`);
      expect(rows).toEqual([{ data: { cart: [{ productId: "pen" }], deep: null, devalue: "no json" } }]);
      expect((await store.read(record.id))?.data.get("deep")).toBe(deep);
    });

    it("nothing, when told so", async () => {
      const names = newTable();
      const store = postgresStore(pool, { ...names, queryable: false });
      const record = newRecord({ data: new Map([["a", "1"]]) });
      await store.create(record);
      await store.update(record.id, 1, { set: new Map([["b", "2"]]), unset: ["a"] });
      expect((await store.read(record.id))?.data).toEqual(new Map([["b", "2"]]));
      expect((await pool.query(`SELECT data FROM "${schema}"."${names.table}"`)).rows).toEqual([{ data: {} }]);
    });
  });

  it("gives back any keys and texts exactly", async () => {
    const store = postgresStore(pool, newTable());
    const text = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.json(),
      fc.string().map((s) => `${s}\0\ud800\u001a\\u0000`),
    );
    const texts = fc.array(fc.tuple(text, text), { maxLength: 6 }).map((entries) => new Map(entries));
    await fc.assert(
      fc.asyncProperty(texts, texts, fc.array(text, { maxLength: 3 }), async (before, set, others) => {
        const record = newRecord({
          data: before,
          meta: { secretAt: 1, flashes: [{ kind: "k", message: others.join() }] },
        });
        await store.create(record);
        const unset = [...others, ...[...before.keys()].slice(0, 2)];
        expect(await store.update(record.id, 1, { set, unset })).toBe("updated");
        const after = new Map([...[...before].filter(([key]) => !unset.includes(key)), ...set]);
        expect(await store.read(record.id)).toEqual({ ...record, version: 2, data: after });
      }),
      { numRuns: 60 },
    );
  }, 60_000);
});
