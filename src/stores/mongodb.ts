/**
 * Sessions in MongoDB.
 *
 * @module
 */
import type { Instant } from "../session/clock.ts";
import type { SessionId } from "../session/token.ts";
import { type MongodbCollection, MongodbConnection, type MongodbSource } from "./mongodb/collection.ts";
import { documentOf, operatorsOf, purgeAt, recordOf } from "./mongodb/documents.ts";
import { MongodbRevocations } from "./mongodb/revocations.ts";
import { toPlainText } from "./record-texts.ts";
import type { LeaseRequest, SessionPatch, SessionRecord, SessionStore } from "./store.ts";
import { understoodRecords } from "./table-row.ts";

export type { MongodbClient, MongodbCollection, MongodbDatabase, MongodbSource } from "./mongodb/collection.ts";

export interface MongodbStoreOptions {
  /** Name of the database. Default: that of the URL or client. Not together with a `Db` or `Collection`. */
  readonly database?: string;
  /** Name of the collection. Default `coatcheck_sessions`. Not together with a `Collection`. */
  readonly collection?: string;
  /** Whether indexes are made at the first use, unless they are there. `false`: call `migrate()`. Default true. */
  readonly migrate?: boolean;
}

/** A `SessionStore` that grants leases and makes its own indexes. */
export interface MongodbStore extends SessionStore {
  release(id: SessionId, holder: string): Promise<void>;
  /** Makes the indexes unless they are there. May run twice, and in several processes at once. */
  migrate(): Promise<void>;
}

/**
 * Sessions in a collection of MongoDB 4.4 or later: a `MongoClient`, `Db` or `Collection` of `mongodb`, or a URL, for which the
 * store opens a client at the first use, with write concern `majority` unless the URL says otherwise. What is passed in
 * keeps its write concern. Reads go to the primary, whatever the client prefers.
 *
 * The collection must have no collation of its own: one that ignores case would take ids for equal that are not.
 *
 * @throws TypeError for arguments that do not fit
 */
export function mongodbStore(
  clientOrDbOrCollectionOrUrl: string | MongodbSource,
  options: MongodbStoreOptions = {},
): MongodbStore {
  const { database, collection, migrate = true } = options;
  return new Store(new MongodbConnection(clientOrDbOrCollectionOrUrl, database, collection), migrate);
}

const PAGE = 200;

/** Plain values, from the primary, whatever the client is set to. */
const READING = {
  readPreference: "primary",
  raw: false,
  promoteValues: true,
  promoteLongs: true,
  useBigInt64: false,
} as const;

/** Leases need not survive a failover, so they do not wait for the other members. */
const UNHURRIED = { writeConcern: { w: 1 } } as const;

const ATTEMPTS = 5;

// Counts are passed through Number(), because a driver may be set to answer objects instead of numbers.
class Store implements MongodbStore {
  readonly revocations: MongodbRevocations;
  readonly #connection: MongodbConnection;
  readonly #migrates: boolean;
  #migration: Promise<void> | undefined;

  constructor(connection: MongodbConnection, migrates: boolean) {
    this.#connection = connection;
    this.#migrates = migrates;
    this.revocations = new MongodbRevocations(() => connection.sibling("_revocations"));
  }

  async migrate(): Promise<void> {
    const collection = await this.#connection.collection();
    const indexes = [
      { key: { userId: 1 }, name: "coatcheck_userId", sparse: true },
      { key: { expiresAt: 1 }, name: "coatcheck_expiresAt" },
      { key: { purgeAt: 1 }, name: "coatcheck_purgeAt", expireAfterSeconds: 0 },
    ];
    await collection.createIndexes(indexes as never[]);
  }

  async create(record: SessionRecord): Promise<void> {
    await (await this.#collection()).insertOne(documentOf(record) as never);
  }

  async read(id: SessionId, lease?: LeaseRequest): Promise<SessionRecord | undefined> {
    const collection = await this.#collection();
    const document = await (lease === undefined
      ? collection.findOne({ _id: id }, READING)
      : readLeased(collection, id, lease));
    return document === null ? undefined : recordOf(document);
  }

  async release(id: SessionId, holder: string): Promise<void> {
    const update = { $pull: { lease: { holder: toPlainText(holder) } } };
    await (await this.#collection()).updateOne({ _id: id }, update, UNHURRIED);
  }

  async update(id: SessionId, version: number, patch: SessionPatch): Promise<"updated" | "stale" | "missing"> {
    const collection = await this.#collection();
    const { matchedCount } = await collection.updateOne({ _id: id, version }, operatorsOf(patch));
    if (Number(matchedCount) > 0) return "updated";
    const found = await collection.findOne({ _id: id }, { ...READING, projection: { _id: 1 } });
    return found === null ? "missing" : "stale";
  }

  async touch(id: SessionId, seenAt: Instant, expiresAt: Instant): Promise<boolean> {
    const update = { $max: { seenAt, expiresAt, purgeAt: purgeAt(seenAt, expiresAt) } };
    return Number((await (await this.#collection()).updateOne({ _id: id }, update)).matchedCount) > 0;
  }

  async remove(id: SessionId, userId?: string): Promise<boolean> {
    const filter = { _id: id, ...(userId === undefined ? undefined : { userId: toPlainText(userId) }) };
    return Number((await (await this.#collection()).deleteOne(filter)).deletedCount) > 0;
  }

  async listByUser(userId: string): Promise<SessionRecord[]> {
    const found = (await this.#collection()).find({ userId: toPlainText(userId) }, READING);
    return understoodRecords(await found.toArray(), recordOf);
  }

  async removeByUser(userId: string, except?: SessionId): Promise<number> {
    const filter = { userId: toPlainText(userId), ...(except === undefined ? undefined : { _id: { $ne: except } }) };
    return Number((await (await this.#collection()).deleteMany(filter)).deletedCount);
  }

  async removeAll(): Promise<number> {
    return Number((await (await this.#collection()).deleteMany({})).deletedCount);
  }

  async removeExpired(now: Instant, limit: number): Promise<number> {
    // To the server, no limit is what 0 means.
    if (!(limit >= 1)) return 0;
    const collection = await this.#collection();
    const expired = { expiresAt: { $lte: now } };
    const oldest = { ...READING, projection: { _id: 1 }, sort: { expiresAt: 1 }, limit };
    const ids = (await collection.find(expired, oldest).toArray()).map((found) => (found as { _id: unknown })._id);
    if (ids.length === 0) return 0;
    // The condition again, for those that were touched meanwhile.
    return Number((await collection.deleteMany({ _id: { $in: ids }, ...expired })).deletedCount);
  }

  async *all(): AsyncGenerator<SessionRecord> {
    const options = { ...READING, sort: { _id: 1 }, limit: PAGE };
    for (let last: unknown = ""; ; ) {
      const page = await (await this.#collection()).find({ _id: { $gt: last } }, options).toArray();
      yield* understoodRecords(page, recordOf);
      if (page.length < PAGE) return;
      last = (page.at(-1) as { _id: unknown })._id;
    }
  }

  close(): Promise<void> {
    return this.#connection.close();
  }

  async #collection(): Promise<MongodbCollection> {
    if (this.#migrates) {
      this.#migration ??= this.migrate().catch((error) => {
        // The next operation tries again.
        this.#migration = undefined;
        throw error;
      });
      await this.#migration;
    }
    return this.#connection.collection();
  }
}

/** Takes the lease together with the document; one round trip more when it is not granted. */
async function readLeased(collection: MongodbCollection, id: SessionId, lease: LeaseRequest): Promise<object | null> {
  const [holder, until] = [toPlainText(lease.holder), lease.until];
  const others = { holder: { $ne: holder }, until: { $gt: lease.now } };
  const { secretHash } = lease;
  const filter = { _id: id, secretHash, lease: { $not: { $elemMatch: others } } };
  const update = { $set: { lease: [{ holder, until }] } };
  // includeResultMetadata: what version 5 of the driver answers differs by default.
  const options = { ...READING, ...UNHURRIED, returnDocument: "after", includeResultMetadata: false };
  for (let attempt = 1; ; attempt++) {
    const granted = (await collection.findOneAndUpdate(filter, update, options)) as object | null;
    if (granted !== null) return granted;
    const found = await collection.findOne({ _id: id }, READING);
    const stored = found as { secretHash?: unknown; lease?: { until: number }[] } | null;
    const held = stored?.lease?.some(({ until }) => until > lease.now);
    // Given back between the two: it can be had after all.
    if (stored?.secretHash !== secretHash || held || attempt === ATTEMPTS) return found;
  }
}
