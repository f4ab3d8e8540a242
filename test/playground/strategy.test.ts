import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readConfig } from "../../playground/src/config.ts";
import { keeping, ownKey } from "../../playground/src/strategy.ts";
import { openShop, temporaryFolder, Visitor } from "./support.ts";

test("SC-08: the sealing key is made once, at random, and readable to nobody else", () => {
  const folder = join(temporaryFolder(), "data");
  const key = ownKey(folder);
  expect(Buffer.from(key, "base64url")).toHaveLength(32);
  expect(ownKey(folder)).toBe(key);
  expect(readFileSync(join(folder, "seal.key"), "utf8")).toBe(key);
  expect(statSync(join(folder, "seal.key")).mode & 0o777).toBe(0o600);
  expect(ownKey(temporaryFolder())).not.toBe(key);
  expect(() => keeping("sealed", [key])).not.toThrow();
});

test("the environment names a strategy and keys", () => {
  expect(readConfig({})).toMatchObject({ strategy: "server", sealKeys: undefined });
  expect(readConfig({ STRATEGY: "hybrid", SEAL_KEY: "a,b" })).toMatchObject({
    strategy: "hybrid",
    sealKeys: ["a", "b"],
  });
  expect(() => readConfig({ STRATEGY: "tokens" })).toThrow("STRATEGY must be one of: server, sealed, hybrid.");
});

test("the shop keeps visitors when its key is changed, and forgets them when the old one is gone", async () => {
  const dataDir = temporaryFolder();
  const [old, fresh] = [ownKey(temporaryFolder()), ownKey(temporaryFolder())];
  const before = new Visitor((await openShop({ strategy: "sealed", sealKeys: [old], dataDir })).url);
  await before.login();
  const during = before.twin((await openShop({ strategy: "sealed", sealKeys: [fresh, old], dataDir })).url);
  expect((await during.get("/profile")).status).toBe(200);
  await during.post("/cart/add", { productId: "1", quantity: 1 });
  const after = await openShop({ strategy: "sealed", sealKeys: [fresh], dataDir });
  expect((await during.twin(after.url).get("/profile")).status).toBe(200);
  expect((await before.twin(after.url).get("/profile")).status).toBe(401);
});
