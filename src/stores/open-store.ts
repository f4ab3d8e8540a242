/**
 * A store by URL, and the store contract.
 *
 * @module
 */
import type { SessionStore } from "./store.ts";

export { type MovingStores, movingStore } from "./moving.ts";
export * from "./store.ts";

/** Scheme → how its store is opened. Each imports its module when first needed. */
const OPENERS: ReadonlyMap<string, (url: string) => Promise<SessionStore>> = new Map([
  ["memory", openMemory],
  ["sqlite", openSqlite],
  ["redis", openRedis],
  ["rediss", openRedis],
  ["postgres", openPostgres],
  ["postgresql", openPostgres],
  ["mysql", openMysql],
  ["mariadb", openMysql],
  ["mongodb", openMongodb],
  ["mongodb+srv", openMongodb],
]);

/**
 * Opens the store that a URL names, such as one from an environment variable: `sqlite:./sessions.db`,
 * `sqlite:/var/lib/app/sessions.db`, `sqlite::memory:`, `memory:`, or a server's URL as its driver takes it: `redis:`, `rediss:`,
 * `postgres:`, `mysql:`, `mariadb:`, `mongodb:`, `mongodb+srv:`. A path is taken as it is, nothing in it is decoded.
 * Nothing is connected to before the first use, and a driver is imported then.
 *
 * @throws TypeError for a URL that names no store; the message holds nothing of the URL
 */
export async function openStore(url: string): Promise<SessionStore> {
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(url)?.[1]?.toLowerCase();
  const open = scheme === undefined ? undefined : OPENERS.get(scheme);
  if (open === undefined) {
    const known = [...OPENERS.keys()].map((name) => `${name}:`).join(", ");
    throw new TypeError(`openStore: the URL of a store begins with one of ${known}`);
  }
  return open(url);
}

async function openMemory(url: string): Promise<SessionStore> {
  if (afterScheme(url) !== "") throw new TypeError("openStore: write memory: with nothing after it");
  const { memoryStore } = await import("./memory.ts");
  return memoryStore();
}

async function openSqlite(url: string): Promise<SessionStore> {
  const rest = afterScheme(url);
  // sqlite:///var/app.db is another way to write sqlite:/var/app.db.
  const path = rest.startsWith("///") ? rest.slice(2) : rest;
  if (path === "" || path.startsWith("//"))
    throw new TypeError("openStore: write sqlite:./relative/path.db or sqlite:/absolute/path.db");
  const { sqliteStore } = await import("./sqlite.ts");
  return sqliteStore(path);
}

async function openRedis(url: string): Promise<SessionStore> {
  const { redisStore } = await import("./redis.ts");
  return redisStore(url);
}

async function openPostgres(url: string): Promise<SessionStore> {
  const { postgresStore } = await import("./postgres.ts");
  return postgresStore(url);
}

async function openMysql(url: string): Promise<SessionStore> {
  const { mysqlStore } = await import("./mysql.ts");
  return mysqlStore(url);
}

async function openMongodb(url: string): Promise<SessionStore> {
  const { mongodbStore } = await import("./mongodb.ts");
  return mongodbStore(url);
}

const afterScheme = (url: string): string => url.slice(url.indexOf(":") + 1);
