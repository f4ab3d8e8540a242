import { once } from "node:events";
import { mkdirSync } from "node:fs";
import http from "node:http";
import { connect } from "node:net";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { compileShop, failedStart, ShopProcess } from "./shop-process.ts";
import { type Reply, SEEDED, STRATEGY, storedTest, temporaryFolder, Visitor } from "./support.ts";

beforeAll(compileShop, 60_000);

const start = (folder: string, env: Record<string, string> = {}) => ShopProcess.start({ DATA_DIR: folder, ...env });

describe("one process", () => {
  test("prints its address and the seeded account, and stops when told to, with exit code 0", async () => {
    const signals = ["SIGTERM", "SIGINT"] as const;
    const run = async (signal: NodeJS.Signals) => {
      const shop = await start(temporaryFolder());
      expect(shop.greeting).toEqual([
        `The shop is open at ${shop.url}`,
        `Log in as ${SEEDED.username} with the password ${SEEDED.password}, or register.`,
      ]);
      const visitor = new Visitor(shop.url);
      expect((await visitor.login()).status).toBe(200);
      expect(await shop.stop(signal)).toBe(0);
    };
    await Promise.all(signals.map(run));
  });

  test("stops when npm is told to, which tells only the shell between them", async () => {
    const shop = await ShopProcess.startByNpm({ DATA_DIR: temporaryFolder() });
    expect((await new Visitor(shop.url).login()).status).toBe(200);
    expect(await shop.stop("SIGTERM")).toBe("SIGTERM");
    while (await takesConnections(shop.url));
  });

  test("finishes the requests under way before it stops", async () => {
    const shop = await start(temporaryFolder());
    const body = JSON.stringify(SEEDED);
    const request = http.request(`${shop.url}/login`, {
      method: "POST",
      headers: { "content-type": "application/json", "content-length": body.length, expect: "100-continue" },
    });
    request.flushHeaders();
    await once(request, "continue");
    shop.signal("SIGTERM");
    while (await takesConnections(shop.url));
    request.end(body);
    const [response] = (await once(request, "response")) as [http.IncomingMessage];
    expect(response.statusCode).toBe(200);
    expect(await shop.ended()).toBe(0);
  });

  test("a restart keeps everybody logged in, with all they had", async () => {
    const folder = temporaryFolder();
    const before = await start(folder);
    const visitor = new Visitor(before.url);
    await visitor.post("/cart/add", { productId: "1", quantity: 2 });
    await visitor.login();
    await visitor.post("/preferences", { theme: "dark" });
    const profile = (await visitor.get("/profile")).json;
    const guest = new Visitor(before.url);
    await guest.post("/cart/add", { productId: "2", quantity: 1 });
    expect(await before.stop("SIGTERM")).toBe(0);

    const { url } = await start(folder);
    const again = visitor.twin(url);
    expect((await again.get("/profile")).json).toEqual(profile);
    expect((await again.get("/cart")).json.items).toMatchObject([{ productId: "1", quantity: 2 }]);
    expect((await again.get("/preferences")).json).toEqual({ theme: "dark" });
    expect((await guest.twin(url).get("/cart")).json.items).toMatchObject([{ productId: "2", quantity: 1 }]);
  });

  test("after kill -9 under load every acknowledged write is there", async () => {
    const folder = temporaryFolder();
    const shop = await start(folder);
    const visitors = await Promise.all(
      [1, 2, 3].map(async () => {
        const visitor = new Visitor(shop.url);
        await visitor.post("/cart/add", { productId: "1", quantity: 1 });
        return visitor;
      }),
    );
    const acknowledged = visitors.map(() => 1);
    let total = 0;
    const load = visitors.flatMap((visitor, i) =>
      [1, 2, 3, 4].map(async () => {
        for (;;) {
          const { status } = await visitor.post("/cart/add", { productId: "1", quantity: 1 });
          if (status !== 200) throw new Error(`Unexpected answer ${status}`);
          (acknowledged[i] as number)++;
          if (++total === 100) shop.signal("SIGKILL");
        }
      }),
    );
    for (const outcome of await Promise.allSettled(load))
      expect(outcome).toMatchObject({ status: "rejected", reason: { code: expect.stringMatching(/ECONN|EPIPE/) } });
    expect(await shop.ended()).toBe("SIGKILL");

    const { url } = await start(folder);
    for (const [i, visitor] of visitors.entries()) {
      const [line] = (await visitor.twin(url).get("/cart")).json.items;
      expect(line.quantity).toBeGreaterThanOrEqual(acknowledged[i] as number);
      // Four were under way, and may have been written without anybody being told.
      expect(line.quantity).toBeLessThanOrEqual((acknowledged[i] as number) + 4);
    }
  });

  test("where it cannot open it says why, in a sentence", async () => {
    const folder = temporaryFolder();
    const shop = await start(folder);
    mkdirSync(join(folder, "folder.db"));
    const reasons: Array<[Record<string, string>, RegExp]> = [
      [{ PORT: new URL(shop.url).port }, /listen EADDRINUSE.*/],
      [{ PORT: "http" }, /PORT must be a number from 0 to 65535\./],
      [{ STRATEGY: "cookie" }, /STRATEGY must be one of: server, sealed, hybrid\./],
      [{ STRATEGY: "sealed", SEAL_KEY: "secret" }, /A sealing key has 4 bytes and needs 32\. .*/],
      [{ STORE_URL: "nosuch://user:password@host" }, /openStore: (?!.*password).*/],
      [{ STORE_URL: `sqlite:${join(folder, "folder.db")}` }, /The session store does not work\. .+/],
    ];
    const starts = reasons.map(([env]) => failedStart({ DATA_DIR: folder, ...env }));
    for (const [i, { code, said }] of (await Promise.all(starts)).entries()) {
      expect(code).toBe(1);
      expect(said).toMatch(new RegExp(`^The shop cannot open: ${reasons[i]?.[1].source}\n$`));
    }
  });
});

describe("two processes on one file", () => {
  let urls: readonly [string, string];
  let one: Visitor;
  beforeAll(async () => {
    const folder = temporaryFolder();
    const shops = await Promise.all([start(folder), start(folder)]);
    urls = [shops[0].url, shops[1].url];
    one = new Visitor(urls[0]);
  });

  storedTest("have exactly 200 in the cart after 200 parallel additions over 4 connections", async () => {
    await one.post("/cart/add", { productId: "2", quantity: 1 });
    const [left, right] = [one.twin(urls[0], 2), one.twin(urls[1], 2)];
    let accepted = 0;
    const add = async (visitor: Visitor): Promise<void> => {
      const { status } = await visitor.post("/cart/add", { productId: "1", quantity: 1 });
      if (status === 200) accepted++;
      else expect(status).toBe(409);
    };
    const inCart = async () => (await one.get("/cart")).json.items[1]?.quantity;
    await Promise.all(Array.from({ length: 200 }, (_, i) => add(i % 2 ? left : right)));
    expect(await inCart()).toBe(accepted);
    while (accepted < 200) await add(left);
    expect(await inCart()).toBe(200);
  });

  storedTest("make one order of two checkouts at the same time", async () => {
    await one.login();
    const two = one.twin(urls[1]);
    for (let round = 1; round <= 3; round++) {
      await one.post("/cart/add", { productId: "1", quantity: 1 });
      const replies: Reply[] = await Promise.all([one, two, one, two].map((visitor) => visitor.post("/checkout")));
      for (const { status } of replies) expect([200, 400, 409]).toContain(status);
      expect(new Set(replies.filter(({ status }) => status === 200).map(({ json }) => json.order.id)).size).toBe(1);
      expect((await two.get("/orders")).json.orders).toHaveLength(round);
    }
  });

  test("know the same visitors", async () => {
    await one.login();
    const two = one.twin(urls[1]);
    expect((await two.get("/profile")).json.username).toBe("ada");
    await two.post("/logout");
    // Copies of the session live on elsewhere for about a second.
    for (const start = Date.now(); STRATEGY !== "server" && Date.now() < start + 5000; )
      if ((await one.get("/profile")).status === 401) break;
    expect((await one.get("/profile")).status).toBe(401);
  });
});

/** Whether somebody still listens there. */
async function takesConnections(url: string): Promise<boolean> {
  const socket = connect(Number(new URL(url).port), "127.0.0.1");
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
