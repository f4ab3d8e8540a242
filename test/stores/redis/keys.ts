import { randomBytes } from "node:crypto";
import { commandsOf, type RedisClient } from "../../../src/stores/redis/commands.ts";

/** A prefix that no other test has. */
export const newPrefix = (): string => `coatcheck-test-${randomBytes(6).toString("hex")}:`;

/** All keys on a server or cluster whose names begin so. */
export async function keysOf(client: RedisClient, prefix: string): Promise<string[]> {
  const keys: string[] = [];
  for (const send of await commandsOf(client).primaries()) {
    let cursor = "0";
    do {
      const [next, found] = (await send(["SCAN", cursor, "COUNT", "1000"])) as [string, string[]];
      cursor = String(next);
      keys.push(...found.filter((key) => key.startsWith(prefix)));
    } while (cursor !== "0");
  }
  return keys.sort();
}

export async function deleteKeys(client: RedisClient, prefix: string): Promise<void> {
  const { send } = commandsOf(client);
  for (const key of await keysOf(client, prefix)) await send(key, ["UNLINK", key]);
}
