// What a session takes in Redis: starts a redis-server of its own, fills it and asks it. node bench/redis-memory.mjs [sessions]
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { redisStore } from "coatcheck/redis";
import { createClient } from "redis";

const count = Number(process.argv[2] ?? 100_000);
const port = 20_000 + Math.floor(Math.random() * 10_000);
const now = Date.now();

for (const [title, settings] of [
  ["Redis as it comes", []],
  ["with hash-max-listpack-value 1024", ["--hash-max-listpack-value", "1024"]],
]) {
  const folder = mkdtempSync(join(tmpdir(), "coatcheck-bench-"));
  const server = spawn("redis-server", [
    "--port",
    String(port),
    "--bind",
    "127.0.0.1",
    "--dir",
    folder,
    "--save",
    "",
    ...settings,
  ]);
  try {
    const client = createClient({ url: `redis://127.0.0.1:${port}` });
    client.on("error", () => {});
    await client.connect();
    await measure(title, client);
    await client.sendCommand(["SAVE"]);
    console.log(`  on disk as RDB: ${Math.round(statSync(join(folder, "dump.rdb")).size / count)} bytes a session`);
    client.destroy();
  } finally {
    server.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  }
}

async function measure(title, client) {
  const store = redisStore(client);
  const used = async () => Number(/used_memory:(\d+)/.exec(await client.info("memory"))[1]);
  const empty = await used();
  for (let done = 0; done < count; done += 200) {
    await Promise.all(Array.from({ length: Math.min(200, count - done) }, (_, i) => store.create(record(done + i))));
  }
  await store.close();
  const bytes = (await used()) - empty;
  const share = async (pattern) => {
    let sum = 0;
    let keys = 0;
    for await (const batch of client.scanIterator({ MATCH: pattern, COUNT: 1000 }))
      for (const key of batch) {
        if (keys++ >= 2000) return sum / 2000;
        sum += await client.memoryUsage(key, { SAMPLES: 0 });
      }
    return sum / keys;
  };
  console.log(
    `${title}: ${count} sessions, ${Math.round(bytes / count)} bytes each, ${(bytes / count / 1000).toFixed(2)} GB a million`,
  );
  console.log(
    `  of that the session ${Math.round(await share("coatcheck:s:*"))}, its user's index ${Math.round(await share("coatcheck:u:*"))},`,
  );
  console.log(
    `  its place in the index by expiry ${Math.round((await client.memoryUsage("coatcheck:expiry", { SAMPLES: 0 })) / count)}, and the table of all keys`,
  );
}

/** Somebody who is logged in, has three things in the cart and a theme: about 250 bytes of data. */
function record(i) {
  const line = (n) => ({ productId: `product-${n}`, quantity: n, price: 1999 });
  return {
    id: randomBytes(16).toString("base64url"),
    secretHash: randomBytes(32).toString("base64url"),
    version: 1,
    createdAt: now,
    seenAt: now,
    expiresAt: now + 30 * 60_000,
    userId: `user-${i}`,
    meta: {
      secretAt: now,
      previousSecretHash: randomBytes(32).toString("base64url"),
      authenticatedAt: now,
      methods: ["pwd"],
      remember: false,
      device: {
        userAgent:
          "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36",
        ip: "203.0.113.0",
      },
    },
    data: new Map([
      ["cart", JSON.stringify([line(1), line(2), line(3)])],
      ["theme", '"dark"'],
      ["lastVisited", '"/products/17"'],
    ]),
  };
}
