import { existsSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { newDatabase } from "../services/databases.ts";
import { describeWithService } from "../services/services.ts";
import { compileShop, ShopProcess } from "./shop-process.ts";
import { atEnd, temporaryFolder, Visitor } from "./support.ts";

beforeAll(compileShop, 60_000);

for (const [service, grantsLeases, additions] of [
  ["redis", true, 200],
  ["postgres", true, 200],
  ["mysql", false, 200],
  // The imitation of the tests is slow.
  ["mongodb", true, 40],
] as const)
  describeWithService(service, ({ url }) => {
    const newUrl = async () => {
      const database = await newDatabase(service, url);
      atEnd(database.drop);
      return database.url;
    };
    const start = async (folder: string, storeUrl: string) => {
      const shop = await ShopProcess.start({ DATA_DIR: folder, STORE_URL: storeUrl });
      expect(existsSync(join(folder, "sessions.db"))).toBe(false);
      return shop;
    };

    test("STORE_URL names where sessions are kept, and a restart keeps everybody logged in", async () => {
      const [folder, storeUrl] = [temporaryFolder(), await newUrl()];
      const before = await start(folder, storeUrl);
      const visitor = new Visitor(before.url);
      await visitor.post("/cart/add", { productId: "1", quantity: 2 });
      expect((await visitor.login()).status).toBe(200);
      const guest = new Visitor(before.url);
      await guest.post("/cart/add", { productId: "2", quantity: 1 });
      const profile = (await visitor.get("/profile")).json;
      expect(await before.stop("SIGTERM")).toBe(0);

      const after = await start(folder, storeUrl);
      const again = visitor.twin(after.url);
      expect(await again.get("/profile")).toMatchObject({ status: 200, json: profile, cookies: [] });
      expect((await again.get("/cart")).json.items).toMatchObject([{ productId: "1", quantity: 2 }]);
      expect((await guest.twin(after.url).get("/cart")).json.items).toMatchObject([{ productId: "2", quantity: 1 }]);
      expect((await again.post("/logout")).status).toBe(200);
      expect((await visitor.twin(after.url).get("/profile")).status).toBe(401);
      expect(await after.stop("SIGTERM")).toBe(0);
    }, 60_000);

    test(`RN-07: of ${additions} parallel additions to one cart at two processes ${grantsLeases ? "all are accepted" : "every accepted one counts"}`, async () => {
      const [folder, storeUrl] = [temporaryFolder(), await newUrl()];
      const shops = await Promise.all([start(folder, storeUrl), start(folder, storeUrl)]);
      const one = new Visitor(shops[0].url);
      await one.post("/cart/add", { productId: "2", quantity: 1 });
      const twins = shops.map((shop) => one.twin(shop.url, additions / 10));
      const add = (i: number) => (twins[i % 2] as Visitor).post("/cart/add", { productId: "1", quantity: 1 });
      const replies = await Promise.all(Array.from({ length: additions }, (_, i) => add(i)));
      const accepted = replies.filter(({ status }) => status === 200).length;
      expect(replies.filter(({ status }) => status !== 200 && status !== 409)).toEqual([]);
      if (grantsLeases) expect(accepted).toBe(additions);
      for (const twin of twins)
        expect((await twin.get("/cart")).json.items).toMatchObject([
          { productId: "2", quantity: 1 },
          { productId: "1", quantity: accepted },
        ]);
    }, 60_000);
  });
