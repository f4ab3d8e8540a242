import type { BrowserContext, Page } from "playwright-core";
import { expect, it } from "vitest";
import { openShop, SEEDED } from "../playground/support.ts";
import { describeWithService } from "../services/services.ts";
import { dump, logIn, scripted } from "./shop-visit.ts";
import { until, useBrowser } from "./support.ts";

describeWithService("chromium", async ({ url: program }) => {
  const browser = useBrowser(program);
  const { url } = await openShop();

  const state = (page: Page) => page.locator("[data-status]:not([hidden])").getAttribute("data-status");
  const has = (page: Page, status: string) => page.waitForSelector(`[data-status="${status}"]:not([hidden])`);
  const open = async (profile: BrowserContext) => {
    const page = await browser.tab(profile, `${url}/tokens`);
    await page.waitForSelector("[data-tokens]:not([hidden])");
    return page;
  };
  const logInForTokens = async (page: Page) => {
    await page.fill('[data-tokens-login] input[name="password"]', SEEDED.password);
    await page.click("[data-tokens-login] button");
    await has(page, "signed-in");
  };

  it("ST-02: the page of tokens logs in, fetches with the token from memory, refreshes and logs out, and writes no token anywhere", async () => {
    const profile = await browser.profile();
    const first = await browser.tab(profile, url);
    await logIn(first, url);
    const page = await open(profile);
    await has(page, "anonymous");
    expect(await page.isVisible("[data-logout]")).toBe(false);

    const tokens: string[] = [];
    const urls: string[] = [];
    const asked: string[] = [];
    const dumps: string[] = [];
    page.on("request", async (request) => {
      urls.push(request.url());
      asked.push(`${request.method()} ${new URL(request.url()).pathname}`);
      const { authorization } = await request.allHeaders();
      if (authorization !== undefined) tokens.push(authorization.replace("Bearer ", ""));
    });
    const look = async () => {
      dumps.push(await dump(page), await page.content());
      for (const { name, value, httpOnly } of await profile.cookies())
        if (name === "rt") {
          expect(httpOnly).toBe(true);
          tokens.push(...value.split("."));
        }
    };

    await page.fill('[data-tokens-login] input[name="password"]', "wrong password");
    await page.click("[data-tokens-login] button");
    await page.waitForSelector("[data-tokens-problem]:not([hidden])");
    expect(await page.textContent("[data-tokens-problem]")).toBe("Invalid credentials");
    expect(await page.inputValue('[data-tokens-login] input[name="password"]')).toBe("");

    await logInForTokens(page);
    expect(await page.isVisible("[data-tokens-login]")).toBe(false);
    await look();
    await page.click("[data-fetch]");
    await until(page, () => document.querySelector('[data-of-profile="username"]')?.textContent === "ada");
    await look();

    asked.length = 0;
    await page.click("[data-reload]");
    await has(page, "signed-in");
    // The token in memory was gone: one refresh brought another.
    expect(asked.filter((line) => line.includes("/token/"))).toEqual(["POST /token/refresh", "GET /token/profile"]);
    await look();
    expect(new Set(tokens.filter((token) => token.startsWith("ey"))).size).toBe(2);

    await page.click("[data-logout]");
    await has(page, "anonymous");
    await look();
    // The shop's own session is another one, and goes on.
    await page.reload();
    await has(page, "anonymous");
    expect(await page.locator("form[action='/logout']").count()).toBe(1);

    const everything = [...dumps, ...urls, ...urls.map(decodeURIComponent)].join("\n");
    expect(tokens.length).toBeGreaterThan(8);
    for (const token of tokens) expect(everything).not.toContain(token);
    expect(everything).not.toContain(SEEDED.password);
    expect(everything).not.toMatch(/eyJ[\w-]+\.eyJ/);
  });

  it("the state shows in the other tab; neither the shop's pages nor a draft of theirs notice", async () => {
    const profile = await browser.profile();
    const shop = await browser.tab(profile, url);
    await logIn(shop, url);
    await shop.goto(`${url}/checkout/form/address`);
    await scripted(shop);
    await shop.fill('input[name="city"]', "London");
    await shop.evaluate(() => {
      window.kept = "not reloaded";
    });
    const one = await open(profile);
    const two = await open(profile);
    await has(two, "anonymous");
    await logInForTokens(one);
    await has(two, "signed-in");
    await one.click("[data-logout]");
    await has(two, "anonymous");
    expect(await shop.evaluate(() => window.kept)).toBe("not reloaded");
    expect(await dump(shop)).toContain("London");
  });

  it("the shop's logout ends the session with tokens too, so the next user of the browser finds none", async () => {
    const profile = await browser.profile();
    const page = await browser.tab(profile, url);
    await logIn(page, url);
    const tokens = await open(profile);
    await logInForTokens(tokens);
    const [kept] = (await profile.cookies()).filter(({ name }) => name === "rt");
    await page.click("form[action='/logout'] button");
    await until(page, () => document.documentElement.dataset.user === undefined);
    expect((await profile.cookies()).map(({ name }) => name)).not.toContain("rt");
    const replay = await fetch(`${url}/token/refresh`, { method: "POST", headers: { cookie: `rt=${kept?.value}` } });
    expect(replay.status).toBe(400);
  });

  it("a session with tokens that another user left is ended, not shown", async () => {
    const profile = await browser.profile();
    const page = await browser.tab(profile, url);
    // Left by ada, who did not log out.
    await page.evaluate(
      (credentials) =>
        fetch("/token/login", {
          method: "POST",
          headers: { "Content-Type": "application/json" },
          body: JSON.stringify(credentials),
        }),
      SEEDED,
    );
    const other = { username: "grace", password: "a long password" };
    await page.evaluate(
      (credentials) =>
        fetch("/register", {
          method: "POST",
          headers: { "Content-Type": "application/json", Accept: "application/json" },
          body: JSON.stringify(credentials),
        }),
      other,
    );
    await logIn(page, url, other);
    const tokens = await open(profile);
    await has(tokens, "anonymous");
    expect(await tokens.textContent("main")).not.toContain(SEEDED.username);
    expect(await state(tokens)).toBe("anonymous");
    await expect.poll(async () => (await profile.cookies()).map(({ name }) => name)).not.toContain("rt");
  });

  it("without JavaScript the page says so, and has no form that could send a password", async () => {
    const profile = await browser.profile({ javaScriptEnabled: false });
    const page = await profile.newPage();
    await logIn(page, url, SEEDED, false);
    await page.goto(`${url}/tokens`);
    expect(await page.locator("noscript").isVisible()).toBe(true);
    expect(await page.locator("main input:visible, main button:visible").count()).toBe(0);
  });
});
