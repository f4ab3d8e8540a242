import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "libsql";
import { MongoClient } from "mongodb";
import pg from "pg";
import { createClient } from "redis";
import { afterAll, afterEach, beforeAll, describe, vi } from "vitest";
import { describeWithService } from "../../services/services.ts";
import type { SessionPackage, Untyped } from "./support.ts";

const require = createRequire(import.meta.url);
/** In the names of all that these tests leave in a shared server for a while. */
const own = `coatcheck_test_${process.pid}_${randomBytes(3).toString("hex")}`;

/** Makes a store for one package, on the same data as for the other. */
export type MakeStore = (session: SessionPackage) => Untyped;

/** Describes the same for the stores that applications of express-session have, each the real package. */
export function describeRealStores(suite: (makeStore: MakeStore, name: string) => void): void {
  describeWithService("redis", ({ url }) => {
    const { RedisStore } = require("connect-redis");
    const client = createClient({ url });
    beforeAll(async () => {
      await client.connect();
    });
    afterAll(async () => {
      await new RedisStore({ client, prefix: `${own}:` }).clear();
      client.destroy();
    });

    describe("connect-redis", () => {
      suite(() => new RedisStore({ client, prefix: `${own}:` }), "connect-redis");
    });
  });

  describeWithService("postgres", ({ url }) => {
    const pool = new pg.Pool({ connectionString: url, max: 4 });
    beforeAll(async () => {
      await pool.query(`CREATE SCHEMA ${own}`);
    });
    afterAll(async () => {
      await pool.query(`DROP SCHEMA ${own} CASCADE`);
      await pool.end();
    });

    describe("connect-pg-simple", () => {
      const stores = new Map<SessionPackage, Untyped>();
      suite((of) => {
        const Store = require("connect-pg-simple")(of);
        const options = { pool, schemaName: own, createTableIfMissing: true, pruneSessionInterval: false };
        const store = stores.get(of) ?? new Store(options);
        stores.set(of, store);
        return store;
      }, "connect-pg-simple");
    });
  });

  describeWithService("mongodb", ({ url }) => {
    const { MongoStore } = require("connect-mongo");
    const client = new MongoClient(url);
    afterAll(async () => {
      await client.db(own).dropDatabase();
      await client.close();
    });

    describe("connect-mongo", () => {
      let store: Untyped;
      suite(() => {
        store ??= MongoStore.create({ client, dbName: own, autoRemove: "disabled" });
        return store;
      }, "connect-mongo");
    });
  });

  describe("session-file-store", () => {
    const path = mkdtempSync(join(tmpdir(), `${own}-`));
    afterAll(() => rmSync(path, { recursive: true, force: true }));
    suite((of) => {
      const Store = require("session-file-store")(of);
      return new Store({ path, retries: 0, reapInterval: -1, logFn: () => {} });
    }, "session-file-store");
  });

  describe("better-sqlite3-session-store, with libsql as its client", () => {
    const folder = mkdtempSync(join(tmpdir(), `${own}-`));
    const client = new Database(join(folder, "sessions.db"));
    const timers: NodeJS.Timeout[] = [];
    afterEach(() => {
      for (const timer of timers.splice(0)) clearInterval(timer);
    });
    afterAll(() => {
      client.close();
      rmSync(folder, { recursive: true, force: true });
    });
    suite((of) => {
      const Store = require("better-sqlite3-session-store")(of);
      // It begins a clean-up that it cannot be told to end.
      const spy = vi.spyOn(globalThis, "setInterval");
      const store = new Store({ client, expired: { clear: true, intervalMs: 900_000 } });
      timers.push(...spy.mock.results.map(({ value }) => value));
      spy.mockRestore();
      return store;
    }, "better-sqlite3-session-store");
  });
}
