import type { Clock, Instant } from "../../session/clock.ts";
import type { Revocation, RevocationLog, RevocationPage } from "../revocation-log.ts";
import { newRowId, type RevocationRow, readPage, revocationToText } from "../revocation-rows.ts";
import { type Line, Subscription } from "../subscription.ts";
import type { RedisCommands } from "./commands.ts";
import type { RedisKeys } from "./keys.ts";
import { APPEND, runScript } from "./scripts.ts";

const PAGE = 1000;

/**
 * Revocations in one sorted set by position, added by a script and so in order. The set has no time to live, because a server
 * that runs out of memory takes such keys first.
 *
 * That there is news is published. The message says nothing more: channels, unlike keys, belong to all databases of a server.
 */
export class RedisRevocations implements RevocationLog {
  readonly #redis: RedisCommands;
  readonly #key: string;
  readonly #channel: string;
  readonly watch?: (news: () => void) => () => Promise<void>;

  constructor(redis: RedisCommands, keys: RedisKeys, clock: Clock) {
    this.#redis = redis;
    this.#key = keys.revocations;
    this.#channel = keys.revocationChannel;
    if (redis.subscribe !== undefined)
      this.watch = (news) => {
        const open = async (ended: () => void) => redis.subscribe?.(this.#channel, news, ended) as Promise<Line>;
        const subscription = new Subscription(open, news, clock);
        return () => subscription.stop();
      };
  }

  async append(entry: Revocation): Promise<void> {
    const row = `${newRowId()} ${entry.until} ${revocationToText(entry)}`;
    await runScript(this.#redis, APPEND, this.#key, [row, this.#channel]);
  }

  read(cursor: string | undefined): Promise<RevocationPage> {
    return readPage(cursor, (position, limit) => this.#rowsFrom(position, limit));
  }

  async removeExpired(now: Instant, limit: number): Promise<number> {
    let count = 0;
    for (let position = 0; count < limit; ) {
      const page = await this.#rowsFrom(position, PAGE);
      const expired = page.filter(({ until }) => until <= now).slice(0, limit - count);
      if (expired.length > 0)
        count += Number(await this.#redis.send(this.#key, ["ZREM", this.#key, ...expired.map(({ member }) => member)]));
      if (page.length < PAGE) break;
      position = (page.at(-1)?.position ?? 0) + 1;
    }
    return count;
  }

  async #rowsFrom(position: number, limit: number): Promise<StoredRow[]> {
    const range = [String(position), "+inf", "BYSCORE", "LIMIT", "0", String(limit)];
    const members = (await this.#redis.send(this.#key, ["ZRANGE", this.#key, ...range])) as unknown[];
    return members.map((member) => rowOf(String(member)));
  }
}

interface StoredRow extends RevocationRow {
  readonly until: Instant;
  readonly member: string;
}

function rowOf(member: string): StoredRow {
  const [position, id = "", until] = member.split(" ", 3);
  const entry = member.slice(`${position} ${id} ${until} `.length);
  return { position: Number(position), id, until: Number(until), entry, member };
}
