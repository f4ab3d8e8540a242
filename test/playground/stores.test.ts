import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { MongoClient } from "mongodb";
import mysql from "mysql2/promise";
import pg from "pg";
import { beforeAll, expect, test } from "vitest";
import { startRedis } from "../services/redis.ts";
import type { ServiceName } from "../services/service.ts";
import { describeWithService } from "../services/services.ts";
import { compileShop, ShopProcess } from "./shop-process.ts";
import { atEnd, temporaryFolder, Visitor } from "./support.ts";

beforeAll(compileShop, 60_000);

/** The stores that a shop of several processes can use, each in a database of its own that is gone at the end. */
const stores: readonly { readonly service: ServiceName; readonly grantsLeases: boolean; newUrl: NewUrl }[] = [
  { service: "redis", grantsLeases: true, newUrl: ownRedis },
  { service: "postgres", grantsLeases: true, newUrl: ownPostgresDatabase },
  { service: "mysql", grantsLeases: false, newUrl: ownMysqlDatabase },
  { service: "mongodb", grantsLeases: true, newUrl: ownMongodbDatabase },
];

for (const { service, grantsLeases, newUrl } of stores)
  describeWithService(service, ({ url }) => {
    const start = async (folder: string, storeUrl: string) => {
      const shop = await ShopProcess.start({ DATA_DIR: folder, STORE_URL: storeUrl });
      expect(existsSync(join(folder, "sessions.db"))).toBe(false);
      return shop;
    };

    test("STORE_URL names where sessions are kept, and a restart keeps everybody logged in", async () => {
      const [folder, storeUrl] = [temporaryFolder(), await newUrl(url)];
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

    test(`RN-07: of 200 parallel additions to one cart over 40 connections to two processes ${grantsLeases ? "all are accepted" : "every accepted one counts"}`, async () => {
      const [folder, storeUrl] = [temporaryFolder(), await newUrl(url)];
      const shops = await Promise.all([start(folder, storeUrl), start(folder, storeUrl)]);
      const one = new Visitor(shops[0].url);
      await one.post("/cart/add", { productId: "2", quantity: 1 });
      const twins = shops.map((shop) => one.twin(shop.url, 20));
      const add = (i: number) => (twins[i % 2] as Visitor).post("/cart/add", { productId: "1", quantity: 1 });
      const replies = await Promise.all(Array.from({ length: 200 }, (_, i) => add(i)));
      const accepted = replies.filter(({ status }) => status === 200).length;
      expect(replies.filter(({ status }) => status !== 200 && status !== 409)).toEqual([]);
      if (grantsLeases) expect(accepted).toBe(200);
      for (const twin of twins)
        expect((await twin.get("/cart")).json.items).toMatchObject([
          { productId: "2", quantity: 1 },
          { productId: "1", quantity: accepted },
        ]);
    }, 60_000);
  });

type NewUrl = (url: string) => Promise<string>;

const newName = (): string => `coatcheck_shop_${randomBytes(6).toString("hex")}`;

async function ownRedis(): Promise<string> {
  const server = await startRedis();
  atEnd(() => server.stop());
  return server.url;
}

async function ownPostgresDatabase(url: string): Promise<string> {
  const name = newName();
  const query = async (text: string) => {
    const client = new pg.Client(url);
    await client.connect();
    await client.query(text).finally(() => client.end());
  };
  await query(`CREATE DATABASE ${name}`);
  atEnd(() => query(`DROP DATABASE ${name} WITH (FORCE)`));
  return at(url, name);
}

async function ownMysqlDatabase(url: string): Promise<string> {
  const name = newName();
  const query = async (text: string) => {
    const connection = await mysql.createConnection(url);
    await connection.query(text).finally(() => connection.end());
  };
  await query(`CREATE DATABASE ${name}`);
  atEnd(() => query(`DROP DATABASE ${name}`));
  return at(url, name);
}

async function ownMongodbDatabase(url: string): Promise<string> {
  const name = newName();
  atEnd(async () => {
    const client = new MongoClient(url);
    await client
      .db(name)
      .dropDatabase()
      .finally(() => client.close());
  });
  return at(url, name);
}

/** The same server, and this database of it. */
const at = (url: string, database: string): string => Object.assign(new URL(url), { pathname: `/${database}` }).href;
