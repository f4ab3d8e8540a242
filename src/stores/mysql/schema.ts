import { errnoOf, type MysqlConnection } from "./connection.ts";

/** The quoted names of a store's tables. */
export interface MysqlNames {
  readonly table: string;
  /** Table of one row: the version of the schema. */
  readonly version: string;
  /** Table of the log of revocations. */
  readonly revocations: string;
}

const SCHEMA_VERSION = 1;
const NO_SUCH_TABLE = 1146;

/** @throws TypeError for names that are not plain identifiers */
export function mysqlNames(table: string): MysqlNames {
  if (typeof table !== "string" || !/^[A-Za-z_][A-Za-z0-9_]{0,49}$/.test(table))
    throw new TypeError("mysqlStore: table must be letters, digits and _, at most 50");
  return { table: `\`${table}\``, version: `\`${table}_schema\``, revocations: `\`${table}_revocations\`` };
}

/** Makes the tables unless they are there. Each statement may run in several processes at once. */
export async function migrateMysql(connection: MysqlConnection, names: MysqlNames): Promise<void> {
  const found = (await foundVersion(connection, names)) ?? (await makeTables(connection, names));
  if (found !== SCHEMA_VERSION)
    throw new Error(`the table ${names.table} has schema version ${found}; this release knows ${SCHEMA_VERSION}`);
}

async function foundVersion(connection: MysqlConnection, { version }: MysqlNames): Promise<number | undefined> {
  try {
    const [row] = await connection.rows(`SELECT version FROM ${version}`);
    return row === undefined ? undefined : Number(row.version);
  } catch (error) {
    if (errnoOf(error) !== NO_SUCH_TABLE) throw error;
    return undefined;
  }
}

async function makeTables(connection: MysqlConnection, names: MysqlNames): Promise<number> {
  const { table, version } = names;
  await connection.affected(
    `CREATE TABLE IF NOT EXISTS ${table} (
       id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
       secret_hash VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
       version BIGINT NOT NULL,
       created_at BIGINT NOT NULL,
       seen_at BIGINT NOT NULL,
       expires_at BIGINT NOT NULL,
       user_id MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
       meta JSON NOT NULL,
       texts JSON NOT NULL,
       INDEX expires_at (expires_at),
       INDEX user_id (user_id(64))
     ) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin`,
  );
  await connection.affected(
    `CREATE TABLE IF NOT EXISTS ${version} (id INT NOT NULL PRIMARY KEY, version INT NOT NULL) ENGINE = InnoDB`,
  );
  await connection.affected(`INSERT IGNORE INTO ${version} (id, version) VALUES (1, ${SCHEMA_VERSION})`);
  return (await foundVersion(connection, names)) ?? 0;
}
