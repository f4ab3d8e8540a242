import { createSessions } from "coatcheck";
import { type MysqlQueryable, mysqlStore } from "coatcheck/mysql";
import mysql from "mysql2/promise";
import { afterAll, beforeAll, expect, it, onTestFinished } from "vitest";
import { startMysql } from "../services/mysql.ts";
import { type OwnServer, untilItHolds } from "../services/processes.ts";
import { describeWithService } from "../services/services.ts";
import { startTcpProxy, type TcpProxy } from "../services/tcp-proxy.ts";
import { type Cart, type Load, startLoad, UNHARMED } from "./load.ts";

const byUrl = (url: string): string | MysqlQueryable => `${url}/mysql`;

function byPool(url: string): string | MysqlQueryable {
  const pool = mysql.createPool(`${url}/mysql`);
  onTestFinished(() => pool.end());
  return pool;
}

/** An application under load, with a store whose operations may take at most `storeTimeout` milliseconds. */
async function application(source: string | MysqlQueryable, storeTimeout = 400): Promise<Load> {
  const sessions = createSessions<Cart>({ store: mysqlStore(source), storeTimeout });
  onTestFinished(() => sessions.close());
  // The first use makes the tables, which may take longer than the operations of a request.
  await untilItHolds(() => sessions.forUser("nobody").list(), 10_000);
  return startLoad(sessions);
}

describeWithService("mysql", () => {
  let server: OwnServer;
  beforeAll(async () => {
    server = await startMysql();
  }, 60_000);
  afterAll(() => server.stop());

  async function proxied(): Promise<TcpProxy> {
    const proxy = await startTcpProxy(server.url, 3306);
    onTestFinished(() => proxy.close());
    return proxy;
  }

  it.each([
    ["restarted", "SIGTERM", "a URL", byUrl],
    ["killed", "SIGKILL", "a URL", byUrl],
    ["killed", "SIGKILL", "a pool", byPool],
  ] as const)(
    "SC-06: a server that is %s (%s) under load costs no acknowledged write and logs nobody out (%s)",
    async (_, signal, _way, source) => {
      const load = await application(source(server.url));
      await load.acknowledges(100);
      await server.kill(signal);
      await load.refuses(20);
      await server.restart();
      await load.acknowledges(100);
      expect(await load.stop()).toEqual(UNHARMED);
    },
    60_000,
  );

  it.each([
    ["a URL", byUrl],
    ["a pool", byPool],
  ] as const)(
    "SC-06: connections that break in the middle of an answer cost nothing, and no write counts twice (%s)",
    async (_, source) => {
      const proxy = await proxied();
      const load = await application(source(proxy.url));
      for (let bytes = 0; bytes < 60; bytes += 6) {
        await load.acknowledges(10);
        proxy.cutNextAnswer(bytes);
      }
      await load.acknowledges(20);
      expect(proxy.connections).toBeGreaterThan(20);
      expect(await load.stop()).toEqual(UNHARMED);
    },
    60_000,
  );

  it("SC-06: a network that swallows everything makes 503, and it goes on when connections come about again", async () => {
    const proxy = await proxied();
    const load = await application(byUrl(proxy.url));
    await load.acknowledges(50);
    proxy.blackhole();
    await load.refuses(10);
    proxy.restore();
    proxy.cut();
    await load.acknowledges(50);
    expect(await load.stop()).toEqual(UNHARMED);
  }, 60_000);

  it("SC-06: a slow network is waited for, but not longer than the store may take", async () => {
    const proxy = await proxied();
    const load = await application(byUrl(proxy.url), 300);
    proxy.delay(20);
    await load.acknowledges(40);
    proxy.delay(500);
    await load.refuses(8);
    proxy.restore();
    await load.acknowledges(40);
    expect(await load.stop()).toEqual(UNHARMED);
  }, 60_000);
});
