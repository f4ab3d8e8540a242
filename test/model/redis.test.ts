import { redisStore } from "coatcheck/redis";
import { describeWithService } from "../services/services.ts";
import { drivers } from "../stores/redis/clients.ts";
import { deleteKeys, newPrefix } from "../stores/redis/keys.ts";
import { modelTest } from "./model.ts";

const driver = (name: string) => drivers.find((candidate) => candidate.name === name) as (typeof drivers)[number];

for (const [service, { name, single, cluster }, runs] of [
  ["redis", driver("node-redis 6"), 40],
  ["redis", driver("ioredis 6"), 20],
  ["redis-cluster", driver("ioredis 6"), 20],
  ["redis-cluster", driver("node-redis 6"), 20],
] as const)
  describeWithService(service, ({ url }) => {
    modelTest({
      name: `${service} with ${name}`,
      runs,
      async createStore() {
        const prefix = newPrefix();
        const open = service === "redis" ? single : cluster;
        const [one, other] = await Promise.all([open(url), open(url)]);
        return {
          handles: [redisStore(one.client, { prefix }), redisStore(other.client, { prefix })],
          reopen: async () => ({ store: redisStore(one.client, { prefix }), close: async () => {} }),
          async close() {
            await deleteKeys(one.client, prefix);
            one.end();
            other.end();
          },
        };
      },
    });
  });
