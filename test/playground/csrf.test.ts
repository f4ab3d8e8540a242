import { beforeAll, beforeEach, expect, test } from "vitest";
import { formOf, type OpenShop, openShop, SEEDED, Visitor } from "./support.ts";

let shop: OpenShop;
let visitor: Visitor;
beforeAll(async () => {
  shop = await openShop();
});
beforeEach(() => {
  visitor = new Visitor(shop.url);
});

const OTHER_SITE = [
  { "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document" },
  { "sec-fetch-site": "same-site" },
  { origin: "https://evil.example" },
  { origin: "null" },
];

test("CS-09: another site cannot log its visitors in here, with or without a session", async () => {
  for (const headers of OTHER_SITE) {
    const asJson = await visitor.post("/login", SEEDED, headers);
    expect(asJson).toMatchObject({ status: 403, json: { error: "Forbidden." }, cookies: [] });
    const asForm = await visitor.send("POST", "/login", { form: { ...SEEDED }, headers });
    expect(asForm).toMatchObject({ status: 403, cookies: [] });
    expect((await visitor.post("/register", { username: "x", password: "long enough" }, headers)).status).toBe(403);
  }
  const page = await visitor.page("/login");
  const token = formOf(page, "/login");
  for (const headers of OTHER_SITE) {
    const reply = await visitor.send("POST", "/login", { form: { ...SEEDED, ...token }, headers });
    expect(reply.status).toBe(403);
  }
  expect((await visitor.get("/profile")).status).toBe(401);
});

test("CS-09: a login form without the token of this visitor is refused", async () => {
  expect((await visitor.submit("/login", { ...SEEDED })).status).toBe(403);
  const foreign = formOf(await new Visitor(shop.url).page("/login"), "/login");
  await visitor.page("/login");
  expect((await visitor.submit("/login", { ...SEEDED, ...foreign })).status).toBe(403);
  expect((await visitor.get("/profile")).status).toBe(401);
});

test("LO-05: a logout is a POST of this site", async () => {
  await visitor.login();
  const got = await visitor.get("/logout");
  expect(got).toMatchObject({ status: 405, headers: { allow: "POST" }, cookies: [] });
  for (const headers of OTHER_SITE) {
    expect(await visitor.post("/logout", {}, headers)).toMatchObject({ status: 403, cookies: [] });
    expect((await visitor.send("POST", "/logout", { headers })).status).toBe(403);
    expect((await visitor.send("POST", "/logout", { form: {}, headers })).status).toBe(403);
  }
  expect((await visitor.get("/profile")).json).toMatchObject({ username: "ada" });
});

test("LO-05: a form that logs out needs the token", async () => {
  await visitor.login();
  expect((await visitor.submit("/logout", {})).status).toBe(403);
  expect((await visitor.get("/profile")).status).toBe(200);
  const form = formOf(await visitor.page("/"), "/logout");
  expect(await visitor.submit("/logout", form)).toMatchObject({ status: 303, headers: { location: "/" } });
  expect((await visitor.get("/profile")).status).toBe(401);
});

test("every form without a valid token is refused and changes nothing", async () => {
  await visitor.page("/");
  const line = { productId: "1", quantity: "1" };
  for (const _csrf of [undefined, "", "nonsense", `${"A".repeat(22)}.${"A".repeat(43)}`]) {
    const reply = await visitor.submit("/cart/add", _csrf === undefined ? line : { ...line, _csrf });
    expect(reply.status).toBe(403);
    expect(reply.text).toContain("This form is out of date. Please load the page again.");
  }
  for (const path of ["/register", "/preferences", "/checkout", "/checkout/form/address", "/sessions/revoke-others"])
    expect((await visitor.submit(path, { ...line })).status).toBe(403);
  expect((await visitor.get("/cart")).json.items).toEqual([]);
});

test("what else a form could send needs the token too", async () => {
  await visitor.post("/cart/add", { productId: "1", quantity: 1 });
  await visitor.login();
  for (const type of [
    "text/plain",
    "multipart/form-data; boundary=x",
    "application/x-www-form-urlencoded; charset=utf-8",
  ])
    for (const path of ["/checkout", "/logout"])
      expect((await visitor.send("POST", path, { body: "", headers: { "content-type": type } })).status).toBe(403);
  expect((await visitor.get("/cart")).json.items).toHaveLength(1);
});

test("a token from before the login is worthless after it", async () => {
  const old = formOf(await visitor.page("/"), "/cart/add");
  await visitor.login();
  expect((await visitor.submit("/cart/add", { ...old, quantity: "1" })).status).toBe(403);
  const fresh = formOf(await visitor.page("/"), "/cart/add");
  expect((await visitor.submit("/cart/add", { ...fresh, quantity: "1" })).status).toBe(303);
});

test("this site's own scripts may send JSON", async () => {
  const headers = { "sec-fetch-site": "same-origin", origin: shop.url };
  expect((await visitor.post("/cart/add", { productId: "1", quantity: 1 }, headers)).status).toBe(200);
  expect((await visitor.post("/cart/add", { productId: "1", quantity: 1 }, { origin: shop.url })).status).toBe(200);
});
