import { minutes } from "coatcheck";
import { redisStore } from "coatcheck/redis";
import type { SessionStore } from "coatcheck/stores";
import { afterAll, describe, expect, it } from "vitest";
import { commandsOf } from "../../../src/stores/redis/commands.ts";
import { RedisKeys } from "../../../src/stores/redis/keys.ts";
import { createdIn, newRecord } from "../../../src/testing/conformance/scene.ts";
import { describeWithService } from "../../services/services.ts";
import { drivers } from "./clients.ts";
import { holdBack } from "./hold-back.ts";
import { deleteKeys, newPrefix } from "./keys.ts";

for (const service of ["redis", "redis-cluster"] as const)
  describeWithService(service, async ({ url }) => {
    const [{ single, cluster }] = drivers as [(typeof drivers)[0]];
    const prefix = newPrefix();
    const { client, end } = await (service === "redis" ? single : cluster)(url);
    afterAll(async () => {
      await deleteKeys(client, prefix);
      end();
    });
    const keys = new RedisKeys(prefix, "");
    const redis = commandsOf(client);
    const store = redisStore(client, { prefix });
    let users = 0;
    const newUser = () => `user-${++users}`;
    const index = (userId: string) => redis.send(keys.user(userId), ["ZRANGE", keys.user(userId), "0", "-1"]);
    /** Makes all entries of an index this much older. */
    const age = async (userId: string, by: number) => {
      for (const id of (await index(userId)) as string[])
        await redis.send(keys.user(userId), ["ZINCRBY", keys.user(userId), String(-by), id]);
    };
    /** Waits for the work that no answer waits for. */
    const tidied = (of: SessionStore = store) => of.removeExpired(0, 1);

    describe("CC-04: a user's index", () => {
      it("loses the entries of sessions that are gone or have gone over to somebody else", async () => {
        const userId = newUser();
        const kept = await createdIn(store, { userId });
        const [vanished, taken, left] = [
          await createdIn(store, { userId }),
          await createdIn(store, { userId }),
          await createdIn(store, { userId }),
        ];
        await redis.send(keys.session(vanished.id), ["DEL", keys.session(vanished.id)]);
        await store.update(taken.id, 1, { userId: newUser() });
        await store.update(left.id, 1, { userId: null });
        await age(userId, minutes(10));
        expect(await store.listByUser(userId)).toEqual([kept]);
        await tidied();
        expect(await index(userId)).toEqual([kept.id]);
      });

      it("is healed by removeByUser, too", async () => {
        const userId = newUser();
        const [kept, vanished] = [await createdIn(store, { userId }), await createdIn(store, { userId })];
        await redis.send(keys.session(vanished.id), ["DEL", keys.session(vanished.id)]);
        await age(userId, minutes(10));
        expect(await store.removeByUser(userId, kept.id)).toBe(0);
        await tidied();
        expect(await index(userId)).toEqual([kept.id]);
      });

      it("keeps a new entry without a session, behind which a login may be on its way", async () => {
        const userId = newUser();
        const vanished = await createdIn(store, { userId });
        await redis.send(keys.session(vanished.id), ["DEL", keys.session(vanished.id)]);
        await age(userId, minutes(9));
        expect(await store.listByUser(userId)).toEqual([]);
        await tidied();
        expect(await index(userId)).toEqual([vanished.id]);
      });

      it("is complete when it is healed in the middle of a login", async () => {
        const userId = newUser();
        for (const login of ["create", "update"] as const) {
          const anonymous = newRecord();
          if (login === "update") await store.create(anonymous);
          const { slow, reached, release } = holdBack(redis, prefix, keys.session(anonymous.id));
          const loggingIn =
            login === "create"
              ? slow.create({ ...anonymous, userId })
              : slow.update(anonymous.id, 1, { userId }).then((outcome) => expect(outcome).toBe("updated"));
          await reached;
          expect(await index(userId)).toContain(anonymous.id);
          expect((await store.listByUser(userId)).map(({ id }) => id)).not.toContain(anonymous.id);
          expect(await store.removeByUser(newUser())).toBe(0);
          await tidied();
          release();
          await loggingIn;
          expect((await store.listByUser(userId)).map(({ id }) => id)).toContain(anonymous.id);
        }
        expect(await store.removeByUser(userId)).toBe(2);
      });

      it("is complete when the session comes back to the user while its old entry is being healed", async () => {
        const userId = newUser();
        const { id } = await createdIn(store, { userId });
        await store.update(id, 1, { userId: null });
        await age(userId, minutes(60));
        const { slow, reached, release } = holdBack(redis, prefix, keys.user(userId), "EVALSHA");
        expect(await slow.listByUser(userId)).toEqual([]);
        await reached;
        await store.update(id, 2, { userId });
        release();
        await tidied(slow);
        expect(await store.listByUser(userId)).toHaveLength(1);
      });

      it("names a session before the record does, so that no crash in between hides a session", async () => {
        const userId = newUser();
        const record = newRecord({ userId });
        const { slow, reached, release } = holdBack(redis, prefix, keys.user(userId));
        const creating = slow.create(record);
        await reached;
        if (service === "redis-cluster") expect(await store.read(record.id)).toBeUndefined();
        release();
        await creating;
        expect(await store.listByUser(userId)).toEqual([record]);
      });

      it("is kept for longer than any session lives", async () => {
        const userId = newUser();
        await createdIn(store, { userId });
        const life = Number(await redis.send(keys.user(userId), ["PTTL", keys.user(userId)]));
        expect(life).toBeGreaterThan(400 * 86_400_000);
      });
    });
  });
