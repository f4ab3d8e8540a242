import { memoryStore } from "coatcheck/memory";
import { TestClock } from "coatcheck/testing";
import { beforeAll, beforeEach, expect, test } from "vitest";
import { holdingReads, type OpenShop, openShop, STRATEGY, Visitor } from "./support.ts";

const clock = new TestClock();
let shop: OpenShop;
let visitor: Visitor;
beforeAll(async () => {
  shop = await openShop({ clock });
});
beforeEach(() => {
  visitor = new Visitor(shop.url);
});

const journey = async (): Promise<Array<{ path: string; at: number }>> => (await visitor.get("/journey")).json.journey;

test("has the pages that were seen, with times", async () => {
  const start = clock.now();
  await visitor.page("/");
  await clock.advance(1000);
  await visitor.page("/cart");
  await visitor.page("/login");
  expect(await journey()).toEqual([
    { path: "/", at: start },
    { path: "/cart", at: start + 1000 },
    { path: "/login", at: start + 1000 },
  ]);
  const page = await visitor.page("/journey");
  expect(page.text.match(/<li><a href="[^"]*">/g)).toHaveLength(3);
});

test("has what was asked for as JSON, of a visitor who has a session", async () => {
  await visitor.get("/products");
  expect(await journey()).toEqual([]);
  await visitor.login();
  for (const path of ["/products", "/cart", "/profile", "/preferences", "/orders", "/checkout/form/address"])
    expect((await visitor.get(path)).status).toBe(200);
  expect((await journey()).map(({ path }) => path)).toEqual([
    "/products",
    "/cart",
    "/profile",
    "/preferences",
    "/orders",
    "/checkout/form/address",
  ]);
  for (let i = 0; i < 50; i++) await visitor.get("/cart");
  expect((await journey()).map(({ path }) => path)).toEqual(Array(50).fill("/cart"));
});

test("has neither what was not found, nor what needs a login, nor itself", async () => {
  await visitor.page("/");
  await visitor.page("/nowhere");
  await visitor.page("/journey");
  await visitor.page("/orders");
  expect((await journey()).map(({ path }) => path)).toEqual(["/"]);
});

test("loses none of the pages that are loaded at the same time", async () => {
  const store = holdingReads(memoryStore());
  visitor = new Visitor((await openShop({ store })).url);
  await visitor.page("/");
  // All four know the trail with one page in it before any goes on.
  if (STRATEGY === "server") store.holdUntil(4);
  const replies = await Promise.all(["/", "/cart", "/login", "/register"].map((path) => visitor.page(path)));
  expect(new Set(replies.map(({ status }) => status))).toEqual(new Set([200]));
  expect((await journey()).map(({ path }) => path).sort()).toEqual(["/", "/", "/cart", "/login", "/register"]);
});

test("goes back 50 pages and no further", async () => {
  await visitor.page("/register");
  for (let i = 0; i < 50; i++) await visitor.page("/cart");
  expect((await journey()).map(({ path }) => path)).toEqual(Array(50).fill("/cart"));
});

test("is the visitor's own", async () => {
  await visitor.page("/");
  expect((await new Visitor(shop.url).get("/journey")).json).toEqual({ journey: [] });
  await visitor.login();
  expect(await journey()).toHaveLength(1);
  await visitor.post("/logout");
  expect(await journey()).toEqual([]);
});
