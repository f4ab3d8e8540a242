import { codeOf, type PostgresConnection } from "./connection.ts";

/** The quoted names of a store's tables. */
export interface PostgresNames {
  /** With the schema, if one is set. */
  readonly table: string;
  /** Table of one row: the version of the schema. */
  readonly version: string;
  /** Table of the log of revocations. */
  readonly revocations: string;
  /** `undefined` for the first of the server's search_path. */
  readonly schema: string | undefined;
  readonly index: (suffix: string) => string;
}

const SCHEMA_VERSION = 1;
const UNDEFINED_TABLE = "42P01";

/** @throws TypeError for names that are not plain identifiers */
export function postgresNames(table: string, schema: string | undefined): PostgresNames {
  // PostgreSQL cuts names at 63 bytes, and the suffixes of the indexes must fit in.
  if (typeof table !== "string" || !/^[A-Za-z_][A-Za-z0-9_]{0,49}$/.test(table))
    throw new TypeError("postgresStore: table must be letters, digits and _, at most 50");
  if (schema !== undefined && (typeof schema !== "string" || !/^(?!pg_)[A-Za-z_][A-Za-z0-9_]{0,62}$/i.test(schema)))
    throw new TypeError("postgresStore: schema must be letters, digits and _, at most 63");
  const prefix = schema === undefined ? "" : `"${schema}".`;
  return {
    table: `${prefix}"${table}"`,
    version: `${prefix}"${table}_schema"`,
    revocations: `${prefix}"${table}_revocations"`,
    schema,
    index: (suffix) => `"${table}_${suffix}"`,
  };
}

/** Makes the table and its indexes unless they are there. Processes that do so at once take turns. */
export async function migratePostgres(connection: PostgresConnection, names: PostgresNames): Promise<void> {
  const found = (await foundVersion(connection, names)) ?? (await makeTables(connection, names));
  if (found !== SCHEMA_VERSION)
    throw new Error(`the table ${names.table} has schema version ${found}; this release knows ${SCHEMA_VERSION}`);
}

async function foundVersion(connection: PostgresConnection, names: PostgresNames): Promise<number | undefined> {
  try {
    const { rows } = await connection.query(`SELECT version::text FROM ${names.version}`);
    return rows[0] === undefined ? undefined : Number(rows[0].version);
  } catch (error) {
    if (codeOf(error) !== UNDEFINED_TABLE) throw error;
    return undefined;
  }
}

async function makeTables(connection: PostgresConnection, names: PostgresNames): Promise<number> {
  const { table, version, schema, index } = names;
  // Without the right to make schemas, even CREATE SCHEMA IF NOT EXISTS fails on one that exists.
  const missing = schema !== undefined && !(await schemaExists(connection, schema));
  // Statements sent in one text are one transaction, also behind a pooler.
  await connection.query(`
    SELECT pg_advisory_xact_lock(hashtext('coatcheck'));
    ${missing ? `CREATE SCHEMA IF NOT EXISTS "${schema}";` : ""}
    CREATE TABLE IF NOT EXISTS ${table} (
      version bigint NOT NULL,
      created_at bigint NOT NULL,
      seen_at bigint NOT NULL,
      expires_at bigint NOT NULL,
      lease_until bigint,
      id text COLLATE "C" PRIMARY KEY,
      secret_hash text COLLATE "C" NOT NULL,
      user_id text COLLATE "C",
      lease_holder text COLLATE "C",
      meta jsonb NOT NULL,
      texts jsonb NOT NULL,
      data jsonb NOT NULL
    );
    COMMENT ON COLUMN ${table}.texts IS 'Key to text: what coatcheck reads';
    COMMENT ON COLUMN ${table}.data IS 'Key to value: a copy for queries, which coatcheck never reads';
    CREATE INDEX IF NOT EXISTS ${index("expires_at")} ON ${table} (expires_at);
    CREATE INDEX IF NOT EXISTS ${index("user_id")} ON ${table} USING hash (user_id) WHERE user_id IS NOT NULL;
    CREATE TABLE IF NOT EXISTS ${version} (version integer NOT NULL);
    INSERT INTO ${version} SELECT ${SCHEMA_VERSION} WHERE NOT EXISTS (SELECT FROM ${version});
  `);
  return (await foundVersion(connection, names)) ?? 0;
}

async function schemaExists(connection: PostgresConnection, schema: string): Promise<boolean> {
  const { rows } = await connection.query("SELECT FROM pg_namespace WHERE nspname = $1", [schema]);
  return rows.length > 0;
}
