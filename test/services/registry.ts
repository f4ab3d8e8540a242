import { chromium } from "./chromium.ts";
import { javascriptRuntimes } from "./javascript-runtimes.ts";
import { mongodb } from "./mongodb.ts";
import { mysql } from "./mysql.ts";
import { postgres } from "./postgres.ts";
import { redis } from "./redis.ts";
import { redisCluster } from "./redis-cluster.ts";
import type { Service } from "./service.ts";

/** All services that tests can ask for, in the order of the table at the end of a run. */
export const registry: readonly Service[] = [
  redis,
  redisCluster,
  postgres,
  mysql,
  mongodb,
  chromium,
  ...javascriptRuntimes,
];
