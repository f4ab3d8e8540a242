import { join } from "node:path";
import { sqliteStore } from "coatcheck/sqlite";
import { beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { holdingReads, type OpenShop, openShop, type Reply, storedTest, temporaryFolder, Visitor } from "./support.ts";

const ADDRESS = { name: "Ada", street: "Main Street 1", postcode: "12345", city: "London", country: "UK" };

let shop: OpenShop;
let visitor: Visitor;
beforeAll(async () => {
  shop = await openShop();
});
beforeEach(async () => {
  visitor = new Visitor(shop.url);
});

/** The statuses of some replies, in order of size. */
const statuses = (replies: readonly Reply[]) => replies.map(({ status }) => status).sort();

/** A user of their own, so that orders can be counted. */
async function newUser(to: Visitor): Promise<void> {
  const username = `user ${Math.random()}`;
  await to.post("/register", { username, password: "long enough" });
  await to.login(username, "long enough");
}

describe("POST /checkout", () => {
  test("needs a login", async () => {
    await visitor.post("/cart/add", { productId: "1", quantity: 1 });
    expect(await visitor.post("/checkout")).toMatchObject({ status: 401, json: { error: "Not logged in" } });
    expect((await visitor.get("/cart")).json.items).toHaveLength(1);
    expect(await visitor.get("/orders")).toMatchObject({ status: 401, json: { error: "Not logged in" } });
  });

  test("needs something in the cart", async () => {
    await newUser(visitor);
    expect(await visitor.post("/checkout")).toMatchObject({ status: 400, json: { error: "Cart is empty" } });
  });

  test("makes an order and empties the cart", async () => {
    await visitor.post("/cart/add", { productId: "1", quantity: 2 });
    await visitor.post("/cart/add", { productId: "4", quantity: 3 });
    await newUser(visitor);
    const { status, json } = await visitor.post("/checkout");
    expect(status).toBe(200);
    expect(json.order).toEqual({
      id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      lines: [
        { productId: "1", name: "Wool coat", price: 189, quantity: 2 },
        { productId: "4", name: "Silk scarf", price: 39.9, quantity: 3 },
      ],
      total: 497.7,
      placedAt: expect.any(Number),
      details: {},
    });
    expect((await visitor.get("/cart")).json).toEqual({ items: [], total: 0 });
    expect((await visitor.get("/orders")).json.orders).toEqual([json.order]);
  });

  storedTest("twice in parallel makes one order", async () => {
    await visitor.post("/cart/add", { productId: "1", quantity: 1 });
    await newUser(visitor);
    const replies = await Promise.all([visitor.post("/checkout"), visitor.post("/checkout")]);
    expect(statuses(replies)).toEqual([200, 400]);
    expect((await visitor.get("/orders")).json.orders).toHaveLength(1);
  });

  storedTest("twice in parallel through two servers makes one order", async () => {
    const folder = temporaryFolder();
    const [one, two] = await twoServers(folder);
    const twin = one.twin(two);
    await one.post("/cart/add", { productId: "1", quantity: 1 });
    await newUser(one);
    twin.cookie = one.cookie;
    for (let round = 0; round < 5; round++) {
      await one.post("/cart/add", { productId: "1", quantity: 1 });
      const replies = await Promise.all([one, twin, one, twin].map((visitor) => visitor.post("/checkout")));
      for (const { status } of replies) expect([200, 400, 409]).toContain(status);
      const orders = new Set(replies.filter(({ status }) => status === 200).map(({ json }) => json.order.id));
      expect(orders.size).toBe(1);
      expect((await one.get("/orders")).json.orders).toHaveLength(round + 1);
      expect((await one.get("/cart")).json.items).toEqual([]);
    }
  });

  storedTest("without turns it is still one order, and who was second gets a 409", async () => {
    const folder = temporaryFolder();
    const store = holdingReads(sqliteStore(join(folder, "sessions.db")));
    const [one, two] = [await openShop({ store, dataDir: folder }), await openShop({ store, dataDir: folder })];
    const visitor = new Visitor(one.url);
    await visitor.post("/cart/add", { productId: "1", quantity: 1 });
    await newUser(visitor);
    const twin = visitor.twin(two.url);
    // Both servers have read the full cart before either goes on.
    store.holdUntil(2);
    const replies = await Promise.all([visitor.post("/checkout"), twin.post("/checkout")]);
    expect(statuses(replies)).toEqual([200, 409]);
    expect((await visitor.get("/orders")).json.orders).toHaveLength(1);
    expect((await twin.post("/checkout")).status).toBe(400);
  });

  test("is finished by the next checkout when the first one dies halfway", async () => {
    await visitor.post("/cart/add", { productId: "1", quantity: 1 });
    await newUser(visitor);
    const quiet = vi.spyOn(console, "error").mockImplementation(() => {});
    const broken = vi.spyOn(shop.database, "placeOrder").mockImplementationOnce(() => {
      throw new Error("disk full");
    });
    const failed = await visitor.post("/checkout");
    expect(failed).toMatchObject({ status: 500, json: { error: "Something went wrong." } });
    expect(quiet).toHaveBeenCalledOnce();
    quiet.mockRestore();
    expect((await visitor.page("/cart")).text).toContain("Finish the order");

    await visitor.post("/cart/add", { productId: "2", quantity: 1 });
    expect((await visitor.post("/checkout")).json.order.lines).toMatchObject([{ productId: "2" }]);
    const { orders } = (await visitor.get("/orders")).json;
    expect(orders.map(({ lines: [line] }: { lines: [{ productId: string }] }) => line.productId).sort()).toEqual([
      "1",
      "2",
    ]);
    broken.mockRestore();
    expect(await visitor.post("/checkout")).toMatchObject({ status: 400, json: { error: "Cart is empty" } });
  });
});

describe("the form of four steps", () => {
  test("keeps what was filled in between steps, and going back shows it", async () => {
    expect((await visitor.get("/checkout/form")).json).toEqual({
      step: "address",
      steps: ["address", "delivery", "payment", "review"],
      values: {},
    });
    const first = await visitor.post("/checkout/form/address", { ...ADDRESS, admin: true });
    expect(first).toMatchObject({ status: 200, json: { step: "delivery", values: { address: ADDRESS } } });
    expect(first.json.values.address).not.toHaveProperty("admin");
    await visitor.post("/checkout/form/delivery", { method: "express" });
    expect((await visitor.get("/checkout/form/address")).json.values).toEqual(ADDRESS);

    await visitor.post("/checkout/form/address", { ...ADDRESS, city: "Paris" });
    const { json } = await visitor.get("/checkout/form");
    expect(json.step).toBe("payment");
    expect(json.values).toEqual({ address: { ...ADDRESS, city: "Paris" }, delivery: { method: "express" } });
  });

  test("lets nobody skip a step", async () => {
    const skipped = { status: 400, json: { error: 'Fill in the step "address" first.' } };
    expect(await visitor.post("/checkout/form/delivery", { method: "express" })).toMatchObject(skipped);
    expect(await visitor.post("/checkout/form/review")).toMatchObject(skipped);
    expect(await visitor.get("/checkout/form/payment")).toMatchObject(skipped);
    await visitor.post("/checkout/form/address", ADDRESS);
    expect((await visitor.post("/checkout/form/payment", { method: "invoice" })).json.error).toContain('"delivery"');
    expect((await visitor.get("/checkout/form")).json.values).toEqual({ address: ADDRESS });
  });

  test.each([
    [{}, "Name is missing."],
    [{ ...ADDRESS, city: "  " }, "City is missing."],
    [{ ...ADDRESS, city: 5 }, "City is missing."],
    [{ ...ADDRESS, name: "x".repeat(101) }, "Name has at most 100 characters."],
  ])("refuses the address %j", async (body, error) => {
    expect(await visitor.post("/checkout/form/address", body)).toMatchObject({ status: 400, json: { error } });
  });

  test("refuses what it does not offer, and unknown steps", async () => {
    await visitor.post("/checkout/form/address", ADDRESS);
    expect((await visitor.post("/checkout/form/delivery", { method: "pigeon" })).json.error).toBe(
      "Delivery must be one of: standard, express, pickup.",
    );
    for (const step of ["toString", "__proto__", "Address"])
      expect((await visitor.post(`/checkout/form/${step}`)).status).toBe(404);
  });

  test("ends with an order that has all of it", async () => {
    await visitor.post("/cart/add", { productId: "3", quantity: 1 });
    await visitor.post("/checkout/form/address", ADDRESS);
    await visitor.post("/checkout/form/delivery", { method: "pickup" });
    await visitor.post("/checkout/form/payment", { method: "cash" });
    expect(await visitor.post("/checkout/form/review")).toMatchObject({
      status: 401,
      json: { error: "Not logged in" },
    });
    await newUser(visitor);
    const { json } = await visitor.post("/checkout/form/review");
    expect(json.order.details).toEqual({
      address: ADDRESS,
      delivery: { method: "pickup" },
      payment: { method: "cash" },
    });
    expect((await visitor.get("/checkout/form")).json).toMatchObject({ step: "address", values: {} });
    expect((await visitor.post("/checkout/form/review")).status).toBe(400);
  });
});

async function twoServers(folder: string): Promise<[Visitor, string]> {
  const open = () => openShop({ store: sqliteStore(join(folder, "sessions.db")), dataDir: folder });
  const [one, two] = [await open(), await open()];
  return [new Visitor(one.url), two.url];
}
