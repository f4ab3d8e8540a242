import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { formOf, type OpenShop, openShop, type Reply, SEEDED, shownValue, Visitor } from "./support.ts";

let shop: OpenShop;
let visitor: Visitor;
beforeAll(async () => {
  shop = await openShop();
});
beforeEach(() => {
  visitor = new Visitor(shop.url);
});

/** Fills in the form of a page, sends it, and goes where that leads. */
async function fillIn(page: Reply, action: string, values: Record<string, string> = {}): Promise<Reply> {
  const reply = await visitor.submit(action, { ...formOf(page, action), ...values });
  return reply.status === 303 ? follow(reply) : reply;
}

async function follow(reply: Reply): Promise<Reply> {
  const next = await visitor.page(reply.headers.location as string);
  return next.status === 303 ? follow(next) : next;
}

const titleOf = (page: Reply) => /<title>(.*?) · The Cloakroom<\/title>/.exec(page.text)?.[1];
const noticeOf = (page: Reply) => /<p class="notice \w+" role="\w+">(.*?)<\/p>/.exec(page.text)?.[1];

async function logIn(): Promise<Reply> {
  return fillIn(await visitor.page("/login"), "/login", { ...SEEDED });
}

const ADDRESS = {
  name: 'Ada "Countess" <L>',
  street: "Main Street 1",
  postcode: "12345",
  city: "London",
  country: "UK",
};

describe("without any script", () => {
  test("a visitor registers, logs in, and out again", async () => {
    let page = await fillIn(await visitor.page("/register"), "/register", {
      username: "<b>&\"'",
      password: "long enough",
    });
    expect([titleOf(page), noticeOf(page)]).toEqual(["Log in", "Your account is ready. You can log in now."]);
    page = await fillIn(page, "/login", { username: "<b>&\"'", password: "long enough" });
    expect([titleOf(page), noticeOf(page)]).toEqual(["Products", "Good to see you, &lt;b&gt;&amp;&quot;&#39;."]);
    expect(page.text).toContain("Log out &lt;b&gt;&amp;&quot;&#39;</button>");
    expect(page.text).not.toContain("<b>");
    page = await visitor.page("/");
    expect(noticeOf(page)).toBeUndefined();
    page = await fillIn(page, "/logout");
    expect(page.text).toContain('<a href="/login">Log in</a>');
  });

  test("a form that was filled in wrongly comes back with what was typed, but the password", async () => {
    let page = await fillIn(await visitor.page("/login"), "/login", { username: 'ada"', password: "wrong" });
    expect([page.status, noticeOf(page)]).toEqual([401, "Invalid credentials"]);
    expect(shownValue(page, "username")).toBe("ada&quot;");
    expect(page.text).not.toContain("wrong");
    page = await fillIn(page, "/login", { username: "", password: "" });
    expect([page.status, noticeOf(page)]).toEqual([400, "Enter your username."]);
    page = await fillIn(await visitor.page("/register"), "/register", { username: "ADA", password: "long enough" });
    expect([page.status, noticeOf(page)]).toEqual([409, "This username is taken."]);
  });

  test("a cart is filled and emptied", async () => {
    let page = await fillIn(await visitor.page("/"), "/cart/add", { quantity: "2" });
    expect([titleOf(page), noticeOf(page)]).toEqual(["Cart", "Wool coat is in your cart."]);
    expect(page.text).toContain("€378.00");
    expect(page.text).toContain('Cart <span class="count">2</span>');
    page = await fillIn(page, "/cart/1/remove");
    expect(page.text).toContain("Nothing in it yet.");
    expect((await fillIn(await visitor.page("/"), "/cart/add", { quantity: "1e1" })).status).toBe(400);
  });

  test("an order goes through the four steps", async () => {
    await fillIn(await visitor.page("/"), "/cart/add", { productId: "3", quantity: "1" });
    let page = await visitor.page("/checkout/form/payment");
    expect(page).toMatchObject({ status: 303, headers: { location: "/checkout/form/address" } });
    page = await follow(page);
    expect(noticeOf(page)).toBe("Fill in the step &quot;address&quot; first.");

    page = await fillIn(page, "/checkout/form/address", { ...ADDRESS, city: "" });
    expect([page.status, noticeOf(page)]).toEqual([400, "City is missing."]);
    expect(shownValue(page, "name")).toBe("Ada &quot;Countess&quot; &lt;L&gt;");
    page = await fillIn(page, "/checkout/form/address", ADDRESS);
    expect(titleOf(page)).toBe("Check out: delivery");

    page = await fillIn(page, "/checkout/form/delivery", { method: "express" });
    expect(titleOf(page)).toBe("Check out: payment");
    page = await visitor.page("/checkout/form/delivery");
    expect(page.text).toContain('value="express" required checked');
    page = await visitor.page("/checkout/form/address");
    expect(shownValue(page, "city")).toBe("London");
    page = await follow(await visitor.page("/checkout/form"));
    page = await fillIn(page, "/checkout/form/payment", { method: "invoice" });
    expect(titleOf(page)).toBe("Check out: review");
    expect(page.text).toContain("Express, tomorrow");

    page = await fillIn(page, "/checkout/form/review");
    expect([titleOf(page), noticeOf(page)]).toEqual(["Log in", "Please log in first."]);
    page = await fillIn(page, "/login", { ...SEEDED });
    expect(titleOf(page)).toBe("Check out: review");
    page = await fillIn(page, "/checkout/form/review");
    expect([titleOf(page), noticeOf(page)]).toEqual(["Orders", "Thank you. Your order is placed."]);
    expect(page.text).toContain("Felt hat");
    page = await visitor.page("/checkout/form/address");
    expect(shownValue(page, "city")).toBe("");
  });

  test("preferences change the colours of every page", async () => {
    await logIn();
    const page = await fillIn(await visitor.page("/preferences"), "/preferences", { theme: "dark", news: "weekly" });
    expect(noticeOf(page)).toBe("Saved.");
    expect(page.text).toContain('<option value="weekly" selected>');
    expect((await visitor.page("/")).text).toContain('<html lang="en" data-theme="dark" data-user="1">');
    expect((await visitor.get("/preferences")).json).toEqual({ theme: "dark", news: "weekly" });
    await visitor.post("/preferences", { theme: '"><script>' });
    expect((await visitor.page("/")).text).toContain('data-theme="auto"');
  });

  test("who is not logged in is led to the login, and back", async () => {
    for (const path of ["/orders", "/preferences", "/sessions"]) {
      visitor = new Visitor(shop.url);
      let page = await follow(await visitor.page(path));
      expect([titleOf(page), noticeOf(page)]).toEqual(["Log in", "Please log in first."]);
      const reply = await visitor.submit("/login", { ...formOf(page, "/login"), ...SEEDED });
      expect(reply).toMatchObject({ status: 303, headers: { location: path } });
      page = await logIn();
      expect(titleOf(page)).toBe("Products");
    }
  });
});

test("no page has a script or a style of its own, and all say that none may run", async () => {
  await visitor.post("/cart/add", { productId: "1", quantity: 1 });
  await logIn();
  const paths = ["/", "/products", "/login", "/register", "/cart", "/checkout/form/address", "/orders", "/preferences"];
  for (const path of [...paths, "/sessions", "/journey", "/nowhere"]) {
    const page = await visitor.page(path);
    expect(page.headers["content-type"]).toBe("text/html; charset=utf-8");
    expect(page.headers["content-security-policy"]).toMatch(/^default-src 'none'; style-src 'self';/);
    expect(page.headers["content-security-policy"]).not.toContain("unsafe");
    expect(page.text).toMatch(/^<!doctype html>/);
    expect(page.text).not.toMatch(
      /<script(?! type="module" src="\/shop.js"><\/script>)|<style|\sstyle=|\son\w+=|javascript:/i,
    );
  }
});

test("the style sheet and the pictures are there, for everybody to keep", async () => {
  const page = await visitor.page("/");
  const files = [...page.text.matchAll(/(?:href|src)="(\/[^"]+\.(?:css|svg))"/g)].map(([, path = ""]) => path);
  expect(files).toHaveLength(10);
  for (const path of files) {
    const { status, headers, cookies } = await new Visitor(shop.url).get(path);
    expect(status).toBe(200);
    expect(cookies).toEqual([]);
    expect(headers).toMatchObject({ "x-content-type-options": "nosniff", "cache-control": "public, max-age=300" });
  }
});

test("what is asked for as JSON or as anything is JSON, for a browser it is a page", async () => {
  for (const path of ["/products", "/cart", "/journey"]) {
    for (const accept of [undefined, "*/*", "application/json", "application/json, text/html", "image/png"])
      expect((await visitor.get(path, { accept })).headers["content-type"]).toContain("application/json");
    for (const accept of [
      "text/html",
      "text/html,application/xhtml+xml,*/*;q=0.8",
      "application/json;q=0.5, text/html",
    ])
      expect((await visitor.get(path, { accept })).headers["content-type"]).toContain("text/html");
  }
});
