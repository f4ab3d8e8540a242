import { spawn } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { builtinModules } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { createSessions, minutes } from "coatcheck";
import { type SqliteHandle, type SqliteStoreOptions, sqliteStore } from "coatcheck/sqlite";
import type { SessionRecord, SessionStore } from "coatcheck/stores";
import { signedInCookie, storeConformance, TestClock } from "coatcheck/testing";
import Database from "libsql";
import { afterAll, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { NOW, newRecord } from "../../src/testing/conformance/scene.ts";

const root = mkdtempSync(join(tmpdir(), "coatcheck-sqlite-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

let files = 0;
const newPath = (): string => join(root, `${++files}.db`);

/** A connection of the test's own. */
function connect(path: string): SqliteHandle {
  const handle = new Database(path) as unknown as SqliteHandle;
  onTestFinished(() => void handle.close?.());
  return handle;
}

function open(path: string | SqliteHandle, options?: SqliteStoreOptions): SessionStore {
  const store = sqliteStore(path, options);
  onTestFinished(async () => store.close?.());
  return store;
}

async function all(store: SessionStore): Promise<SessionRecord[]> {
  const records: SessionRecord[] = [];
  for await (const record of store.all()) records.push(record);
  return records;
}

describe("SC-05: a path keeps the store contract", () => {
  const cases = storeConformance({
    createStore() {
      const path = newPath();
      return {
        store: sqliteStore(path),
        reopen: () => sqliteStore(path),
        corrupt: (id) => connect(path).prepare("UPDATE coatcheck_sessions SET data = '{' WHERE id = ?").run(id),
      };
    },
  });
  for (const { name, run } of cases) it(name, run);
});

describe("SC-05: an open handle keeps the store contract", () => {
  const cases = storeConformance({
    createStore() {
      const path = newPath();
      const handle = new Database(path) as unknown as SqliteHandle;
      handle.exec("PRAGMA journal_mode = WAL");
      handle.exec("PRAGMA synchronous = NORMAL");
      return {
        store: sqliteStore(handle, { table: "visits" }),
        reopen: () => sqliteStore(path, { table: "visits" }),
        corrupt: (id) => handle.prepare("UPDATE visits SET meta = 'x' WHERE id = ?").run(id),
        close: () => handle.close?.(),
      };
    },
  });
  for (const { name, run } of cases) it(name, run);
});

describe("SC-05: a file without WAL and safe integers keeps the store contract", () => {
  const cases = storeConformance({
    createStore() {
      const path = newPath();
      const database = new Database(path);
      database.defaultSafeIntegers(true);
      database.exec("PRAGMA synchronous = OFF");
      return { store: sqliteStore(database as unknown as SqliteHandle), close: () => database.close() };
    },
    skip: { reopen: "covered by the other handles", corrupt: "covered by the other handles" },
  });
  for (const { name, run } of cases.filter(({ skipped }) => skipped === undefined)) it(name, run);
});

if (builtinModules.includes("node:sqlite") || process.getBuiltinModule?.("node:sqlite") !== undefined)
  describe("SC-05: a handle of node:sqlite keeps the store contract", () => {
    const { DatabaseSync } = process.getBuiltinModule("node:sqlite") as unknown as {
      DatabaseSync: new (path: string) => SqliteHandle;
    };
    const cases = storeConformance({
      createStore() {
        const path = newPath();
        const handle = new DatabaseSync(path);
        handle.exec("PRAGMA journal_mode = WAL");
        return {
          store: sqliteStore(handle),
          reopen: () => sqliteStore(path),
          corrupt: (id) => handle.prepare("UPDATE coatcheck_sessions SET meta = 'x' WHERE id = ?").run(id),
          close: () => handle.close?.(),
        };
      },
    });
    for (const { name, run } of cases) it(name, run);
  });

describe("opening", () => {
  it("makes the file and its folder at the first use, not before", async () => {
    const path = join(root, "made", "on", "demand.db");
    const store = open(path);
    expect(existsSync(join(root, "made"))).toBe(false);
    expect(await store.read(newRecord().id)).toBeUndefined();
    expect(existsSync(path)).toBe(true);
  });

  it("keeps an in-memory database for the life of the store", async () => {
    const store = open(":memory:");
    const record = newRecord();
    await store.create(record);
    expect(await store.read(record.id)).toEqual(record);
    expect(existsSync(":memory:")).toBe(false);
  });

  it("lets stores that open a new file at once do so one after the other", async () => {
    const path = newPath();
    const stores = Array.from({ length: 8 }, () => open(path));
    const records = stores.map(() => newRecord());
    await Promise.all(stores.map((store, i) => store.create(records[i] as SessionRecord)));
    expect(await all(stores[0] as SessionStore)).toHaveLength(8);
  });

  it("rejects when the file cannot be opened, and tries again at the next use", async () => {
    const blocker = join(root, "blocker");
    writeFileSync(blocker, "a file where a folder should be");
    const store = open(join(blocker, "sessions.db"));
    await expect(store.read(newRecord().id)).rejects.toThrow();
    rmSync(blocker);
    expect(await store.read(newRecord().id)).toBeUndefined();
  });

  it("rejects a file that is no database", async () => {
    const path = newPath();
    writeFileSync(path, "This is not a database, whatever its name says. ".repeat(100));
    await expect(open(path).read(newRecord().id)).rejects.toThrow();
  });

  it("puts the file in WAL mode and waits for the disk by default", async () => {
    const path = newPath();
    await open(path).removeAll();
    expect(connect(path).prepare("PRAGMA journal_mode").get()).toMatchObject({ journal_mode: "wal" });
  });

  it("refuses a table that a newer release has made", async () => {
    const path = newPath();
    await open(path).removeAll();
    connect(path).exec("UPDATE coatcheck_sessions_schema SET version = 2");
    await expect(open(path).removeAll()).rejects.toThrow(/schema version 2/);
  });

  it("leaves the application's own tables and user_version alone", async () => {
    const handle = connect(newPath());
    handle.exec("CREATE TABLE users (name TEXT); INSERT INTO users VALUES ('ada'); PRAGMA user_version = 17");
    const store = open(handle);
    await store.create(newRecord());
    await store.removeAll();
    expect(handle.prepare("PRAGMA user_version").get()).toMatchObject({ user_version: 17 });
    expect(handle.prepare("SELECT name FROM users").all()).toMatchObject([{ name: "ada" }]);
  });

  it("SC-03: two tables of one file do not see each other", async () => {
    const path = newPath();
    const [shop, blog] = [open(path, { table: "shop" }), open(path, { table: "blog" })];
    const record = newRecord({ userId: "ada" });
    await shop.create(record);
    expect(await blog.read(record.id)).toBeUndefined();
    expect(await blog.listByUser("ada")).toEqual([]);
    expect(await blog.removeAll()).toBe(0);
    expect(await shop.read(record.id)).toEqual(record);
  });

  it("SC-03: refuses what cannot be the name of a table", () => {
    for (const table of ["", "1a", "a b", 'a"; DROP TABLE x; --', "a.b", "sqlite_master", "é", "x".repeat(64), "a\n"])
      expect(() => sqliteStore(newPath(), { table }), table).toThrow(TypeError);
  });

  it("takes a keyword as the name of a table", async () => {
    expect(await open(newPath(), { table: "Order" }).removeAll()).toBe(0);
  });

  it("refuses what is neither a path nor a handle, and options that do not fit", () => {
    for (const source of ["", "a\0b", "https://example.com/a.db", undefined, {}, 7])
      expect(() => sqliteStore(source as string)).toThrow(TypeError);
    expect(() => sqliteStore(newPath(), { synchronous: "off" as "full" })).toThrow(TypeError);
    expect(() => sqliteStore(connect(":memory:"), { synchronous: "normal" })).toThrow(/handle/);
  });

  it("names the packages to install when there is no driver", async () => {
    const folder = join(root, "without-packages");
    cpSync(builtPackage(), join(folder, "dist"), { recursive: true });
    writeFileSync(join(folder, "package.json"), '{"type":"module"}');
    const url = pathToFileURL(join(folder, "dist", "stores", "sqlite.js"));
    const script =
      `const { sqliteStore } = await import(${JSON.stringify(url.href)});` +
      "await sqliteStore(':memory:').removeAll().then((n) => console.log('removed', n), (e) => console.log(e.message));";
    const child = spawn(process.execPath, ["--no-warnings", "--input-type=module", "-e", script], { cwd: folder });
    let output = "";
    for await (const chunk of child.stdout) output += chunk;
    const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
    const hasDriver = major > 22 || (major === 22 && minor >= 13);
    expect(output).toMatch(hasDriver ? /^removed 0/ : /npm install libsql, or better-sqlite3, or use Node 22\.13/);
  });
});

describe("closing", () => {
  it("gives the file back, and refuses to work afterwards", async () => {
    const path = newPath();
    const store = sqliteStore(path);
    const record = newRecord();
    await store.create(record);
    await store.close?.();
    await store.close?.();
    await expect(store.read(record.id)).rejects.toThrow(/closed/);
    await expect(store.update(record.id, 1, {})).rejects.toThrow(/closed/);
    expect(await open(path).read(record.id)).toEqual(record);
  });

  it("leaves a handle that was passed in open", async () => {
    const handle = connect(newPath());
    const store = sqliteStore(handle);
    await store.create(newRecord());
    await store.close?.();
    await expect(store.removeAll()).rejects.toThrow(/closed/);
    expect(handle.prepare("SELECT count(*) AS n FROM coatcheck_sessions").get()).toMatchObject({ n: 1 });
  });

  it("opens nothing when nothing was used", async () => {
    const path = newPath();
    await sqliteStore(path).close?.();
    expect(existsSync(path)).toBe(false);
  });

  it("waits for an opening that is under way", async () => {
    const store = sqliteStore(newPath());
    const outcome = store.removeAll().catch((error: Error) => error.message);
    await store.close?.();
    await outcome;
    await expect(store.removeAll()).rejects.toThrow(/closed/);
  });
});

describe("another connection holds the write lock", () => {
  let path: string;
  let other: SqliteHandle;
  let clock: TestClock;
  let store: SessionStore;
  const record = newRecord();

  beforeEach(async () => {
    path = newPath();
    clock = new TestClock();
    store = open(path, { clock });
    await store.create(record);
    other = connect(path);
    other.exec("BEGIN IMMEDIATE");
  });

  it("a write is tried again until the lock is gone", async () => {
    const outcome = store.update(record.id, 1, { set: new Map([["a", "1"]]) });
    await clock.advance(500);
    expect(clock.pending).toBe(1);
    other.exec("COMMIT");
    await clock.advance(100);
    expect(await outcome).toBe("updated");
    expect(clock.pending).toBe(0);
  });

  it("a write rejects after 1.5 seconds, having changed nothing, and the next one works", async () => {
    const outcome = expect(store.update(record.id, 1, { userId: "ada" })).rejects.toThrow(/locked/);
    await clock.advance(1400);
    expect(clock.pending).toBe(1);
    await clock.advance(200);
    await outcome;
    expect(clock.pending).toBe(0);
    other.exec("COMMIT");
    expect(await store.read(record.id)).toEqual(record);
    expect(await store.update(record.id, 1, { userId: "ada" })).toBe("updated");
  });

  it("reads go on", async () => {
    expect(await store.read(record.id)).toEqual(record);
    expect(await all(store)).toEqual([record]);
    other.exec("COMMIT");
  });

  it("many writes that wait block the event loop no longer than one", async () => {
    const began = performance.now();
    const writes = Array.from({ length: 30 }, (_, i) => store.touch(record.id, NOW + i, NOW));
    // 30 waits inside SQLite would take 3 seconds.
    expect(performance.now() - began).toBeLessThan(1000);
    other.exec("COMMIT");
    await clock.advance(100);
    expect(await Promise.all(writes)).toEqual(Array(30).fill(true));
    expect((await store.read(record.id))?.seenAt).toBe(NOW + 29);
  });

  it("a write that waits is refused when the store is closed", async () => {
    const outcome = expect(store.removeAll()).rejects.toThrow(/closed/);
    await store.close?.();
    await clock.advance(100);
    await outcome;
    other.exec("COMMIT");
    expect(await open(path).read(record.id)).toEqual(record);
  });

  it("a store that opens waits too", async () => {
    const late = open(path, { clock });
    const found = late.read(record.id);
    await clock.advance(100);
    other.exec("COMMIT");
    while (clock.pending === 0 && (await settled(found)) === "waiting") await clock.advance(0);
    await clock.advance(100);
    expect(await found).toEqual(record);
  });
});

/** Whether a promise has settled by the next turn of the event loop. */
const settled = (promise: Promise<unknown>): Promise<unknown> =>
  Promise.race([promise, new Promise((resolve) => setImmediate(resolve, "waiting"))]);

describe("several processes", () => {
  const script = fileURLToPath(new URL("./sqlite-incrementer.mjs", import.meta.url));
  const start = (path: string, id: string, times: number, stdio: "inherit" | "ignore" = "inherit") => {
    const module = pathToFileURL(join(builtPackage(), "stores", "sqlite.js")).href;
    const child = spawn(process.execPath, [script, module, path, id, String(times)], { stdio });
    return new Promise((resolve) => child.once("exit", (code, signal) => resolve(signal ?? code)));
  };

  it("RN-07: processes that write to one session at once lose no increment", async () => {
    const path = newPath();
    const store = open(path);
    const record = newRecord();
    await store.create(record);
    expect(await Promise.all(Array.from({ length: 4 }, () => start(path, record.id, 100)))).toEqual([0, 0, 0, 0]);
    expect(await store.read(record.id)).toMatchObject({ version: 401, data: new Map([["n", "400"]]) });
  });

  it("a process that waits for the lock lives until its write was answered", async () => {
    const path = newPath();
    const store = open(path);
    const record = newRecord();
    await store.create(record);
    const other = connect(path);
    other.exec("BEGIN IMMEDIATE");
    // 1: the write was rejected after 1.5 seconds. 13 would be: the process ended because nothing kept it alive.
    expect(await start(path, record.id, 1, "ignore")).toBe(1);
    other.exec("COMMIT");
    expect(await store.read(record.id)).toEqual(record);
  });
});

describe("a handle with a transaction of the application", () => {
  it("refuses writes, so that the application cannot undo what was acknowledged", async () => {
    const handle = connect(newPath());
    const store = open(handle);
    const record = newRecord();
    await store.create(record);
    handle.exec("BEGIN");
    await expect(store.create(newRecord())).rejects.toThrow(/transaction/);
    await expect(store.touch(record.id, NOW + 1, NOW)).rejects.toThrow(/transaction/);
    await expect(store.remove(record.id)).rejects.toThrow(/transaction/);
    handle.exec("ROLLBACK");
    expect(await all(store)).toEqual([record]);
    expect(await store.remove(record.id)).toBe(true);
  });
});

describe("texts", () => {
  it("keeps lone surrogates apart in data and user ids", async () => {
    const store = open(newPath());
    const [first, second] = ["a\ud800", "a\ufffd"].map((text) =>
      newRecord({
        userId: text,
        data: new Map([
          [text, JSON.stringify(text)],
          ["b", text],
        ]),
      }),
    ) as [SessionRecord, SessionRecord];
    await store.create(first);
    await store.create(second);
    expect(await store.listByUser("a\ud800")).toEqual([first]);
    expect(await store.listByUser("a\ufffd")).toEqual([second]);
  });

  it("writes an ordinary user id as it is, for the application's own queries", async () => {
    const path = newPath();
    await open(path).create(newRecord({ userId: "ada@example.com" }));
    expect(connect(path).prepare("SELECT user_id FROM coatcheck_sessions").get()).toMatchObject({
      user_id: "ada@example.com",
    });
  });
});

describe("SC-03: a row that was tampered with", () => {
  const spoilt = {
    "data is no JSON": "data = 'x'",
    "data is a list": "data = '[]'",
    "data is null": "data = 'null'",
    "data holds something else than texts": `data = '{"a":1}'`,
    "data is a blob": "data = x'00ff'",
    "meta is no JSON": "meta = '{\"secretAt\":'",
    "meta is null": "meta = 'null'",
    "meta lacks the time of the secret": "meta = '{}'",
    "the version is a text": "version = 'many'",
    "the deadline is a text": "expires_at = 'never'",
    "the hash is a blob": "secret_hash = x'00'",
    "the user is half a JSON text": "user_id = '\"ada'",
  };
  for (const [what, assignment] of Object.entries(spoilt))
    it(`is corrupt, and no listing stops at it: ${what}`, async () => {
      const path = newPath();
      const store = open(path);
      const [record, sound] = [newRecord({ userId: "ada" }), newRecord({ userId: "ada" })];
      await store.create(record);
      await store.create(sound);
      connect(path).prepare(`UPDATE coatcheck_sessions SET ${assignment} WHERE id = ?`).run(record.id);
      await expect(store.read(record.id)).rejects.toMatchObject({ code: "corrupt_record" });
      await expect(store.read(record.id)).rejects.not.toHaveProperty("cause");
      expect(await store.listByUser("ada")).toEqual([sound]);
      expect(await all(store)).toEqual([sound]);
      expect(await store.remove(record.id)).toBe(true);
    });

  it("makes an anonymous request and an event, not an error", async () => {
    const path = newPath();
    const clock = new TestClock();
    const sessions = createSessions({ store: open(path), clock });
    const { headers, sessionId } = await signedInCookie(sessions, "ada");
    connect(path).exec('UPDATE coatcheck_sessions SET data = \'{"__proto__":{"admin":true}}\'');
    const events: string[] = [];
    sessions.on("corruptRecord", ({ type }) => events.push(type));
    const { session } = await sessions.open({
      method: "GET",
      header: (name) => (name === "cookie" ? headers.Cookie : undefined),
      secure: true,
      host: "localhost",
      ip: undefined,
    });
    expect(session.userId).toBeUndefined();
    expect(session.id).not.toBe(sessionId);
    expect(events).toEqual(["corruptRecord"]);
  });
});

describe("what is on the disk", () => {
  it("SC-01: does not hold the secret, and none of its values opens the session", async () => {
    const path = newPath();
    const sessions = createSessions({ store: open(path) });
    const { headers, sessionId } = await signedInCookie(sessions, "ada");
    const [name, token = ""] = (headers.Cookie as string).split("=");
    const secret = token.split(".")[1] as string;
    const folder = join(path, "..");
    const bytes = readdirSync(folder)
      .filter((file) => join(folder, file).startsWith(path))
      .map((file) => readFileSync(join(folder, file), "latin1"))
      .join("");
    expect(bytes).toContain(sessionId);
    expect(bytes).not.toContain(secret);

    const row = connect(path).prepare("SELECT * FROM coatcheck_sessions").get() as Record<string, unknown>;
    const stored = JSON.stringify(row).match(/[\w-]{22,}/g) ?? [];
    expect(stored.length).toBeGreaterThan(1);
    for (const value of stored.flatMap((text) => [text, `${sessionId}.${text}`])) {
      const { session } = await sessions.open({
        method: "GET",
        header: (header) => (header === "cookie" ? `${name}=${value}` : undefined),
        secure: true,
        host: "localhost",
        ip: undefined,
      });
      expect(session.userId).toBeUndefined();
    }
    await sessions.close();
  });

  it("SC-07: 100,000 expired sessions are removed in batches, and requests come in between", async () => {
    const path = newPath();
    const clock = new TestClock(NOW);
    const store = open(path, { synchronous: "normal" });
    const living = newRecord({ expiresAt: NOW + minutes(1) });
    await store.create(living);
    connect(path).exec(
      `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
       INSERT INTO coatcheck_sessions (id, secret_hash, version, created_at, seen_at, expires_at, user_id, meta, data)
       SELECT printf('%022d', i), 'h', 1, 0, 0, ${NOW} - i, 'user-' || i % 1000, '{"secretAt":0}', '{}' FROM n`,
    );
    const sessions = createSessions({ store, clock });
    let reads = 0;
    let cleaning = true;
    const requests = (async () => {
      while (cleaning) {
        expect(await store.read(living.id)).toEqual(living);
        reads++;
        await new Promise((resolve) => setImmediate(resolve));
      }
    })();
    expect(await sessions.cleanUp()).toBe(100_000);
    cleaning = false;
    await requests;
    expect(reads).toBeGreaterThan(100);
    expect(await all(store)).toEqual([living]);
  });

  it("every acknowledged write is there after the process was killed", async () => {
    const path = newPath();
    const record = newRecord();
    const store = open(path);
    await store.create(record);
    const script = fileURLToPath(new URL("./sqlite-writer.mjs", import.meta.url));
    const module = pathToFileURL(join(builtPackage(), "stores", "sqlite.js")).href;
    for (let round = 0; round < 3; round++) {
      await store.update(record.id, (await store.read(record.id))?.version ?? 0, { unset: ["n"] });
      const fresh = newRecord();
      await store.create(fresh);
      const child = spawn(process.execPath, [script, module, path, fresh.id], { stdio: ["ignore", "pipe", "inherit"] });
      const exited = new Promise((resolve) => child.once("exit", (_code, signal) => resolve(signal)));
      let printed = "";
      for await (const chunk of child.stdout) {
        printed += chunk;
        if (printed.length > 500 && !child.killed) child.kill("SIGKILL");
      }
      expect(await exited).toBe("SIGKILL");
      const acknowledged = Number(printed.trimEnd().split("\n").at(-1));
      const found = await store.read(fresh.id);
      expect(acknowledged).toBeGreaterThan(50);
      // The last write may have been made and not yet acknowledged.
      expect([acknowledged, acknowledged + 1]).toContain(found?.version);
      expect(found?.data.get("n")).toBe(String(found?.version));
    }
    expect(connect(path).prepare("PRAGMA integrity_check").get()).toMatchObject({ integrity_check: "ok" });
  });
});

/** The folder of the built package, for processes that this one starts. */
function builtPackage(): string {
  const folder = fileURLToPath(new URL("../../dist", import.meta.url));
  if (!existsSync(join(folder, "stores", "sqlite.js"))) throw new Error("run npm run build first");
  return folder;
}
