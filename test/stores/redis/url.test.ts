import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { inspect } from "node:util";
import { seconds } from "coatcheck";
import { type RedisDriver, redisStore } from "coatcheck/redis";
import { openStore, type SessionStore } from "coatcheck/stores";
import { storeConformance, TestClock } from "coatcheck/testing";
import { Redis } from "ioredis";
import { createClient } from "redis";
import { describe, expect, it, onTestFinished } from "vitest";
import { NOW, newRecord } from "../../../src/testing/conformance/scene.ts";
import { freePorts, run, temporaryFolder, untilItHolds } from "../../services/processes.ts";
import { askRedis, startRedis } from "../../services/redis.ts";
import { describeWithService } from "../../services/services.ts";
import { startTcpProxy } from "../../services/tcp-proxy.ts";
import { drivers } from "./clients.ts";
import { deleteKeys, newPrefix } from "./keys.ts";

const packages: RedisDriver[] = ["redis", "ioredis"];

function opened(url: string, options: Parameters<typeof redisStore>[1] = {}): SessionStore {
  const store = redisStore(url, options);
  onTestFinished(() => store.close?.());
  return store;
}

const ownRedis = async (...settings: Parameters<typeof startRedis>) => {
  const server = await startRedis(...settings);
  onTestFinished(() => server.stop());
  return server;
};

describe.each(packages)("SC-05: a URL, opened by %s, keeps the store contract", (driver) => {
  for (const service of ["redis", "redis-cluster"] as const)
    describeWithService(service, ({ url }) => {
      const cases = storeConformance({
        createStore() {
          const options = { prefix: newPrefix(), driver };
          const store = redisStore(url, options);
          return {
            store,
            reopen: () => redisStore(url, options),
            async close() {
              await store.removeAll();
              await store.close?.();
              const [{ single, cluster }] = drivers as [(typeof drivers)[0]];
              const { client, end } = await (service === "redis" ? single : cluster)(url);
              await deleteKeys(client, options.prefix);
              end();
            },
          };
        },
        skip: { corrupt: "covered by the clients" },
      });
      // The contract is proven over the clients; here it is the connection that matters.
      const telling = /listByUser follows|removeExpired removes what|a lease counts|removeAll removes|all hands out/;
      const some = cases.filter(({ name }) => telling.test(name));
      it.each(some)("$name", ({ run }) => run());
    });
});

describe("the URL", () => {
  it("is refused, without a word of it, when it is none of Redis", () => {
    const secret = "hunter2";
    for (const url of [`http://:${secret}@localhost`, `redis:${secret}`, `redis://:${secret}@[::`, secret, ""]) {
      const attempt = () => redisStore(url);
      expect(attempt).toThrow(TypeError);
      try {
        attempt();
      } catch (error) {
        expect(inspect(error, { depth: 9, showHidden: true })).not.toContain(secret);
      }
    }
  });

  it.each(packages)("SC-01: shows its password in no error and no inspection (%s)", async (driver) => {
    const password = "correct-horse";
    const server = await ownRedis(["--requirepass", password]);
    const { port } = server;
    const right = opened(`redis://:${password}@127.0.0.1:${port}`, { driver });
    expect(await right.read(newRecord().id)).toBeUndefined();
    for (const wrong of [`redis://:not-${password}@127.0.0.1:${port}`, `redis://127.0.0.1:${port}`]) {
      const store = opened(wrong, { driver });
      const error = await store.read(newRecord().id).catch((error) => error);
      expect(error).toBeInstanceOf(Error);
      expect(inspect([store, error], { depth: 9, showHidden: true })).not.toContain(password);
    }
    expect(inspect(right, { depth: 9, showHidden: true })).not.toContain(password);
    const record = newRecord({ data: new Map([["card", "4111-1111"]]) });
    await server.stop();
    const error = await right.create(record).catch((error) => error);
    expect(inspect(error, { depth: 9, showHidden: true })).not.toMatch(/4111|correct-horse/);
    expect(inspect(error, { depth: 9, showHidden: true })).not.toContain(record.secretHash);
  });

  it.each(["redis", "rediss"])("%s: is known to openStore, which connects to nothing yet", async (scheme) => {
    const store = await openStore(`${scheme}://127.0.0.1:1`);
    await store.close?.();
  });

  it.each(packages)("keeps the numbered databases of a server apart (%s)", async (driver) => {
    const server = await ownRedis();
    const [zero, three] = [opened(server.url, { driver }), opened(`${server.url}/3`, { driver })];
    const record = newRecord();
    await three.create(record);
    expect(await zero.read(record.id)).toBeUndefined();
    expect(await three.read(record.id)).toEqual(record);
  });
});

describe.each(packages)("TLS, opened by %s", (driver) => {
  it("SC-08: is used for rediss, and a certificate that nobody vouches for is refused", async () => {
    const [port] = (await freePorts(1)) as [number];
    const folder = temporaryFolder();
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")];
    const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
    const request = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"];
    await run("openssl", [...request, ...subject, "-keyout", key, "-out", cert], { cwd: folder });
    const tls = [
      "--tls-port",
      String(port),
      "--tls-cert-file",
      cert,
      "--tls-key-file",
      key,
      "--tls-auth-clients",
      "no",
    ];
    await ownRedis(tls);
    const url = `rediss://localhost:${port}`;

    const error = await opened(url, { driver })
      .read(newRecord().id)
      .catch((error) => error);
    expect(error.code).toBe("DEPTH_ZERO_SELF_SIGNED_CERT");

    const ca = readFileSync(cert, "utf8");
    const client =
      driver === "redis"
        ? createClient({ url, socket: { tls: true, ca } })
        : new Redis(url, { tls: { ca }, lazyConnect: true });
    await client.connect();
    onTestFinished(() => ("destroy" in client ? client.destroy() : client.disconnect()));
    const store = redisStore(client, { prefix: newPrefix() });
    const record = newRecord();
    await store.create(record);
    expect(await store.read(record.id)).toEqual(record);
  });
});

describe.each(packages)("a connection that the store opened by itself with %s", (driver) => {
  it("fails at once while the server is away, and finds it again without any help", async () => {
    const server = await ownRedis(["--appendonly", "yes", "--appendfsync", "always"]);
    const store = opened(server.url, { driver });
    const record = newRecord({ userId: "ada" });
    await store.create(record);
    for (let round = 0; round < 3; round++) {
      await server.kill("SIGKILL");
      const began = performance.now();
      for (let i = 0; i < 5; i++) await expect(store.read(record.id)).rejects.toThrow();
      expect(performance.now() - began).toBeLessThan(1000);
      await server.restart();
      expect(await untilItHolds(() => store.read(record.id), 2000)).toEqual(record);
    }
    expect(await store.listByUser("ada")).toEqual([record]);
  });

  it("carries out nothing later that was refused while the server was away", async () => {
    const server = await ownRedis();
    const store = opened(server.url, { driver });
    const record = newRecord();
    await store.read(record.id);
    await server.kill("SIGKILL");
    await expect(store.create(record)).rejects.toThrow();
    await server.restart();
    expect(await untilItHolds(() => store.read(record.id), 2000)).toBeUndefined();
  });

  it("is replaced when it answers nothing for 5 seconds", async () => {
    const server = await ownRedis();
    const proxy = await startTcpProxy(server.url, 6379);
    onTestFinished(() => proxy.close());
    const clock = new TestClock();
    const store = opened(proxy.url, { driver, clock });
    const record = newRecord();
    await store.create(record);
    expect(proxy.connections).toBe(1);

    proxy.blackhole();
    const lost = expect(store.read(record.id)).rejects.toThrow();
    await clock.advance(seconds(5));
    await lost;
    proxy.restore();
    expect(await store.read(record.id)).toEqual(record);
    expect(proxy.connections).toBe(2);
    expect(clock.pending).toBe(0);
  });

  it("is given up when it does not come about within 5 seconds", async () => {
    const server = await ownRedis();
    const proxy = await startTcpProxy(server.url, 6379);
    onTestFinished(() => proxy.close());
    const clock = new TestClock();
    const store = opened(proxy.url, { driver, clock });
    proxy.blackhole();
    const lost = expect(store.read(newRecord().id)).rejects.toThrow("no connection");
    await clock.advance(seconds(5));
    await lost;
    proxy.restore();
    await clock.advance(100);
    expect(await store.read(newRecord().id)).toBeUndefined();
  });

  it("tries again a moment after it could not be made, and not at every operation", async () => {
    const server = await ownRedis();
    const proxy = await startTcpProxy(server.url, 6379);
    onTestFinished(() => proxy.close());
    const clock = new TestClock();
    const store = opened(proxy.url, { driver, clock });
    proxy.refuse();
    for (let i = 0; i < 20; i++) await expect(store.read(newRecord().id)).rejects.toThrow();
    proxy.restore();
    await expect(store.read(newRecord().id)).rejects.toThrow();
    await clock.advance(100);
    expect(await store.read(newRecord().id)).toBeUndefined();
    expect(proxy.connections).toBe(1);
  });

  it("is replaced when its server has become a replica, because the name may stand for another server by now", async () => {
    const server = await ownRedis();
    const proxy = await startTcpProxy(server.url, 6379);
    onTestFinished(() => proxy.close());
    const store = opened(proxy.url, { driver });
    const record = newRecord();
    await store.create(record);
    await askRedis(server.url, "REPLICAOF", "127.0.0.1", "1");
    await expect(store.touch(record.id, NOW + 1, NOW + 1)).rejects.toThrow("READONLY");
    await askRedis(server.url, "REPLICAOF", "NO", "ONE");
    expect(await store.touch(record.id, NOW + 1, NOW + 1)).toBe(true);
    expect(proxy.connections).toBe(2);
  });

  it("needs no more rights than the documentation says", async () => {
    const rights = [
      "~coatcheck:*",
      "+@hash",
      "+@sortedset",
      "+@scripting",
      "+scan",
      "+unlink",
      "+exists",
      "+pexpire",
      "+time",
    ];
    const server = await ownRedis(["--user", "coatcheck", "on", ">pw", ...rights]);
    const store = opened(`redis://coatcheck:pw@127.0.0.1:${server.port}`, { driver });
    const record = newRecord({ userId: "ada", expiresAt: NOW });
    await store.create(record);
    expect(
      (await store.read(record.id, { holder: "me", now: NOW, until: NOW + 1, secretHash: record.secretHash }))?.lease
        ?.holder,
    ).toBe("me");
    expect(await store.update(record.id, 1, { unset: ["a"], set: new Map([["b", "1"]]), release: "me" })).toBe(
      "updated",
    );
    expect(await store.touch(record.id, NOW, NOW)).toBe(true);
    expect(await store.listByUser("ada")).toHaveLength(1);
    expect(await store.removeExpired(NOW, 1)).toBe(1);
    expect(await store.removeAll()).toBe(0);
  });

  it("ends with the store", async () => {
    const server = await ownRedis();
    const store = opened(server.url, { driver });
    await store.create(newRecord({ userId: "ada" }));
    await store.close?.();
    await expect(store.read(newRecord().id)).rejects.toThrow("closed");
    await store.close?.();
  });
});
