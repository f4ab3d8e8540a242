import type { Instant } from "../../session/clock.ts";
import type { SessionId } from "../../session/token.ts";
import type { RedisCommands } from "./commands.ts";
import { FIELD } from "./fields.ts";
import type { RedisKeys } from "./keys.ts";

/** A session that the index has as due. */
export interface Due {
  readonly id: SessionId;
  /** When the index says that it expires. Never later than it really does. */
  readonly indexed: Instant;
  /** When it really expires; absent when it is gone. */
  readonly expiresAt?: Instant;
}

/**
 * Which sessions expire when: one sorted set, on Cluster on one node. A session is put in when it is made; when activity
 * prolongs it the set stays behind, which costs nothing, and is corrected when the old time has come.
 *
 * It is a help for `removeExpired` and no more: what is missing from it is removed by the server's time to live.
 */
export class ExpiryIndex {
  readonly #redis: RedisCommands;
  readonly #keys: RedisKeys;

  constructor(redis: RedisCommands, keys: RedisKeys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  /** Notes that a session expires at this time at the latest. */
  async add(id: SessionId, expiresAt: Instant): Promise<void> {
    await this.#send("ZADD", "LT", String(expiresAt), id);
  }

  async drop(ids: readonly SessionId[]): Promise<void> {
    if (ids.length > 0) await this.#send("ZREM", ...ids);
  }

  /** The first sessions that are due by `now`, at most `limit`, and what has become of them. */
  async due(now: Instant, limit: number): Promise<Due[]> {
    const reply = await this.#send("ZRANGE", "-inf", String(now), "BYSCORE", "LIMIT", "0", String(limit), "WITHSCORES");
    return Promise.all(
      entriesOf(reply).map(async ([id, indexed]) => {
        const key = this.#keys.session(id);
        const expiresAt = await this.#redis.send(key, ["HGET", key, FIELD.expiresAt]);
        return { id, indexed, ...(expiresAt === null ? undefined : { expiresAt: Number(expiresAt) || 0 }) };
      }),
    );
  }

  /** Brings the entries of sessions that live longer than the index says up to date, and drops those of sessions gone. */
  async correct(due: readonly Due[]): Promise<void> {
    const later = due.filter(({ indexed, expiresAt }) => expiresAt !== undefined && expiresAt !== indexed);
    const gone = due.filter(({ expiresAt }) => expiresAt === undefined);
    await Promise.all([
      later.length > 0 && this.#send("ZADD", "XX", ...later.flatMap(({ id, expiresAt }) => [String(expiresAt), id])),
      this.drop(gone.map(({ id }) => id)),
    ]);
  }

  #send(command: string, ...args: string[]): Promise<unknown> {
    const key = this.#keys.expiry;
    return this.#redis.send(key, [command, key, ...args]);
  }
}

/** RESP2 answers WITHSCORES with one list of ids and scores in turn, RESP3 with a list of pairs. */
function entriesOf(reply: unknown): [SessionId, Instant][] {
  const flat = (reply as unknown[]).flat();
  const entries: [SessionId, Instant][] = [];
  for (let index = 0; index < flat.length; index += 2)
    entries.push([flat[index] as SessionId, Number(flat[index + 1])]);
  return entries;
}
