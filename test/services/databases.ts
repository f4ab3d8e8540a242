import { randomBytes } from "node:crypto";
import { MongoClient } from "mongodb";
import mysql from "mysql2/promise";
import pg from "pg";
import { startRedis } from "./redis.ts";

/** A database that nobody else uses. */
export interface OwnDatabase {
  readonly url: string;
  drop(): Promise<unknown>;
}

type DatabaseService = "redis" | "postgres" | "mysql" | "mongodb";

/** Makes a new database at the service of this URL; in place of a database of Redis, which are few, a server of our own. */
export const newDatabase = (service: DatabaseService, url: string): Promise<OwnDatabase> => MAKERS[service](url);

const MAKERS: Record<DatabaseService, (url: string) => Promise<OwnDatabase>> = {
  async redis() {
    const server = await startRedis();
    return { url: server.url, drop: () => server.stop() };
  },
  async postgres(url) {
    const name = newName();
    const query = async (text: string) => {
      const client = new pg.Client(url);
      await client.connect();
      await client.query(text).finally(() => client.end());
    };
    await query(`CREATE DATABASE ${name}`);
    return { url: at(url, name), drop: () => query(`DROP DATABASE ${name} WITH (FORCE)`) };
  },
  async mysql(url) {
    const name = newName();
    const query = async (text: string) => {
      const connection = await mysql.createConnection(url);
      await connection.query(text).finally(() => connection.end());
    };
    await query(`CREATE DATABASE ${name}`);
    return { url: at(url, name), drop: () => query(`DROP DATABASE ${name}`) };
  },
  async mongodb(url) {
    const name = newName();
    const drop = async () => {
      const client = new MongoClient(url);
      await client
        .db(name)
        .dropDatabase()
        .finally(() => client.close());
    };
    return { url: at(url, name), drop };
  },
};

const newName = (): string => `coatcheck_test_${randomBytes(6).toString("hex")}`;

/** The same server, and this database of it. */
const at = (url: string, database: string): string => Object.assign(new URL(url), { pathname: `/${database}` }).href;
