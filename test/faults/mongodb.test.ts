import { createSessions } from "coatcheck";
import { type MongodbSource, mongodbStore } from "coatcheck/mongodb";
import { MongoClient } from "mongodb";
import { afterAll, beforeAll, expect, it, onTestFinished } from "vitest";
import { startMongoJavaServer } from "../services/mongo-java-server.ts";
import { type OwnServer, untilItHolds } from "../services/processes.ts";
import { describeWithService } from "../services/services.ts";
import { startTcpProxy, type TcpProxy } from "../services/tcp-proxy.ts";
import { type Cart, type Load, startLoad, UNHARMED } from "./load.ts";

const byUrl = (url: string): string | MongodbSource => url;

function byClient(url: string): string | MongodbSource {
  const client = new MongoClient(url);
  onTestFinished(() => client.close());
  return client;
}

/** An application under load, with a store whose operations may take at most `storeTimeout` milliseconds. */
async function application(source: string | MongodbSource, storeTimeout = 400): Promise<Load> {
  const sessions = createSessions<Cart>({ store: mongodbStore(source), storeTimeout });
  onTestFinished(() => sessions.close());
  // The first use makes the indexes, which may take longer than the operations of a request.
  await untilItHolds(() => sessions.forUser("nobody").list(), 10_000);
  return startLoad(sessions);
}

// What a server keeps through a crash cannot be shown with an imitation of it; that is MongoDB's own promise.
describeWithService("mongodb", () => {
  let server: OwnServer;
  beforeAll(async () => {
    server = await startMongoJavaServer({ durable: true });
  }, 60_000);
  afterAll(() => server.stop());

  async function proxied(): Promise<TcpProxy> {
    const proxy = await startTcpProxy(server.url, 27_017);
    onTestFinished(() => proxy.close());
    return proxy;
  }

  it.each([
    ["a URL", byUrl],
    ["a client", byClient],
  ] as const)(
    "SC-06: a server that is restarted under load costs no acknowledged write and logs nobody out (%s)",
    async (_, source) => {
      const load = await application(source(server.url));
      await load.acknowledges(100);
      // What is acknowledged while the imitation shuts down, it may not keep.
      await load.pause();
      await server.kill("SIGTERM");
      load.resume();
      await load.refuses(20);
      await server.restart();
      await load.acknowledges(100);
      expect(await load.stop()).toEqual(UNHARMED);
    },
    120_000,
  );

  it.each([
    ["a URL", byUrl],
    ["a client", byClient],
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
    const load = await application(proxy.url);
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
    const load = await application(proxy.url, 300);
    proxy.delay(20);
    await load.acknowledges(40);
    proxy.delay(500);
    await load.refuses(8);
    proxy.restore();
    await load.acknowledges(40);
    expect(await load.stop()).toEqual(UNHARMED);
  }, 60_000);
});
