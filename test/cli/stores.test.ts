import { randomUUID } from "node:crypto";
import { createSessions, days } from "coatcheck";
import { openStore } from "coatcheck/stores";
import { signedInCookie, TestClock } from "coatcheck/testing";
import { expect, it, onTestFinished } from "vitest";
import { run } from "../../src/cli/run.ts";
import { newDatabase } from "../services/databases.ts";
import { describeWithService } from "../services/services.ts";

for (const service of ["redis", "postgres", "mysql", "mongodb"] as const)
  describeWithService(service, ({ url }) => {
    const newUrl = async () => {
      const database = await newDatabase(service, url);
      onTestFinished(async () => void (await database.drop()));
      return database.url;
    };

    it("every command does its work", async () => {
      const [storeUrl, to] = [await newUrl(), await newUrl()];
      const clock = new TestClock();
      const store = await openStore(storeUrl);
      const sessions = createSessions({ store, clock });
      for (const user of ["ada", "ada", "bob", "eve"]) await signedInCookie(sessions, user);
      const [bob] = await store.listByUser("bob");
      const coatcheck = async (...argv: string[]) => {
        const out: string[] = [];
        const error = (line: string) => expect.unreachable(line);
        const surroundings = { out: (line: string) => void out.push(line), error, progress: () => {}, storeUrl, clock };
        expect(await run([...argv, "--json"], surroundings)).toBe(0);
        expect(out.join()).not.toContain(bob?.secretHash);
        return JSON.parse(out.join());
      };

      expect(await coatcheck("list")).toHaveLength(4);
      expect(await coatcheck("list", "--user", "ada")).toHaveLength(2);
      expect(await coatcheck("show", bob?.id as string)).toMatchObject({ id: bob?.id, userId: "bob", state: "live" });
      expect(await coatcheck("revoke", bob?.id as string)).toEqual({ revoked: 1 });
      expect(await coatcheck("revoke", "--user", "eve")).toEqual({ revoked: 1 });
      expect(await coatcheck("stats")).toMatchObject({ sessions: 2, live: 2, users: 1 });
      expect(await coatcheck("migrate", "--to", to)).toEqual({ moved: 2, expired: 0 });
      expect(await coatcheck("list")).toEqual([]);
      expect(await coatcheck("list", "--store", to, "--user", "ada")).toHaveLength(2);
      await clock.advance(days(1));
      expect(await coatcheck("prune", "--store", to)).toEqual({ removed: 2 });
      await sessions.close();
    }, 60_000);

    it("works on the table, collection or prefix that --name tells, and says so when there is none", async () => {
      const storeUrl = await newUrl();
      const isRedis = service === "redis";
      const [name, other] = isRedis ? [`${randomUUID()}:`, `${randomUUID()}:`] : ["app_sessions", "app_copies"];
      const options = { name: service === "postgres" ? `public.${name}` : name };
      const store = await openStore(storeUrl, options);
      const sessions = createSessions({ store });
      await signedInCookie(sessions, "ada");
      const coatcheck = async (...argv: string[]) => {
        const said: string[] = [];
        const line = (text: string) => void said.push(text);
        const code = await run([...argv, "--json"], { out: line, error: line, progress: () => {}, storeUrl });
        return { code, said: said.join("\n") };
      };
      const count = async (name: string) => JSON.parse((await coatcheck("list", "--name", name)).said).length;

      expect(await count(options.name)).toBe(1);
      expect((await coatcheck("migrate", "--name", options.name, "--to", storeUrl, "--to-name", other)).code).toBe(0);
      expect([await count(options.name), await count(other)]).toEqual([0, 1]);
      // Tables are made by applications, not by looking for them.
      if (service === "postgres" || service === "mysql")
        for (const _ of [1, 2]) {
          const missing = await coatcheck("list", "--name", "nobodys");
          expect(missing).toMatchObject({ code: 1, said: expect.stringMatching(/nobodys.*n.t exist/) });
        }
      if (isRedis) {
        const copies = await openStore(storeUrl, { name: other });
        await copies.removeAll();
        await copies.close?.();
      }
      await sessions.close();
    });
  });
