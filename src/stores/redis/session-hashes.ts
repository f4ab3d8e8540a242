import type { Instant } from "../../session/clock.ts";
import { base64url, randomBytes } from "../../session/crypto.ts";
import { CorruptRecordError } from "../../session/errors.ts";
import type { SessionId } from "../../session/token.ts";
import type { LeaseRequest, SessionPatch, SessionRecord } from "../store.ts";
import type { RedisCommands } from "./commands.ts";
import { fromUtf8Text, patchFields, recordFields, recordFromReply, toUtf8Text } from "./fields.ts";
import type { RedisKeys } from "./keys.ts";
import {
  CREATE,
  READ_WITH_LEASE,
  RELEASE,
  REMOVE,
  REMOVE_EXPIRED,
  runScript,
  type Script,
  TOUCH,
  UPDATE,
} from "./scripts.ts";

/** A record that has been removed: whose it was. */
export interface Removed {
  readonly userId?: string;
}

/** The sessions themselves: a hash each. Every verb is one command or one script on one key, so it is atomic. */
export class SessionHashes {
  readonly #redis: RedisCommands;
  readonly #keys: RedisKeys;

  constructor(redis: RedisCommands, keys: RedisKeys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  /** `false` when the id is taken. */
  async create(record: SessionRecord): Promise<boolean> {
    const times = [String(record.seenAt), String(record.expiresAt)];
    return isOne(await this.#run(CREATE, record.id, [newWriteName(), ...times, ...recordFields(record)]));
  }

  /** @throws CorruptRecordError */
  async read(id: SessionId, lease?: LeaseRequest): Promise<SessionRecord | undefined> {
    try {
      return recordFromReply(id, await this.#readFields(id, lease));
    } catch (error) {
      if (error instanceof Error && error.message.startsWith("WRONGTYPE")) throw new CorruptRecordError();
      throw error;
    }
  }

  async release(id: SessionId, holder: string): Promise<void> {
    await this.#run(RELEASE, id, [holder]);
  }

  /** `"shortened"`: updated, and it expires earlier than before. */
  async update(
    id: SessionId,
    version: number,
    patch: SessionPatch,
  ): Promise<"updated" | "shortened" | "stale" | "missing"> {
    const { set, unset } = patchFields(patch);
    const versions = [String(version), String(version + 1)];
    const lastToSet = String(FIRST_TO_SET + set.length - 1);
    const head = [newWriteName(), ...versions, patch.release ?? "", lastToSet];
    return (await this.#run(UPDATE, id, [...head, ...set, ...unset])) as "updated" | "shortened" | "stale" | "missing";
  }

  async touch(id: SessionId, seenAt: Instant, expiresAt: Instant): Promise<boolean> {
    return isOne(await this.#run(TOUCH, id, [String(seenAt), String(expiresAt)]));
  }

  /** Removes a record, with `userId` only if it is that user's. `undefined` when nothing was removed. */
  async remove(id: SessionId, userId?: string): Promise<Removed | undefined> {
    return removedOf(await this.#run(REMOVE, id, userId === undefined ? [] : [toUtf8Text(userId)]));
  }

  /** Removes a record if it has expired. `undefined` when nothing was removed. */
  async removeExpired(id: SessionId, now: Instant): Promise<Removed | undefined> {
    return removedOf(await this.#run(REMOVE_EXPIRED, id, [String(now)]));
  }

  /** Removes whatever has the key of this session. */
  async removeAnyway(id: SessionId): Promise<boolean> {
    const key = this.#keys.session(id);
    return isOne(await this.#redis.send(key, ["UNLINK", key]));
  }

  /** The ids of all sessions, in pages; an id may come twice. */
  async *scan(page: number): AsyncGenerator<SessionId[]> {
    for (const send of await this.#redis.primaries()) {
      let cursor = "0";
      do {
        const reply = await send(["SCAN", cursor, "MATCH", this.#keys.sessionPattern, "COUNT", String(page)]);
        const [next, found] = reply as [unknown, string[]];
        cursor = String(next);
        const ids = found.flatMap((key) => this.#keys.idIn(key) ?? []);
        if (ids.length > 0) yield ids;
      } while (cursor !== "0");
    }
  }

  #readFields(id: SessionId, lease: LeaseRequest | undefined): Promise<unknown> {
    const key = this.#keys.session(id);
    if (lease === undefined) return this.#redis.send(key, ["HGETALL", key]);
    const { holder, until, now, secretHash } = lease;
    return this.#run(READ_WITH_LEASE, id, [holder, String(until), String(now), secretHash]);
  }

  #run(script: Script, id: SessionId, args: readonly string[]): Promise<unknown> {
    return runScript(this.#redis, script, this.#keys.session(id), args);
  }
}

/** Where in the arguments of `UPDATE` the fields to set begin, counted from 1. */
const FIRST_TO_SET = 6;

const isOne = (reply: unknown): boolean => Number(reply) === 1;

function removedOf(reply: unknown): Removed | undefined {
  if (reply === null) return undefined;
  const [userId] = reply as string[];
  return userId === undefined ? {} : { userId: fromUtf8Text(userId) };
}

const newWriteName = (): string => base64url(randomBytes(6));
