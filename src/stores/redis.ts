/**
 * Sessions in Redis or Valkey.
 *
 * @module
 */
import { type Clock, type Duration, type Instant, seconds, systemClock } from "../session/clock.ts";
import { CorruptRecordError } from "../session/errors.ts";
import type { SessionId } from "../session/token.ts";
import { commandsOf, type RedisClient, type RedisCommands } from "./redis/commands.ts";
import { type Due, ExpiryIndex } from "./redis/expiry-index.ts";
import { RedisKeys } from "./redis/keys.ts";
import type { RedisDriver } from "./redis/open-client.ts";
import { RedisRevocations } from "./redis/revocations.ts";
import { SessionHashes } from "./redis/session-hashes.ts";
import { UrlConnection } from "./redis/url-connection.ts";
import { UserIndex } from "./redis/user-index.ts";
import type { LeaseRequest, SessionPatch, SessionRecord, SessionStore } from "./store.ts";

export type {
  IoredisClient,
  IoredisCluster,
  NodeRedisClient,
  NodeRedisCluster,
  NodeRedisSentinel,
  RedisClient,
} from "./redis/commands.ts";
export type { RedisDriver } from "./redis/open-client.ts";

export interface RedisStoreOptions {
  /** What the names of all keys begin with. Applications with different prefixes do not see each other. Default `coatcheck:`. */
  readonly prefix?: string;
  /** The package that opens a URL. Default: `redis` if it is installed, else `ioredis`. Ignored with a client. */
  readonly driver?: RedisDriver;
  /** Measures how long the store waits for a connection that it opened. Default: the machine's. */
  readonly clock?: Clock;
}

/** How many sessions are looked at in one go. */
const PAGE = 500;
/** How many pages of the expiry index one `removeExpired` goes through at most. */
const MOST_PAGES = 20;

/** How long `close` waits for work that is under way. */
const PATIENCE: Duration = seconds(1);

/**
 * Sessions in Redis 7.0 or newer, or Valkey; standalone, with Sentinel, or Cluster. Takes a connected client of `redis` or
 * `ioredis`, or a URL (`redis://…`, `rediss://…` with TLS); the package is then imported at the first use. A URL of one
 * node of a cluster stands for the cluster.
 *
 * A connection that the store opened by itself queues nothing while the server is away: operations reject at once, and the
 * next one after its return finds it. A connection that answers nothing for 5 seconds is replaced.
 *
 * @throws TypeError for what is neither a Redis URL nor such a client; the message holds nothing of the URL
 */
export function redisStore(clientOrUrl: RedisClient | string, options: RedisStoreOptions = {}): SessionStore {
  const { prefix = "coatcheck:", driver, clock = systemClock } = options;
  if (typeof prefix !== "string") throw new TypeError("redisStore: prefix must be a text");
  if (driver !== undefined && driver !== "redis" && driver !== "ioredis")
    throw new TypeError('redisStore: driver must be "redis" or "ioredis"');
  return new RedisStore(
    typeof clientOrUrl === "string" ? new UrlConnection(clientOrUrl, driver, clock) : commandsOf(clientOrUrl),
    prefix,
    clock,
  );
}

class RedisStore implements SessionStore {
  readonly revocations: RedisRevocations;
  readonly #redis: RedisCommands;
  readonly #clock: Clock;
  readonly #sessions: SessionHashes;
  readonly #users: UserIndex;
  readonly #expiry: ExpiryIndex;
  /** Work on the indexes that nobody waits for. */
  readonly #housekeeping = new Set<Promise<void>>();

  constructor(redis: RedisCommands, prefix: string, clock: Clock) {
    const keys = new RedisKeys(prefix, redis.keyPrefix);
    this.#redis = redis;
    this.#clock = clock;
    this.#sessions = new SessionHashes(redis, keys);
    this.#users = new UserIndex(redis, keys);
    this.#expiry = new ExpiryIndex(redis, keys);
    this.revocations = new RedisRevocations(redis, keys, clock);
  }

  async create(record: SessionRecord): Promise<void> {
    const { id, userId, expiresAt } = record;
    this.#keepHouse(this.#expiry.add(id, expiresAt));
    const created = await this.#indexed(userId, id, () => this.#sessions.create(record));
    if (!created) throw new Error("a session with this id exists");
  }

  read(id: SessionId, lease?: LeaseRequest): Promise<SessionRecord | undefined> {
    return this.#sessions.read(id, lease);
  }

  release(id: SessionId, holder: string): Promise<void> {
    return this.#sessions.release(id, holder);
  }

  async update(id: SessionId, version: number, patch: SessionPatch): Promise<"updated" | "stale" | "missing"> {
    const outcome = await this.#indexed(patch.userId, id, () => this.#sessions.update(id, version, patch));
    if (outcome !== "shortened") return outcome;
    await this.#expiry.add(id, patch.expiresAt as Instant);
    return "updated";
  }

  touch(id: SessionId, seenAt: Instant, expiresAt: Instant): Promise<boolean> {
    return this.#sessions.touch(id, seenAt, expiresAt);
  }

  async remove(id: SessionId, userId?: string): Promise<boolean> {
    const removed = await this.#sessions.remove(id, userId);
    if (removed === undefined) return false;
    this.#keepHouse(this.#expiry.drop([id]));
    if (removed.userId !== undefined) this.#keepHouse(this.#users.drop(removed.userId, [id]));
    return true;
  }

  async listByUser(userId: string): Promise<SessionRecord[]> {
    const records: SessionRecord[] = [];
    const stale: SessionId[] = [];
    for (const page of pagesOf(await this.#users.ids(userId))) {
      for (const { id, record } of await this.#readAll(page)) {
        if (record === "corrupt") continue;
        if (record?.userId === userId) records.push(record);
        else stale.push(id);
      }
    }
    this.#keepHouse(this.#users.heal(userId, stale));
    return records;
  }

  async removeByUser(userId: string, except?: SessionId): Promise<number> {
    let count = 0;
    const stale: SessionId[] = [];
    const ids = (await this.#users.ids(userId)).filter((id) => id !== except);
    for (const page of pagesOf(ids)) {
      const removed: SessionId[] = [];
      const remove = async (id: SessionId) =>
        (await this.#sessions.remove(id, userId)) === undefined ? stale.push(id) : removed.push(id);
      await Promise.all(page.map(remove));
      count += removed.length;
      this.#keepHouse(this.#expiry.drop(removed));
      this.#keepHouse(this.#users.drop(userId, removed));
    }
    this.#keepHouse(this.#users.heal(userId, stale));
    return count;
  }

  async removeAll(): Promise<number> {
    let count = 0;
    for await (const ids of this.#sessions.scan(PAGE)) {
      const removed = await Promise.all(ids.map((id) => this.#sessions.removeAnyway(id)));
      count += removed.filter(Boolean).length;
    }
    return count;
  }

  async removeExpired(now: Instant, limit: number): Promise<number> {
    // What was created a moment ago may not be in the index yet.
    await Promise.all(this.#housekeeping);
    let count = 0;
    for (let page = 0; page < MOST_PAGES && count < limit; page++) {
      const due = await this.#expiry.due(now, PAGE);
      // Nothing beyond this page expires before the last that the page holds, because the index is never late.
      const horizon = due.length < PAGE ? now : (due.at(-1)?.indexed ?? now);
      const oldest = due
        .filter(({ expiresAt = Number.POSITIVE_INFINITY }) => expiresAt <= horizon)
        .sort((a, b) => (a.expiresAt as Instant) - (b.expiresAt as Instant))
        .slice(0, limit - count);
      const removed = new Set<SessionId>();
      const remove = async ({ id }: Due) => {
        const outcome = await this.#sessions.removeExpired(id, now);
        if (outcome === undefined) return;
        removed.add(id);
        if (outcome.userId !== undefined) this.#keepHouse(this.#users.drop(outcome.userId, [id]));
      };
      await Promise.all(oldest.map(remove));
      count += removed.size;
      await this.#expiry.drop([...removed]);
      await this.#expiry.correct(due.filter(({ id }) => !removed.has(id)));
      // What another process removed or prolonged meanwhile makes room for the next.
      if (due.length < PAGE && removed.size === oldest.length) break;
    }
    return count;
  }

  async *all(): AsyncGenerator<SessionRecord> {
    for await (const ids of this.#sessions.scan(PAGE))
      for (const { record } of await this.#readAll(ids)) if (typeof record === "object") yield record;
  }

  async close(): Promise<void> {
    await new Promise<void>((resolve) => {
      const cancel = this.#clock.schedule(resolve, PATIENCE);
      Promise.all(this.#housekeeping).then(() => {
        cancel();
        resolve();
      });
    });
    if (this.#redis instanceof UrlConnection) await this.#redis.close();
  }

  /** Puts the session into the user's index, if there is a user, before `work` makes it theirs. */
  #indexed<Result>(userId: string | null | undefined, id: SessionId, work: () => Promise<Result>): Promise<Result> {
    if (typeof userId !== "string") return work();
    return this.#redis.inOrder(() => this.#users.add(userId, id), work);
  }

  #readAll(ids: readonly SessionId[]): Promise<{ id: SessionId; record: SessionRecord | "corrupt" | undefined }[]> {
    return Promise.all(
      ids.map(async (id) => {
        try {
          return { id, record: await this.#sessions.read(id) };
        } catch (error) {
          if (error instanceof CorruptRecordError) return { id, record: "corrupt" as const };
          throw error;
        }
      }),
    );
  }

  /** Lets work go on that the answer does not depend on: what fails of it heals later. */
  #keepHouse(work: Promise<void>): void {
    const settled = work
      .catch(() => {})
      .finally(() => {
        this.#housekeeping.delete(settled);
      });
    this.#housekeeping.add(settled);
  }
}

function* pagesOf(ids: readonly SessionId[]): Generator<readonly SessionId[]> {
  for (let start = 0; start < ids.length; start += PAGE) yield ids.slice(start, start + PAGE);
}
