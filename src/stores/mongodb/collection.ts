/** What the store needs of a `Collection` of `mongodb`. */
export interface MongodbCollection {
  insertOne(document: never, options?: object): Promise<unknown>;
  findOne(filter: object, options?: object): Promise<object | null>;
  find(filter: object, options?: object): { toArray(): Promise<object[]> };
  findOneAndUpdate(filter: object, update: object, options: object): Promise<unknown>;
  updateOne(filter: object, update: object, options?: object): Promise<{ readonly matchedCount: number }>;
  deleteOne(filter: object, options?: object): Promise<{ readonly deletedCount: number }>;
  deleteMany(filter: object, options?: object): Promise<{ readonly deletedCount: number }>;
  createIndexes(indexes: never[], options?: object): Promise<unknown>;
  readonly collectionName?: string;
  readonly db?: MongodbDatabase;
}

/** What the store needs of a `Db`. */
export interface MongodbDatabase {
  collection(name: string): MongodbCollection;
}

/** What the store needs of a `MongoClient`. */
export interface MongodbClient {
  db(name?: string): MongodbDatabase;
}

export type MongodbSource = MongodbClient | MongodbDatabase | MongodbCollection;

/** Defaults for a client that the store opens, unless its URL says otherwise: lower-cased name → option. */
const CLIENT_DEFAULTS: ReadonlyMap<string, object> = new Map<string, object>([
  ["w", { w: "majority" }],
  ["appname", { appName: "coatcheck" }],
  ["serverselectiontimeoutms", { serverSelectionTimeoutMS: 5_000 }],
  ["connecttimeoutms", { connectTimeoutMS: 5_000 }],
  ["sockettimeoutms", { socketTimeoutMS: 30_000 }],
]);

/** The collection that sessions are kept in, however it was given. */
export class MongodbConnection {
  readonly #source: string | MongodbSource;
  readonly #database: string | undefined;
  readonly #name: string;
  #opening: Promise<{ collection: MongodbCollection; close(): Promise<void> }> | undefined;
  #closed = false;

  /** @throws TypeError for what is neither a URL nor of the driver; the message holds nothing of the URL */
  constructor(source: string | MongodbSource, database: string | undefined, collection: string | undefined) {
    // `system.` belongs to the server, `$` to its internals.
    if (collection !== undefined && !/^(?!system\.)[A-Za-z_][A-Za-z0-9_.-]{0,99}$/.test(collection))
      throw new TypeError("mongodbStore: collection must be letters, digits, _, - and dots, at most 100");
    if (database !== undefined && !/^[A-Za-z0-9_-]{1,63}$/.test(database))
      throw new TypeError("mongodbStore: database must be letters, digits, _ and -, at most 63");
    if (typeof source === "string") {
      if (!/^mongodb(?:\+srv)?:\/\//i.test(source))
        throw new TypeError("mongodbStore: a URL begins with mongodb:// or mongodb+srv://");
    } else if (has(source, "findOneAndUpdate")) {
      if (collection !== undefined || database !== undefined)
        throw new TypeError("mongodbStore: a Collection has its database and name already");
    } else if (has(source, "collection")) {
      if (database !== undefined) throw new TypeError("mongodbStore: a Db has its name already");
    } else if (!has(source, "db"))
      throw new TypeError("mongodbStore needs a MongoClient, Db or Collection of mongodb, or a URL");
    this.#source = source;
    this.#database = database;
    this.#name = collection ?? "coatcheck_sessions";
  }

  async collection(): Promise<MongodbCollection> {
    if (this.#closed) throw new Error("the store has been closed");
    const source = this.#source;
    if (typeof source === "string") {
      this.#opening ??= openClient(source, this.#database, this.#name).catch((error) => {
        this.#opening = undefined;
        throw error;
      });
      return (await this.#opening).collection;
    }
    if ("findOneAndUpdate" in source) return source;
    const database = "collection" in source ? source : source.db(this.#database);
    return database.collection(this.#name);
  }

  /** A collection beside it, whose name ends so. */
  async sibling(suffix: string): Promise<MongodbCollection> {
    const collection = await this.collection();
    const { collectionName, db } = collection;
    if (db === undefined || collectionName === undefined)
      throw new Error("mongodbStore: this collection does not tell its database, in which revocations are kept");
    return db.collection(`${collectionName}${suffix}`);
  }

  /** Closes the client if it was opened here. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const opened = await this.#opening?.catch(() => undefined);
    await opened?.close();
  }
}

const has = (source: MongodbSource, method: string): boolean =>
  typeof (source as unknown as Record<string, unknown> | undefined)?.[method] === "function";

async function openClient(url: string, database: string | undefined, name: string) {
  const { MongoClient } = await importDriver();
  const defaults = [...CLIENT_DEFAULTS].filter(([option]) => !new RegExp(`[?&]${option}=`, "i").test(url));
  const options = Object.assign({}, ...defaults.map(([, value]) => value));
  let client: InstanceType<typeof MongoClient>;
  try {
    // It connects by itself, and again after every failure.
    client = new MongoClient(url, options);
  } catch {
    // The driver's message quotes the URL, with the password.
    throw new TypeError("mongodbStore: the driver does not understand the URL");
  }
  return {
    collection: client.db(database).collection(name) as unknown as MongodbCollection,
    close: () => client.close(),
  };
}

async function importDriver(): Promise<typeof import("mongodb")> {
  try {
    return await import("mongodb");
  } catch (cause) {
    throw new Error("mongodbStore with a URL needs the driver: npm install mongodb", { cause });
  }
}
