import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type OpenShop, openShop, storedTest, Visitor } from "./support.ts";

let shop: OpenShop;
let visitor: Visitor;
beforeAll(async () => {
  shop = await openShop();
});
beforeEach(() => {
  visitor = new Visitor(shop.url);
});

const add = (productId: unknown, quantity: unknown) => visitor.post("/cart/add", { productId, quantity });

test("products have an id, a name and a price", async () => {
  const { json } = await visitor.get("/products");
  expect(json.products).toHaveLength(8);
  expect(json.products[0]).toEqual({
    id: "1",
    name: "Wool coat",
    about: "Warm, grey, and down to the knee.",
    price: 189,
  });
});

test("looking around as JSON leaves no cookie", async () => {
  for (const path of ["/products", "/cart", "/checkout/form", "/journey"]) {
    expect(await visitor.get(path)).toMatchObject({ status: 200, cookies: [] });
    expect((await visitor.get(path, { accept: "*/*" })).headers["content-type"]).toContain("application/json");
  }
});

describe("the cart", () => {
  test("works for a visitor who is not logged in", async () => {
    expect((await add("1", 2)).json).toEqual({ cart: [{ productId: "1", quantity: 2 }] });
    expect((await add("6", 1)).json.cart).toHaveLength(2);
    const { json } = await add("1", 3);
    expect(json.cart).toEqual([
      { productId: "1", quantity: 5 },
      { productId: "6", quantity: 1 },
    ]);
    expect((await visitor.get("/cart")).json).toEqual({
      items: [
        { productId: "1", name: "Wool coat", price: 189, quantity: 5 },
        { productId: "6", name: "Umbrella", price: 29, quantity: 1 },
      ],
      total: 974,
    });
  });

  test("takes the number of a product for its id", async () => {
    expect((await add(1, 1)).json).toEqual({ cart: [{ productId: "1", quantity: 1 }] });
  });

  test("is kept at login, and at logout it is gone", async () => {
    await add("1", 2);
    await visitor.login();
    expect((await visitor.get("/cart")).json.items).toMatchObject([{ productId: "1", quantity: 2 }]);
    await visitor.post("/logout");
    expect((await visitor.get("/cart")).json.items).toEqual([]);
  });

  test("gives products back", async () => {
    await add("1", 1);
    await add("2", 1);
    expect((await visitor.delete("/cart/1")).json).toEqual({ cart: [{ productId: "2", quantity: 1 }] });
    const absent = await visitor.delete("/cart/1");
    expect(absent).toMatchObject({ status: 200, json: { cart: [{ productId: "2", quantity: 1 }] } });
    expect((await new Visitor(shop.url).delete("/cart/nonsense")).json).toEqual({ cart: [] });
  });

  const wrongQuantity = "quantity must be a whole number from 1 to 99.";
  test.each([
    [{ quantity: 1 }, "productId must be the id of a product."],
    [{ productId: "", quantity: 1 }, "productId must be the id of a product."],
    [{ productId: {}, quantity: 1 }, "productId must be the id of a product."],
    [{ productId: "99", quantity: 1 }, "productId is not the id of a product."],
    [{ productId: "__proto__", quantity: 1 }, "productId is not the id of a product."],
    [{ productId: "1" }, wrongQuantity],
    [{ productId: "1", quantity: 0 }, wrongQuantity],
    [{ productId: "1", quantity: -1 }, wrongQuantity],
    [{ productId: "1", quantity: 1.5 }, wrongQuantity],
    [{ productId: "1", quantity: 100 }, wrongQuantity],
    [{ productId: "1", quantity: "2" }, wrongQuantity],
    [{ productId: "1", quantity: null }, wrongQuantity],
  ])("refuses %j", async (body, error) => {
    expect(await visitor.post("/cart/add", body)).toMatchObject({ status: 400, json: { error }, cookies: [] });
    expect((await visitor.get("/cart")).json.items).toEqual([]);
  });

  test("holds at most 10000 of a product", async () => {
    await add("1", 99);
    for (let count = 99; count + 99 <= 10_000; count += 99) await add("1", 99);
    expect(await add("1", 99)).toMatchObject({ status: 400, json: { error: "At most 10000 of one product." } });
    expect((await add("1", 1)).json).toEqual({ cart: [{ productId: "1", quantity: 10_000 }] });
  });

  storedTest("has exactly 200 after 200 parallel additions over 4 connections", async () => {
    await add("2", 1);
    const replies = await Promise.all(Array.from({ length: 200 }, () => add("1", 1)));
    expect(new Set(replies.map(({ status }) => status))).toEqual(new Set([200]));
    expect((await visitor.get("/cart")).json.items).toMatchObject([{ quantity: 1 }, { productId: "1", quantity: 200 }]);
  });
});

describe("answers to what is no request", () => {
  const raw = (body: string, headers = {}) =>
    visitor.send("POST", "/cart/add", { body, headers: { "content-type": "application/json", ...headers } });

  test("malformed JSON is a 400 with a sentence", async () => {
    for (const body of ["{", '"text"', "{'productId':1}", '{"a":1}x'])
      expect(await raw(body)).toMatchObject({ status: 400, json: { error: "The body is not valid JSON." } });
    expect(await raw("null")).toMatchObject({ status: 400 });
  });

  test("a body that is too large is a 413", async () => {
    const body = JSON.stringify({ productId: "1", quantity: 1, padding: "x".repeat(20_000) });
    expect(await raw(body)).toMatchObject({ status: 413, json: { error: "The body is too large." } });
  });

  test("no body is a 400", async () => {
    const reply = await visitor.send("POST", "/cart/add");
    expect(reply).toMatchObject({ status: 400, json: { error: "Send a JSON object, or a form, as the body." } });
  });

  test("an unknown route is a 404, as JSON or as a page", async () => {
    expect(await visitor.get("/nowhere")).toMatchObject({ status: 404, json: { error: "There is no such page." } });
    const page = await visitor.page("/nowhere");
    expect(page).toMatchObject({ status: 404, cookies: [] });
    expect(page.text).toContain("<h1>Not here</h1>");
  });

  test("a broken path is a 400 or 404 without a stack trace", async () => {
    for (const path of ["/cart/%E0%A4%A", "/checkout/form/%ff"]) {
      const reply = await visitor.delete(path);
      expect([400, 404]).toContain(reply.status);
      expect(Object.keys(reply.json)).toEqual(["error"]);
    }
  });

  test("no answer says what the server runs on, or forgets its headers", async () => {
    for (const reply of [
      await visitor.get("/products"),
      await raw("{"),
      await visitor.page("/"),
      await visitor.page("/x"),
    ]) {
      expect(reply.headers).not.toHaveProperty("x-powered-by");
      expect(reply.headers).toMatchObject({
        "x-content-type-options": "nosniff",
        "referrer-policy": "same-origin",
        "cache-control": "no-store",
        "content-security-policy": expect.stringContaining("default-src 'none'"),
      });
    }
  });
});
