import { createSessions } from "coatcheck";
import { type PostgresQueryable, postgresStore } from "coatcheck/postgres";
import pg from "pg";
import { describe, expect, it, onTestFinished } from "vitest";
import { startPostgres } from "../services/postgres.ts";
import { type OwnServer, untilItHolds } from "../services/processes.ts";
import { describeWithService } from "../services/services.ts";
import { startTcpProxy } from "../services/tcp-proxy.ts";
import { type Cart, type Load, startLoad, UNHARMED } from "./load.ts";

/** The ways to reach one server. */
const ways = [
  { name: "a URL", connect: (url: string): string | PostgresQueryable => url },
  {
    name: "a pool",
    connect(url: string): string | PostgresQueryable {
      const pool = new pg.Pool({ connectionString: url });
      pool.on("error", () => {});
      onTestFinished(() => pool.end());
      return pool;
    },
  },
];

/** An application under load, with a store whose operations may take at most `storeTimeout` milliseconds. */
async function application(way: (typeof ways)[number], url: string, storeTimeout = 400): Promise<Load> {
  const sessions = createSessions<Cart>({ store: postgresStore(way.connect(url)), storeTimeout });
  onTestFinished(() => sessions.close());
  // The first use makes the tables, which may take longer than the operations of a request.
  await untilItHolds(() => sessions.forUser("nobody").list(), 10_000);
  return startLoad(sessions);
}

async function ownPostgres(): Promise<OwnServer> {
  const server = await startPostgres();
  onTestFinished(() => server.stop());
  return server;
}

describeWithService("postgres", () => {
  describe.each(ways)("SC-06: through $name", (way) => {
    it.each([
      ["restarted", "SIGINT"],
      ["stopped without a word to anybody", "SIGQUIT"],
      ["killed", "SIGKILL"],
    ] as const)(
      "a server that is %s under load costs no acknowledged write and logs nobody out",
      async (_, signal) => {
        const server = await ownPostgres();
        const load = await application(way, server.url);
        for (let round = 0; round < 2; round++) {
          await load.acknowledges(100);
          await server.kill(signal);
          await load.refuses(20);
          // What a killed server leaves behind notices only after a moment, and until then another one does not start.
          await untilItHolds(() => server.restart(), 20_000);
          await load.acknowledges(100);
        }
        expect(await load.stop()).toEqual(UNHARMED);
      },
      60_000,
    );

    it("a process of the server that is killed, so that all of them start anew, costs nothing", async () => {
      const server = await ownPostgres();
      const load = await application(way, server.url);
      const admin = new pg.Pool({ connectionString: server.url, max: 1 });
      admin.on("error", () => {});
      onTestFinished(() => admin.end());
      for (let round = 0; round < 2; round++) {
        await load.acknowledges(100);
        const { rows } = await untilItHolds(
          () => admin.query("SELECT pid FROM pg_stat_activity WHERE datname IS NOT NULL AND pid <> pg_backend_pid()"),
          20_000,
        );
        process.kill(rows[0].pid, "SIGKILL");
        await load.refuses(1);
        await load.acknowledges(100);
      }
      expect(await load.stop()).toEqual(UNHARMED);
    }, 60_000);

    it("connections that break in the middle of an answer cost nothing, and no write counts twice", async () => {
      const server = await ownPostgres();
      const proxy = await startTcpProxy(server.url, 5432);
      onTestFinished(() => proxy.close());
      const load = await application(way, proxy.url);
      for (let bytes = 0; bytes < 60; bytes += 2) {
        await load.acknowledges(10);
        proxy.cutNextAnswer(bytes);
      }
      await load.acknowledges(20);
      expect(proxy.connections).toBeGreaterThan(20);
      expect(await load.stop()).toEqual(UNHARMED);
    });

    it("a network that swallows everything makes 503, and it goes on when connections come about again", async () => {
      const server = await ownPostgres();
      const proxy = await startTcpProxy(server.url, 5432);
      onTestFinished(() => proxy.close());
      const load = await application(way, proxy.url);
      await load.acknowledges(50);
      proxy.blackhole();
      await load.refuses(10);
      proxy.restore();
      proxy.cut();
      await load.acknowledges(50);
      expect(await load.stop()).toEqual(UNHARMED);
    });

    it("a slow network is waited for, but not longer than the store may take", async () => {
      const server = await ownPostgres();
      const proxy = await startTcpProxy(server.url, 5432);
      onTestFinished(() => proxy.close());
      const load = await application(way, proxy.url, 300);
      proxy.delay(20);
      await load.acknowledges(40);
      proxy.delay(500);
      await load.refuses(8);
      proxy.restore();
      await load.acknowledges(40);
      expect(await load.stop()).toEqual(UNHARMED);
    });
  });
});
