import type { SessionId } from "../../session/token.ts";
import type { RedisCommands } from "./commands.ts";
import type { RedisKeys } from "./keys.ts";
import { HEAL, INDEX, runScript } from "./scripts.ts";

/**
 * Which sessions a user has: per user a set of ids, which on Cluster lives on another node than the sessions. An id is put
 * in before its record becomes the user's and taken out after it has gone, so the set may name too many sessions but never
 * too few. Whoever reads it checks each one.
 */
export class UserIndex {
  readonly #redis: RedisCommands;
  readonly #keys: RedisKeys;

  constructor(redis: RedisCommands, keys: RedisKeys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  async add(userId: string, id: SessionId): Promise<void> {
    await runScript(this.#redis, INDEX, this.#keys.user(userId), [id]);
  }

  async ids(userId: string): Promise<SessionId[]> {
    const key = this.#keys.user(userId);
    return (await this.#redis.send(key, ["ZRANGE", key, "0", "-1"])) as SessionId[];
  }

  /** Takes out sessions that have been removed. */
  async drop(userId: string, ids: readonly SessionId[]): Promise<void> {
    if (ids.length === 0) return;
    const key = this.#keys.user(userId);
    await this.#redis.send(key, ["ZREM", key, ...ids]);
  }

  /** Takes out sessions that were found not to be the user's, unless they were put in a short while ago. */
  async heal(userId: string, ids: readonly SessionId[]): Promise<void> {
    if (ids.length > 0) await runScript(this.#redis, HEAL, this.#keys.user(userId), ids);
  }
}
