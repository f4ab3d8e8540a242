import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type OpenShop, openShop, SEEDED, STRATEGY, Visitor } from "./support.ts";

let shop: OpenShop;
let visitor: Visitor;
beforeAll(async () => {
  shop = await openShop();
});
beforeEach(() => {
  visitor = new Visitor(shop.url);
});

describe("registering", () => {
  test("makes an account and logs nobody in", async () => {
    const reply = await visitor.post("/register", { username: "grace", password: "nanoseconds" });
    expect(reply).toMatchObject({ status: 201, json: { success: true }, cookies: [] });
    expect((await visitor.get("/profile")).status).toBe(401);
    expect((await visitor.login("grace", "nanoseconds")).json).toEqual({ success: true });
  });

  test("a taken name is a 409, in any case and any way to write it", async () => {
    for (const username of ["ada", "ADA", "ａｄａ"]) {
      const reply = await visitor.post("/register", { username, password: "long enough" });
      expect(reply).toMatchObject({ status: 409, json: { error: "This username is taken." } });
    }
  });

  test.each([
    [{}, "Enter your username."],
    [{ username: "x" }, "Enter your password."],
    [{ username: 5, password: "long enough" }, "Enter your username."],
    [{ username: "x", password: ["long enough"] }, "Enter your password."],
    [{ username: "x", password: "short" }, "A password has at least 8 characters."],
    [{ username: "x".repeat(65), password: "long enough" }, "A username has at most 64 characters."],
    [{ username: "x", password: "y".repeat(257) }, "A password has at most 256 characters."],
    [{ username: " x", password: "long enough" }, "A username has no spaces around it and no invisible characters."],
    [
      { username: "x\u202e", password: "long enough" },
      "A username has no spaces around it and no invisible characters.",
    ],
    [[], "Send a JSON object, or a form, as the body."],
  ])("refuses %j", async (body, error) => {
    expect(await visitor.post("/register", body)).toMatchObject({ status: 400, json: { error } });
  });
});

describe("logging in", () => {
  test("unknown user and wrong password get the same answer", async () => {
    const unknown = await visitor.login("nobody", "wrong password");
    const wrong = await visitor.login(SEEDED.username, "wrong password");
    expect(unknown).toMatchObject({ status: 401, json: { error: "Invalid credentials" }, cookies: [] });
    const { date: _, ...headers } = wrong.headers;
    expect({ ...wrong, headers }).toMatchObject({ status: unknown.status, text: unknown.text, cookies: [] });
    expect(unknown.headers).toMatchObject(headers);
  });

  test.each([
    [{ password: "x" }, "Enter your username."],
    [{ username: "ada" }, "Enter your password."],
    [{ username: "ada", password: "" }, "Enter your password."],
    [{ username: { $gt: "" }, password: "x" }, "Enter your username."],
  ])("refuses %j", async (body, error) => {
    expect(await visitor.post("/login", body)).toMatchObject({ status: 400, json: { error } });
  });

  test("says who is logged in, and since when", async () => {
    const before = Date.now();
    await visitor.login();
    const { json } = await visitor.get("/profile");
    expect(json).toEqual({ username: "ada", userId: "1", loginTime: expect.any(Number) });
    expect(json.loginTime).toBeGreaterThanOrEqual(before);
    expect(json.loginTime).toBeLessThanOrEqual(Date.now());
  });

  test("gives the visitor another secret", async () => {
    await visitor.post("/cart/add", { productId: "1", quantity: 1 });
    const planted = visitor.twin();
    await visitor.login();
    expect(visitor.secret).not.toBe(planted.secret);
    expect((await planted.get("/profile")).status).toBe(401);
  });

  test("remember me makes the cookie outlive the browser", async () => {
    expect((await visitor.login()).cookies[0]).not.toContain("Max-Age");
    const reply = await visitor.post("/login", { ...SEEDED, remember: true });
    expect(reply.cookies[0]).toMatch(/Max-Age=(259\d{4})/);
  });
});

describe("logging out", () => {
  test("clears the cookie and removes the record", async () => {
    await visitor.post("/register", { username: "leaving", password: "long enough" });
    await visitor.login("leaving", "long enough");
    const { userId } = (await visitor.get("/profile")).json;
    expect(await shop.store.listByUser(userId)).toHaveLength(STRATEGY === "sealed" ? 0 : 1);
    const copy = visitor.twin();
    const reply = await visitor.post("/logout");
    expect(reply).toMatchObject({ status: 200, json: { success: true } });
    expect(reply.cookies[0]).toMatch(/^sid=; Max-Age=0/);
    expect((await copy.get("/profile")).status).toBe(401);
    expect(await shop.store.listByUser(userId)).toEqual([]);
  });

  test("is harmless for who is not logged in", async () => {
    expect(await visitor.post("/logout")).toMatchObject({ status: 200, json: { success: true } });
  });
});

describe("preferences", () => {
  // The theme goes along with the account, so each test has one of its own.
  let newcomers = 0;
  async function loginAsNewcomer(): Promise<void> {
    const [username, password] = [`newcomer${newcomers++}`, "long enough"];
    await visitor.post("/register", { username, password });
    await visitor.login(username, password);
  }

  test("need a login", async () => {
    for (const reply of [await visitor.get("/preferences"), await visitor.post("/preferences", { theme: "dark" })])
      expect(reply).toMatchObject({ status: 401, json: { error: "Not logged in" } });
  });

  test("are merged", async () => {
    await loginAsNewcomer();
    expect((await visitor.get("/preferences")).json).toEqual({});
    expect((await visitor.post("/preferences", { theme: "dark", sizes: { coat: 42 } })).json).toEqual({
      success: true,
    });
    await visitor.post("/preferences", { theme: "light", mails: ["news"], fax: null });
    const expected = { theme: "light", sizes: { coat: 42 }, mails: ["news"], fax: null };
    expect((await visitor.get("/preferences")).json).toEqual(expected);
  });

  test("that are saved at the same time are all kept", async () => {
    await loginAsNewcomer();
    const names = Array.from({ length: 20 }, (_, i) => `p${i}`);
    await Promise.all(names.map((name) => visitor.post("/preferences", { [name]: true })));
    expect(Object.keys((await visitor.get("/preferences")).json).sort()).toEqual(names.sort());
  });

  test("with hostile names harm nothing", async () => {
    await loginAsNewcomer();
    const send = (body: string) =>
      visitor.send("POST", "/preferences", { body, headers: { "content-type": "application/json" } });
    expect((await send('{"__proto__":{"polluted":1}}')).status).toBe(400);
    expect((await send('{"constructor":{"prototype":{"polluted":1}},"a":{"__proto__":{"polluted":1}}}')).status).toBe(
      200,
    );
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
    const { text } = await visitor.get("/preferences");
    expect(text).toBe('{"constructor":{"prototype":{"polluted":1}},"a":{"__proto__":{"polluted":1}}}');
  });

  test("are bounded", async () => {
    await loginAsNewcomer();
    const long = await visitor.post("/preferences", { motto: "x".repeat(4096) });
    expect(long).toMatchObject({ status: 400, json: { error: expect.stringContaining("4096 characters") } });
    const many = Object.fromEntries(Array.from({ length: 51 }, (_, i) => [`p${i}`, 1]));
    expect((await visitor.post("/preferences", many)).json.error).toBe("At most 50 preferences are kept.");
    expect((await visitor.get("/preferences")).json).toEqual({});
  });
});
