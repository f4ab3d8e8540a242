import type { Instant } from "../../session/clock.ts";
import { OneByOne } from "../one-by-one.ts";
import { retryPassing } from "../retry.ts";
import type { Revocation, RevocationLog, RevocationPage } from "../revocation-log.ts";
import { newRowId, type RevocationRow, readPage, revocationToText } from "../revocation-rows.ts";
import type { MongodbCollection } from "./collection.ts";

const DUPLICATE = 11_000;

/** Plain values, from the primary, whatever the client is set to. */
const READING = {
  readPreference: "primary",
  raw: false,
  promoteValues: true,
  promoteLongs: true,
  useBigInt64: false,
} as const;

/**
 * Revocations in a collection of their own, by position. A position is one more than the highest that is visible; who has not
 * seen the newest collides with it and tries again. So documents become visible in the order of their positions.
 */
export class MongodbRevocations implements RevocationLog {
  readonly #collection: () => Promise<MongodbCollection>;
  /** They would only collide. */
  readonly #turns = new OneByOne();

  constructor(collection: () => Promise<MongodbCollection>) {
    this.#collection = collection;
  }

  append(entry: Revocation): Promise<void> {
    return this.#turns.run(() => this.#add(entry));
  }

  read(cursor: string | undefined): Promise<RevocationPage> {
    return readPage(cursor, async (position, limit) => {
      const options = { ...READING, sort: { _id: 1 }, limit };
      return (await (await this.#collection()).find({ _id: { $gte: position } }, options).toArray()).map(rowOf);
    });
  }

  async removeExpired(now: Instant, limit: number): Promise<number> {
    // To the server, no limit is what 0 means.
    if (!(limit >= 1)) return 0;
    const collection = await this.#collection();
    const options = { ...READING, projection: { _id: 1 }, limit };
    const expired = await collection.find({ until: { $lte: now } }, options).toArray();
    const ids = expired.map((found) => (found as { _id: unknown })._id);
    return ids.length === 0 ? 0 : Number((await collection.deleteMany({ _id: { $in: ids } })).deletedCount);
  }

  async #add(entry: Revocation): Promise<void> {
    const collection = await this.#collection();
    const newest = { ...READING, sort: { _id: -1 }, limit: 1 };
    await retryPassing(
      (error) => Number((error as { code?: unknown }).code) === DUPLICATE,
      async () => {
        const [last] = await collection.find({}, newest).toArray();
        const position = last === undefined ? 1 : rowOf(last).position + 1;
        const document = { _id: position, id: newRowId(), until: entry.until, entry: revocationToText(entry) };
        await collection.insertOne(document as never);
      },
    );
  }
}

function rowOf(document: object): RevocationRow {
  const { _id, id, entry } = document as Readonly<Record<string, unknown>>;
  return { position: Number(_id), id: String(id), entry: String(entry) };
}
