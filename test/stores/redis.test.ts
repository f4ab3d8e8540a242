import { redisStore } from "coatcheck/redis";
import { storeConformance } from "coatcheck/testing";
import { afterAll, describe, it } from "vitest";
import { commandsOf } from "../../src/stores/redis/commands.ts";
import type { ServiceName } from "../services/service.ts";
import { describeWithService } from "../services/services.ts";
import { drivers } from "./redis/clients.ts";
import { deleteKeys, newPrefix } from "./redis/keys.ts";

describe.each(drivers)("SC-05: $name keeps the store contract", (driver) => {
  contract("redis", (url) => driver.single(url));
  contract("redis-cluster", (url) => driver.cluster(url));
});

function contract(service: ServiceName, open: (typeof drivers)[number]["single"]): void {
  describeWithService(service, async ({ url }) => {
    const prefix = newPrefix();
    const [one, other] = await Promise.all([open(url), open(url)]);
    let stores = 0;

    afterAll(async () => {
      await deleteKeys(one.client, prefix);
      one.end();
      other.end();
    });

    const cases = storeConformance({
      createStore() {
        const options = { prefix: `${prefix}${++stores}:` };
        return {
          store: redisStore(one.client, options),
          reopen: () => redisStore(other.client, options),
          corrupt: (id) =>
            commandsOf(one.client).send(`${options.prefix}s:${id}`, ["HSET", `${options.prefix}s:${id}`, "m", "?"]),
        };
      },
    });
    it.each(cases)("$name", ({ run }) => run());
  });
}
