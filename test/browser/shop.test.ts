import type { Page } from "playwright-core";
import { expect, it } from "vitest";
import { openShop, SEEDED } from "../playground/support.ts";
import { describeWithService } from "../services/services.ts";
import { until, useBrowser } from "./support.ts";

const ADDRESS = { name: "Ada", street: "1 St James's Square", postcode: "SW1Y", city: "London", country: "UK" };

describeWithService("chromium", async ({ url: program }) => {
  const browser = useBrowser(program);
  const { url } = await openShop();

  const theme = (page: Page) => page.evaluate(() => document.documentElement.dataset.theme);
  const scripted = (page: Page) => until(page, () => document.querySelector("[data-theme-button]:not([hidden])"));
  const login = async (page: Page) => {
    await page.goto(`${url}/login`);
    await page.fill('input[name="username"]', SEEDED.username);
    await page.fill('input[name="password"]', SEEDED.password);
    await page.click("main form button");
    await page.waitForURL((now) => now.pathname !== "/login");
    await scripted(page);
  };

  it("the theme is the browser's before the login, the user's after it, and there on the next device", async () => {
    const page = await browser.tab(await browser.profile(), url);
    await scripted(page);
    await page.click("[data-theme-button]");
    await page.click("[data-theme-button]");
    expect(await theme(page)).toBe("dark");
    // As the server sends it, before any script: no flash.
    const served = async () => /data-theme="(\w+)"/.exec((await (await page.reload())?.text()) ?? "")?.[1];
    expect(await served()).toBe("dark");
    await login(page);
    expect(await theme(page)).toBe("dark");
    expect(await served()).toBe("dark");

    const next = await browser.tab(await browser.profile(), url);
    expect(await theme(next)).toBe("auto");
    await login(next);
    expect(await theme(next)).toBe("dark");
    // There the user chooses again; the newer choice wins on the first device too.
    const synced = next.waitForResponse((response) => response.url().endsWith("/preferences/sync"));
    await next.click("[data-theme-button]");
    await synced;
    await page.reload();
    await until(page, () => document.documentElement.dataset.theme === "auto");
    await page.reload();
    expect(await served()).toBe("auto");
  });

  it("ST-01: after a whole journey no storage, no script-readable cookie and no URL holds a secret", async () => {
    const profile = await browser.profile();
    const page = await browser.tab(profile, url);
    const urls = new Set<string>();
    const secrets = new Set<string>();
    const dumps: string[] = [];
    page.on("request", (request) => urls.add(request.url()));
    page.on("framenavigated", (frame) => urls.add(frame.url()));
    const look = async () => {
      await scripted(page);
      for (const { httpOnly, value } of await profile.cookies())
        if (httpOnly) for (const part of decodeURIComponent(value).split(".")) secrets.add(part);
      for (const token of await page
        .locator('input[name="_csrf"]')
        .evaluateAll((all) => all.map((one) => (one as HTMLInputElement).value)))
        secrets.add(token);
      dumps.push(
        await page.evaluate(async () =>
          JSON.stringify([
            { ...localStorage },
            { ...sessionStorage },
            document.cookie,
            await indexedDB.databases(),
            history.state,
          ]),
        ),
      );
    };
    await look();
    await page.click('form[action="/cart/add"] button');
    await look();
    await page.goto(`${url}/checkout/form/address`);
    await look();
    await page.fill('input[name="name"]', "Ada, typed but not sent");
    await page.reload();
    await scripted(page);
    // Recovered, in this tab.
    expect(await page.inputValue('input[name="name"]')).toBe("Ada, typed but not sent");
    for (const [name, value] of Object.entries(ADDRESS)) await page.fill(`input[name="${name}"]`, value);
    await page.click("main form button");
    await look();
    await page.check('input[value="express"]');
    await page.click("main form button");
    await page.check('input[value="invoice"]');
    await page.click("main form button");
    await login(page);
    await look();
    expect(dumps.at(-1)).toContain("1 St James's Square");
    await page.goto(`${url}/checkout/form/review`);
    await page.click("main form button");
    await page.waitForURL("**/orders");
    await look();
    // The order is placed: nothing of the draft is left.
    expect(dumps.at(-1)).not.toContain("James");
    await page.click("[data-theme-button]");
    await page.goto(`${url}/checkout/form/address`);
    await scripted(page);
    await page.fill('input[name="city"]', "Private City");
    await look();
    expect(dumps.at(-1)).toContain("Private City");
    await page.click('form[action="/logout"] button');
    await until(page, () => location.pathname === "/" && !document.documentElement.dataset.user);
    await look();
    expect(dumps.at(-1)).not.toMatch(/Private City|coatcheck\|1\|/);

    const everything = [...dumps, ...urls, ...[...urls].map(decodeURIComponent)].join("\n");
    expect(secrets.size).toBeGreaterThan(6);
    for (const secret of secrets) expect(everything).not.toContain(secret);
    expect(everything).not.toContain(SEEDED.password);
    expect(everything).not.toMatch(/eyJ[\w-]+\.eyJ|[\w-]{22}\.[\w-]{43}/);
  });

  it("a logout in one tab shows in the others; without JavaScript all forms still work", async () => {
    const profile = await browser.profile();
    const one = await browser.tab(profile, url);
    await login(one);
    const two = await browser.tab(profile, `${url}/orders`);
    await scripted(two);
    await one.click('form[action="/logout"] button');
    await until(two, () => document.documentElement.dataset.user === undefined);
    expect(two.url()).toBe(`${url}/login`);

    const bare = await browser.profile({ javaScriptEnabled: false });
    const page = await bare.newPage();
    await page.goto(`${url}/login`);
    await page.fill('input[name="username"]', SEEDED.username);
    await page.fill('input[name="password"]', SEEDED.password);
    await page.click("main form button");
    await page.waitForSelector('form[action="/logout"]');
    expect(await page.locator("[data-theme-button]").isVisible()).toBe(false);
    await page.click('form[action="/logout"] button');
    await page.waitForSelector('a[href="/login"]');
  });
});
