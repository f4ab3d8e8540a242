import { redisStore } from "coatcheck/redis";
import type { SessionStore } from "coatcheck/stores";
import type { RedisCommands } from "../../../src/stores/redis/commands.ts";
import { deferred } from "../../frameworks/support.ts";

/** A store of another process that stands still before it sends something. */
export interface HeldBack {
  readonly slow: SessionStore;
  /** Resolves when it stands still. */
  readonly reached: Promise<void>;
  release(): void;
}

/** Holds back what is sent about one key; only this command, if it is given. */
export function holdBack(redis: RedisCommands, prefix: string, key: string, command?: string): HeldBack {
  const [reached, released] = [deferred(), deferred()];
  const client = {
    options: {},
    nodes: () => [],
    async call(name: string, args: string[]) {
      const about = name.startsWith("EVAL") ? args[2] : args[0];
      if (about === key && (command === undefined || command === name)) {
        reached.resolve();
        await released.promise;
      }
      return redis.send(about as string, [name, ...args]);
    },
  };
  return { slow: redisStore(client, { prefix }), reached: reached.promise, release: () => released.resolve() };
}
