import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "libsql";
import { MongoClient } from "mongodb";
import pg from "pg";
import { createClient } from "redis";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { describeWithService } from "../../services/services.ts";
import {
  genuine,
  type Handler,
  idIn,
  type Kind,
  kinds,
  lab,
  packages,
  type SessionPackage,
  type Untyped,
} from "./support.ts";

const require = createRequire(import.meta.url);
const [, { session }] = packages;
/** In the names of all that these tests leave in a shared server for a while. */
const own = `coatcheck_test_${process.pid}_${randomBytes(3).toString("hex")}`;

/** Makes a store for one package, on the same data as for the other. */
type MakeStore = (session: SessionPackage) => Untyped;

const app: Handler = (request, response, next) => {
  const done = (error?: unknown) => (error ? next(error) : response.end(JSON.stringify(request.session ?? null)));
  switch (request.url) {
    case "/read":
      return done();
    case "/login":
      return request.session.regenerate((error: unknown) => {
        if (error) return next(error);
        request.session.user = { name: "bob" };
        done();
      });
    case "/logout":
      return request.session.destroy(done);
    case "/reload":
      request.session.n = "forgotten";
      return request.session.reload(done);
    case "/short":
      request.session.cookie.maxAge = 60_000;
      request.session.short = true;
      return done();
    default:
      request.session.n = (request.session.n ?? 0) + 1;
      return done();
  }
};

/** What every store has to do, for applications and with sessions of the genuine package. */
function storeSuite(makeStore: MakeStore): void {
  const at = async (of: SessionPackage, kind: Kind = "Express 5") => {
    const store = makeStore(of);
    const served = await lab(of, kind).serve({ store, cookie: { maxAge: 3_600_000 } }, app);
    const get = async (path: string, cookie?: string) => {
      const answer = await served.get(path, cookie);
      expect([answer.status, served.errors]).toEqual([200, []]);
      return { ...answer, data: JSON.parse(answer.body) };
    };
    return { get, store };
  };

  it.each(kinds)("keeps sessions (%s)", async (kind) => {
    const { get } = await at(session, kind);
    const first = await get("/");
    expect(first.data.n).toBe(1);
    expect((await get("/", first.cookie)).data.n).toBe(2);
    const read = await get("/read", first.cookie);
    expect(read.data.n).toBe(2);
    expect(read.setCookies).toEqual([]);
    expect((await get("/reload", first.cookie)).data.n).toBe(2);
  });

  it("changes the id at login, and removes the session at logout", async () => {
    const { get } = await at(session);
    const first = await get("/");
    const login = await get("/login", first.cookie);
    expect(idIn(login)).not.toBe(idIn(first));
    expect((await get("/read", first.cookie)).data.n).toBeUndefined();
    expect((await get("/read", login.cookie)).data.user).toEqual({ name: "bob" });
    expect((await get("/logout", login.cookie)).data).toBeNull();
    expect((await get("/read", login.cookie)).data.user).toBeUndefined();
  });

  it("keeps what expires when, and prolongs it", async () => {
    const { get } = await at(session);
    const { cookie } = await get("/");
    await get("/short", cookie);
    const read = await get("/read", cookie);
    expect(read.data.cookie.originalMaxAge).toBe(60_000);
    expect(Date.parse(read.data.cookie.expires)).toBeLessThan(Date.now() + 60_001);
  });

  it("gives sessions with promises", async () => {
    const store = makeStore(session);
    const served = await lab(session, "Express 5").serve({ store }, async (request, response) => {
      request.session.n = 1;
      await request.session.save();
      await request.session.regenerate();
      request.session.n = 2;
      await request.session.save();
      await request.session.reload();
      response.end(`${request.session.n} ${request.session instanceof session.Session}`);
    });
    expect(await served.get()).toMatchObject({ status: 200, body: "2 true" });
  });

  it("shares sessions with the genuine package, both ways", async () => {
    const theirs = await at(genuine);
    const ours = await at(session);
    const login = await theirs.get("/login");
    expect((await ours.get("/read", login.cookie)).data.user).toEqual({ name: "bob" });
    expect((await ours.get("/", login.cookie)).data.n).toBe(1);
    expect((await theirs.get("/", login.cookie)).data).toMatchObject({ n: 2, user: { name: "bob" } });
    const back = await ours.get("/login");
    expect((await theirs.get("/read", back.cookie)).data.user).toEqual({ name: "bob" });
    await ours.get("/logout", back.cookie);
    expect((await theirs.get("/read", back.cookie)).data.user).toBeUndefined();
  });

  it("does not lose an addition with turns", async () => {
    const store = makeStore(session);
    const served = await lab(session, "Express 5").serve({ store, concurrency: "turns" }, app);
    const { cookie } = await served.get();
    await Promise.all(Array.from({ length: 20 }, () => served.send("/", { method: "POST", cookie })));
    expect(JSON.parse((await served.get("/read", cookie)).body).n).toBe(21);
  });
}

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
    storeSuite(() => new RedisStore({ client, prefix: `${own}:` }));

    it("expires with the cookie, also when nothing changed", async () => {
      const store = new RedisStore({ client, prefix: `${own}:` });
      const served = await lab(session, "Express 5").serve({ store, cookie: { maxAge: 3_600_000 } }, app);
      const first = await served.get();
      const key = `${own}:${idIn(first)}`;
      await client.expire(key, 10);
      await served.get("/read", first.cookie);
      expect(await client.ttl(key)).toBeGreaterThan(3590);
    });
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
    storeSuite((of) => {
      const Store = require("connect-pg-simple")(of);
      const options = { pool, schemaName: own, createTableIfMissing: true, pruneSessionInterval: false };
      const store = stores.get(of) ?? new Store(options);
      stores.set(of, store);
      return store;
    });
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
    storeSuite(() => {
      store ??= MongoStore.create({ client, dbName: own, autoRemove: "disabled" });
      return store;
    });
  });
});

describe("session-file-store", () => {
  const path = mkdtempSync(join(tmpdir(), `${own}-`));
  afterAll(() => rmSync(path, { recursive: true, force: true }));
  storeSuite((of) => {
    const Store = require("session-file-store")(of);
    return new Store({ path, retries: 0, reapInterval: -1, logFn: () => {} });
  });
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
  storeSuite((of) => {
    const Store = require("better-sqlite3-session-store")(of);
    // It begins a clean-up that it cannot be told to end.
    const spy = vi.spyOn(globalThis, "setInterval");
    const store = new Store({ client, expired: { clear: true, intervalMs: 900_000 } });
    timers.push(...spy.mock.results.map(({ value }) => value));
    spy.mockRestore();
    return store;
  });
});
