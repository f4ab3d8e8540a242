import { createHash } from "node:crypto";
import type { RedisCommands } from "./commands.ts";
import { FIELD } from "./fields.ts";

/** A Lua script that touches one key. Redis runs it as one step. */
export interface Script {
  readonly text: string;
  /** Name by which Redis knows a script that it has seen. */
  readonly sha: string;
}

/**
 * How much longer Redis keeps a session than the session lives, in milliseconds: covers clocks that disagree, and leaves
 * the removal to `removeExpired` as long as that runs.
 */
export const SLACK = 3_600_000;

/** How old an entry of a user's index must be before it can be dropped as stale, in milliseconds. */
export const GRACE = 600_000;

/** No session lives longer after its last login than 400 days, so no index needs to. In milliseconds. */
const INDEX_LIFE = 401 * 86_400_000;

/**
 * Sets the time to live by how long the session lives after it was last seen. Never by its absolute deadline: the core's
 * clock need not be the server's.
 */
const EXPIRE = `
local function expire(seenAt, expiresAt)
  local life = math.max(0, (tonumber(expiresAt) or 0) - (tonumber(seenAt) or 0))
  redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.min(life, 1e13) + ${SLACK}))
end`;

/** Lua's stack holds less than 8000 values, and a session may have more keys. */
const WRITE = `
local function write(command, first, last)
  for i = first, last, 4000 do
    redis.call(command, KEYS[1], unpack(ARGV, i, math.min(i + 3999, last)))
  end
end`;

/** Arguments: name of the write, seenAt, expiresAt, then fields and values in turn. Answers 0 when the record exists. */
export const CREATE = script(`${EXPIRE}${WRITE}
if redis.call('EXISTS', KEYS[1]) == 1 then
  local found = redis.call('HMGET', KEYS[1], '${FIELD.write}', '${FIELD.version}')
  return found[1] == ARGV[1] and found[2] == '1' and 1 or 0
end
redis.call('HSET', KEYS[1], '${FIELD.write}', ARGV[1])
write('HSET', 4, #ARGV)
expire(ARGV[2], ARGV[3])
return 1`);

/**
 * Arguments: holder, until, now, hash of the secret. Takes the lease if it is free and the hash is the record's, and answers
 * with all fields.
 */
export const READ_WITH_LEASE = script(`
local found = redis.call('HMGET', KEYS[1], '${FIELD.secretHash}', '${FIELD.leaseHolder}', '${FIELD.leaseUntil}')
if found[1] == ARGV[4] and (not found[2] or found[2] == ARGV[1] or tonumber(ARGV[3]) >= (tonumber(found[3]) or 0)) then
  redis.call('HSET', KEYS[1], '${FIELD.leaseHolder}', ARGV[1], '${FIELD.leaseUntil}', ARGV[2])
end
return redis.call('HGETALL', KEYS[1])`);

/** Argument: holder. */
export const RELEASE = script(`
if redis.call('HGET', KEYS[1], '${FIELD.leaseHolder}') == ARGV[1] then
  redis.call('HDEL', KEYS[1], '${FIELD.leaseHolder}', '${FIELD.leaseUntil}')
end
return 0`);

/**
 * Arguments: name of the write, expected version, next version, holder of the lease to give back or '', index of the last
 * field to set, then fields and values to set in turn, then fields to remove. Answers `missing`, `stale`, `updated`, or
 * `shortened` when the record now expires earlier than before.
 */
export const UPDATE = script(`${EXPIRE}${WRITE}
local found = redis.call('HMGET', KEYS[1], '${FIELD.version}', '${FIELD.write}', '${FIELD.expiresAt}', '${FIELD.leaseHolder}')
if found[1] ~= ARGV[2] then
  if found[1] == ARGV[3] and found[2] == ARGV[1] then return 'updated' end
  return redis.call('EXISTS', KEYS[1]) == 1 and 'stale' or 'missing'
end
redis.call('HSET', KEYS[1], '${FIELD.version}', ARGV[3], '${FIELD.write}', ARGV[1])
local last = tonumber(ARGV[5])
write('HDEL', last + 1, #ARGV)
write('HSET', 6, last)
if ARGV[4] ~= '' and found[4] == ARGV[4] then
  redis.call('HDEL', KEYS[1], '${FIELD.leaseHolder}', '${FIELD.leaseUntil}')
end
local now = redis.call('HMGET', KEYS[1], '${FIELD.seenAt}', '${FIELD.expiresAt}')
expire(now[1], now[2])
return (tonumber(now[2]) or 0) < (tonumber(found[3]) or 0) and 'shortened' or 'updated'`);

/** Arguments: seenAt, expiresAt. Answers 0 when there is no record. */
export const TOUCH = script(`${EXPIRE}
local found = redis.call('HMGET', KEYS[1], '${FIELD.seenAt}', '${FIELD.expiresAt}')
if not found[2] then return 0 end
local function later(stored, given)
  return (tonumber(stored) or 0) < tonumber(given) and given or stored
end
local seenAt = later(found[1], ARGV[1])
local expiresAt = later(found[2], ARGV[2])
redis.call('HSET', KEYS[1], '${FIELD.seenAt}', seenAt, '${FIELD.expiresAt}', expiresAt)
expire(seenAt, expiresAt)
return 1`);

/** Arguments: none, or the user that the record must belong to. Answers false, or a list of the record's user, if any. */
export const REMOVE = script(`
local userId = redis.call('HGET', KEYS[1], '${FIELD.userId}')
if ARGV[1] and userId ~= ARGV[1] then return false end
if redis.call('UNLINK', KEYS[1]) == 0 then return false end
return {userId or nil}`);

/** Argument: now. Removes the record if it has expired; answers as `REMOVE`. */
export const REMOVE_EXPIRED = script(`
local found = redis.call('HMGET', KEYS[1], '${FIELD.expiresAt}', '${FIELD.userId}')
if not found[1] or (tonumber(found[1]) or 0) > tonumber(ARGV[1]) then return false end
redis.call('UNLINK', KEYS[1])
return {found[2] or nil}`);

/** Argument: a session id. Puts it into a user's index, with the server's time, which tells how old the entry is. */
export const INDEX = script(`
local time = redis.call('TIME')
redis.call('ZADD', KEYS[1], time[1] * 1000 + math.floor(time[2] / 1000), ARGV[1])
redis.call('PEXPIRE', KEYS[1], '${INDEX_LIFE}')
return 1`);

/**
 * Arguments: session ids that were found to be stale. Drops those that are not new: behind a new entry there may be a login
 * whose record is about to appear.
 */
export const HEAL = script(`
local time = redis.call('TIME')
local newest = time[1] * 1000 + math.floor(time[2] / 1000) - ${GRACE}
for _, id in ipairs(ARGV) do
  local added = redis.call('ZSCORE', KEYS[1], id)
  if added and tonumber(added) <= newest then redis.call('ZREM', KEYS[1], id) end
end
return 0`);

/**
 * Arguments: an entry of the log of revocations, and a channel. Adds the entry at the next position, which it puts before it,
 * and publishes that there is one. Who may not publish is found out by reading.
 */
export const APPEND = script(`
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
local position = string.format('%.0f', (tonumber(last[2]) or 0) + 1)
redis.call('ZADD', KEYS[1], position, position .. ' ' .. ARGV[1])
redis.pcall('PUBLISH', ARGV[2], '')
return 1`);

function script(text: string): Script {
  return { text, sha: createHash("sha1").update(text).digest("hex") };
}

/** Runs a script on its key. Redis is sent the text only when it does not know the script, such as after a restart. */
export async function runScript(
  redis: RedisCommands,
  { sha, text }: Script,
  key: string,
  args: readonly string[],
): Promise<unknown> {
  try {
    return await redis.send(key, ["EVALSHA", sha, "1", key, ...args]);
  } catch (error) {
    if (!(error instanceof Error && error.message.startsWith("NOSCRIPT"))) throw error;
    return redis.send(key, ["EVAL", text, "1", key, ...args]);
  }
}
