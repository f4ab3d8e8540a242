import { randomBytes } from "node:crypto";
import { createSessions, SessionConflictError } from "coatcheck";
import { postgresStore } from "coatcheck/postgres";
import { redisStore } from "coatcheck/redis";
import type { SessionStore } from "coatcheck/stores";
import { createTokens, generateKey, InvalidGrantError } from "coatcheck/tokens";
import pg from "pg";
import { describe, expect, it, onTestFinished } from "vitest";
import { describeWithService } from "../services/services.ts";
import { times } from "../session/support.ts";
import { drivers } from "../stores/redis/clients.ts";
import { deleteKeys, newPrefix } from "../stores/redis/keys.ts";
import { accepted, refused } from "./session-support.ts";
import { AUDIENCE, ISSUER } from "./support.ts";

interface Server {
  /** The store as another process sees it. */
  open(): Promise<SessionStore>;
  close(): Promise<void>;
}

/** What a process has of one issuer's tokens. */
function processOf(store: SessionStore, keys: ReturnType<typeof generateKey>, refreshGrace = 0) {
  const sessions = createSessions({ store });
  onTestFinished(() => sessions.close());
  const reasons: string[] = [];
  sessions.on("refreshReused", ({ reason }) => void reasons.push(reason));
  const tokens = createTokens({ sessions, keys, issuer: ISSUER, audience: AUDIENCE, refreshGrace });
  return { sessions, tokens, reasons, feed: sessions.revocationFeed(1000) };
}

function refreshTokens(server: () => Server): void {
  const two = async (refreshGrace = 0) => {
    const { open, close } = server();
    onTestFinished(close);
    const keys = generateKey("HS256");
    return [processOf(await open(), keys, refreshGrace), processOf(await open(), keys, refreshGrace)] as const;
  };

  describe("refresh tokens, two processes", () => {
    it("RT-03: of 20 parallel refreshes one succeeds; whoever looked before it had is told to try again, later is reuse", async () => {
      const [one, other] = await two();
      const { refreshToken } = await one.tokens.login("ada");
      const attempts = times(20, (i) => (i % 2 === 0 ? one : other).tokens.refresh(refreshToken));
      const settled = await Promise.allSettled(attempts);
      expect(settled.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
      for (const outcome of settled)
        if (outcome.status === "rejected" && !(outcome.reason instanceof InvalidGrantError))
          expect(outcome.reason).toBeInstanceOf(SessionConflictError);
      const reused = one.reasons.length + other.reasons.length > 0;
      expect(await one.sessions.forUser("ada").list()).toHaveLength(reused ? 0 : 1);
    });

    it("RT-03: with a grace, 20 parallel refreshes leave exactly one live successor", async () => {
      const [one, other] = await two(10_000);
      const { refreshToken } = await one.tokens.login("ada");
      const answers = await Promise.all(times(20, (i) => (i % 2 === 0 ? one : other).tokens.refresh(refreshToken)));
      expect(new Set(answers.map((answer) => answer.refreshToken)).size).toBe(1);
      const next = await other.tokens.refresh(answers[0]?.refreshToken);
      expect(await accepted(one.tokens, next.accessToken)).toBe(true);
    });

    it("RT-02: reuse ends the family with its access tokens, in the other process too", async () => {
      const [one, other] = await two();
      const first = await one.tokens.login("ada");
      const second = await other.tokens.refresh(first.refreshToken);
      const third = await one.tokens.refresh(second.refreshToken);
      expect(await accepted(other.tokens, third.accessToken)).toBe(true);
      await refused(one.tokens.refresh(first.refreshToken));
      expect(one.reasons).toEqual(["older"]);
      await other.feed.catchUp();
      for (const { accessToken } of [first, second, third]) {
        expect(await accepted(one.tokens, accessToken)).toBe(false);
        expect(await accepted(other.tokens, accessToken)).toBe(false);
      }
      await refused(other.tokens.refresh(third.refreshToken));
    });

    it("LO-10: revoking all ends what the user has, and who logs in at once afterwards is spared", async () => {
      const [one, other] = await two();
      const answers = await Promise.all([one.tokens.login("ada"), other.tokens.login("ada")]);
      const eve = await one.tokens.login("eve");
      expect(await one.sessions.forUser("ada").revokeAll()).toBe(2);
      const again = await one.tokens.login("ada");
      await other.feed.catchUp();
      for (const { accessToken, refreshToken } of answers) {
        expect(await accepted(other.tokens, accessToken)).toBe(false);
        await refused(other.tokens.refresh(refreshToken));
      }
      for (const { accessToken, refreshToken } of [eve, again]) {
        expect(await accepted(other.tokens, accessToken)).toBe(true);
        await other.tokens.refresh(refreshToken);
      }
    });

    it("LO-08: revoking all beats refreshes that are under way", async () => {
      const [one, other] = await two();
      const logins = await Promise.all(times(8, () => one.tokens.login("ada")));
      const refreshing = Promise.allSettled(logins.map(({ refreshToken }) => other.tokens.refresh(refreshToken)));
      await one.sessions.forUser("ada").revokeAll();
      await other.feed.catchUp();
      for (const settled of await refreshing) {
        if (settled.status === "rejected") continue;
        expect(await accepted(other.tokens, settled.value.accessToken)).toBe(false);
        await refused(other.tokens.refresh(settled.value.refreshToken));
      }
      expect(await one.sessions.forUser("ada").list()).toEqual([]);
    });
  });
}

describeWithService("redis", ({ url }) => {
  refreshTokens(() => {
    const prefix = newPrefix();
    const opened: Awaited<ReturnType<(typeof drivers)[0]["single"]>>[] = [];
    return {
      async open() {
        const client = await (drivers[0] as (typeof drivers)[0]).single(url);
        opened.push(client);
        return redisStore(client.client, { prefix });
      },
      async close() {
        await deleteKeys((opened[0] as (typeof opened)[0]).client, prefix);
        for (const client of opened) client.end();
      },
    };
  });
});

describeWithService("postgres", ({ url }) => {
  refreshTokens(() => {
    const schema = `coatcheck_tokens_${randomBytes(6).toString("hex")}`;
    const pools: pg.Pool[] = [];
    return {
      async open() {
        const pool = new pg.Pool({ connectionString: url, max: 4 });
        pools.push(pool);
        return postgresStore(pool, { schema });
      },
      async close() {
        await pools[0]?.query(`DROP SCHEMA IF EXISTS "${schema}" CASCADE`);
        for (const pool of pools) await pool.end();
      },
    };
  });
});
