import { minutes } from "coatcheck";
import { TestClock } from "coatcheck/testing";
import { beforeAll, beforeEach, expect, test } from "vitest";
import { formOf, type OpenShop, openShop, STRATEGY, storedTest, Visitor } from "./support.ts";

const clock = new TestClock();
let shop: OpenShop;
let laptop: Visitor;
let phone: Visitor;
let user = 0;
beforeAll(async () => {
  shop = await openShop({ clock });
});
beforeEach(async () => {
  const [username, password] = [`user${++user}`, "long enough"];
  laptop = new Visitor(shop.url, {
    "user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
  });
  phone = new Visitor(shop.url, { "user-agent": "Shopper/2.1 (Android 15)" });
  await laptop.post("/register", { username, password });
  await laptop.login(username, password);
  await clock.advance(1000);
  await phone.login(username, password);
});

const idOf = (visitor: Visitor) => (visitor.cookie ?? "").slice("sid=".length).split(".")[0] ?? "";

storedTest("the list has all devices and marks this one", async () => {
  const { json } = await laptop.get("/sessions");
  expect(json.sessions).toMatchObject([
    { id: idOf(phone), current: false, device: { userAgent: "Shopper/2.1 (Android 15)", ip: "127.0.0.0" } },
    { id: idOf(laptop), current: true, createdAt: clock.now() - 1000, methods: ["pwd"] },
  ]);
});

test("nobody sees or ends anything without a login", async () => {
  const stranger = new Visitor(shop.url);
  for (const reply of [
    await stranger.get("/sessions"),
    await stranger.delete("/sessions"),
    await stranger.delete(`/sessions/${idOf(phone)}`),
  ])
    expect(reply).toMatchObject({ status: 401, json: { error: "Not logged in" } });
  expect((await phone.get("/profile")).status).toBe(200);
});

storedTest("one can be ended", async () => {
  expect((await laptop.delete(`/sessions/${idOf(phone)}`)).json).toEqual({ success: true });
  expect((await phone.get("/profile")).status).toBe(401);
  const again = await laptop.delete(`/sessions/${idOf(phone)}`);
  expect(again).toMatchObject({ status: 404, json: { error: "You have no such session." } });
});

storedTest("another user's cannot", async () => {
  const stranger = new Visitor(shop.url);
  await stranger.login();
  for (const id of [idOf(phone), "nonsense", "__proto__"])
    expect((await stranger.delete(`/sessions/${id}`)).status).toBe(404);
  expect((await phone.get("/profile")).status).toBe(200);
});

storedTest("all others can be ended", async () => {
  await clock.advance(1);
  expect((await laptop.delete("/sessions")).json).toEqual({ success: true, revoked: 1 });
  expect((await phone.get("/profile")).status).toBe(401);
  expect((await laptop.get("/sessions")).json.sessions).toHaveLength(1);
});

if (STRATEGY === "sealed")
  test("sealed sessions are not listed, but all others can be ended", async () => {
    const unlisted = { status: 404, json: { error: expect.stringContaining("no list of your devices") } };
    expect(await laptop.get("/sessions")).toMatchObject(unlisted);
    expect(await laptop.delete(`/sessions/${"A".repeat(22)}`)).toMatchObject(unlisted);
    await clock.advance(1);
    expect((await laptop.delete("/sessions")).json).toMatchObject({ success: true });
    expect((await phone.get("/profile")).status).toBe(401);
    expect((await laptop.get("/profile")).status).toBe(200);
  });

storedTest("ending this one is a logout", async () => {
  const reply = await laptop.delete(`/sessions/${idOf(laptop)}`);
  expect(reply).toMatchObject({ status: 200, json: { success: true } });
  expect(reply.cookies[0]).toContain("Max-Age=0");
  expect((await phone.get("/sessions")).json.sessions).toHaveLength(1);
});

storedTest("ending asks for a password that was typed in the last five minutes", async () => {
  await clock.advance(minutes(5));
  const late = { status: 401, json: { error: "Please sign in again to do this." } };
  expect(await laptop.delete("/sessions")).toMatchObject(late);
  expect(await laptop.delete(`/sessions/${idOf(phone)}`)).toMatchObject(late);
  expect((await phone.get("/profile")).status).toBe(200);

  await laptop.login(`user${user}`, "long enough");
  expect((await laptop.delete("/sessions")).json).toEqual({ success: true, revoked: 1 });
});

storedTest(
  "without a script: the page lists them, its forms end them, and lead to the login when it is time",
  async () => {
    let page = await laptop.page("/sessions");
    expect(page.text).toContain('Firefox on Linux <span class="badge">This device</span>');
    expect(page.text).toContain("Shopper on Android");
    const action = `/sessions/${idOf(phone)}/revoke`;
    await clock.advance(minutes(5));
    expect(await laptop.submit(action, formOf(page, action))).toMatchObject({
      status: 303,
      headers: { location: "/login" },
    });
    page = await laptop.page("/login");
    expect(page.text).toContain("Please log in again to do this.");
    const login = { ...formOf(page, "/login"), username: `user${user}`, password: "long enough" };
    expect(await laptop.submit("/login", login)).toMatchObject({ status: 303, headers: { location: "/sessions" } });
    page = await laptop.page("/sessions");
    expect(await laptop.submit(action, formOf(page, action))).toMatchObject({
      status: 303,
      headers: { location: "/sessions" },
    });
    page = await laptop.page("/sessions");
    expect(page.text).toContain("Logged out there.");
    expect(page.text).not.toContain("Shopper");
    expect((await phone.get("/profile")).status).toBe(401);
  },
);
