import { sessionMiddleware, sessionOf } from "coatcheck/express";
import { memoryStore } from "coatcheck/memory";
import { beforeEach, expect, test } from "vitest";
import { gate, holdingReads, type OpenShop, openShop, STRATEGY, Visitor } from "./support.ts";

let shop: OpenShop;
let visitor: Visitor;
let started: Array<ReturnType<typeof gate>>;
let goOn: ReturnType<typeof gate>;
beforeEach(async () => {
  started = Array.from({ length: 3 }, gate);
  goOn = gate();
  let count = 0;
  shop = await openShop({
    before(app, { sessions }) {
      app.get("/slow", sessionMiddleware(sessions), async (req, res) => {
        const { cart } = sessionOf(sessions, req).data;
        started[count++]?.open();
        await goOn.opened;
        cart.push({ productId: "8", quantity: 1 });
        res.json({ cart });
      });
    },
  });
  visitor = new Visitor(shop.url);
});

const ENDED = { status: 409, json: { error: expect.stringContaining("The session ended") }, cookies: [] };

test("a slow request that ends after the logout leaves no record behind", async () => {
  await visitor.login();
  const slow = visitor.twin();
  const answer = slow.get("/slow");
  await started[0]?.opened;
  await visitor.post("/logout");
  goOn.open();
  expect(await answer).toMatchObject(ENDED);
  expect(await shop.store.listByUser("1")).toEqual([]);
  expect((await slow.get("/profile")).status).toBe(401);
});

test("a slow request that ends after the session was revoked leaves no record behind", async () => {
  await visitor.login();
  const other = new Visitor(shop.url);
  await other.login();
  const answer = visitor.get("/slow");
  await started[0]?.opened;
  expect((await other.delete("/sessions")).json).toEqual({ success: true, revoked: STRATEGY === "sealed" ? 0 : 1 });
  goOn.open();
  expect(await answer).toMatchObject(ENDED);
  expect(await shop.store.listByUser("1")).toHaveLength(STRATEGY === "sealed" ? 0 : 1);
});

test("a login during slow requests leaves one live secret, the new one", async () => {
  await visitor.post("/cart/add", { productId: "1", quantity: 1 });
  const before = visitor.twin();
  const answers = started.map(() => before.get("/slow"));
  await Promise.all(started.map(({ opened }) => opened));
  await visitor.login();
  goOn.open();
  for (const reply of await Promise.all(answers)) expect(reply).toMatchObject(ENDED);

  expect(visitor.secret).not.toBe(before.secret);
  expect(await shop.store.listByUser("1")).toHaveLength(STRATEGY === "sealed" ? 0 : 1);
  expect((await before.get("/profile")).status).toBe(401);
  expect((await visitor.get("/profile")).status).toBe(200);
  expect((await visitor.get("/cart")).json.items).toMatchObject([{ productId: "1", quantity: 1 }]);
});

test("two tabs that are led to the login at the same time both get there", async () => {
  const store = holdingReads(memoryStore());
  const visitor = new Visitor((await openShop({ store })).url);
  await visitor.page("/");
  if (STRATEGY === "server") store.holdUntil(2);
  const replies = await Promise.all([visitor.page("/orders"), visitor.page("/sessions")]);
  expect(replies).toMatchObject([303, 303].map((status) => ({ status, headers: { location: "/login" } })));
});
