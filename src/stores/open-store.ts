/**
 * A store by URL, and the store contract.
 *
 * @module
 */
import type { SessionStore } from "./store.ts";

export { type MovingStores, movingStore } from "./moving.ts";
export * from "./store.ts";

export interface OpenStoreOptions {
  /**
   * Which sessions of the file or server: the name of the table, of the collection, in PostgreSQL also `schema.table`, in
   * Redis what all keys begin with. Default: that of the store.
   */
  readonly name?: string | undefined;
  /** Whether file, tables and indexes are made at the first use, unless they are there. Default true. */
  readonly migrate?: boolean;
}

/** Scheme → how its store is opened. Each imports its module when first needed. */
const OPENERS: ReadonlyMap<string, (url: string, options: OpenStoreOptions) => Promise<SessionStore>> = new Map([
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
 * @throws TypeError for a URL that names no store, or a name that none can have; the message holds nothing of the URL
 */
export async function openStore(url: string, options: OpenStoreOptions = {}): Promise<SessionStore> {
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(url)?.[1]?.toLowerCase();
  const open = scheme === undefined ? undefined : OPENERS.get(scheme);
  if (open === undefined) {
    const known = [...OPENERS.keys()].map((name) => `${name}:`).join(", ");
    throw new TypeError(`openStore: the URL of a store begins with one of ${known}`);
  }
  return open(url, options);
}

async function openMemory(url: string, { name }: OpenStoreOptions): Promise<SessionStore> {
  if (name !== undefined) throw new TypeError("openStore: memory: has no names");
  if (afterScheme(url) !== "") throw new TypeError("openStore: write memory: with nothing after it");
  const { memoryStore } = await import("./memory.ts");
  return memoryStore();
}

async function openSqlite(url: string, { name, migrate }: OpenStoreOptions): Promise<SessionStore> {
  const rest = afterScheme(url);
  // sqlite:///var/app.db is another way to write sqlite:/var/app.db.
  const path = rest.startsWith("///") ? rest.slice(2) : rest;
  if (path === "" || path.startsWith("//"))
    throw new TypeError("openStore: write sqlite:./relative/path.db or sqlite:/absolute/path.db");
  const { sqliteStore } = await import("./sqlite.ts");
  return sqliteStore(path, { ...(name && { table: name }), ...(migrate !== undefined && { migrate }) });
}

async function openRedis(url: string, { name }: OpenStoreOptions): Promise<SessionStore> {
  const { redisStore } = await import("./redis.ts");
  return redisStore(url, name === undefined ? {} : { prefix: name });
}

async function openPostgres(url: string, { name, ...options }: OpenStoreOptions): Promise<SessionStore> {
  const { postgresStore } = await import("./postgres.ts");
  const [table, schema] = name?.split(".", 2).reverse() ?? [];
  return postgresStore(url, { ...options, ...(table && { table }), ...(schema && { schema }) });
}

async function openMysql(url: string, { name, ...options }: OpenStoreOptions): Promise<SessionStore> {
  const { mysqlStore } = await import("./mysql.ts");
  return mysqlStore(url, { ...options, ...(name && { table: name }) });
}

async function openMongodb(url: string, { name, ...options }: OpenStoreOptions): Promise<SessionStore> {
  const { mongodbStore } = await import("./mongodb.ts");
  return mongodbStore(url, { ...options, ...(name && { collection: name }) });
}

const afterScheme = (url: string): string => url.slice(url.indexOf(":") + 1);
