import { minutes } from "coatcheck";
import { TestClock } from "coatcheck/testing";
import type { Page } from "playwright-core";
import { expect, it } from "vitest";
import { openShop, SEEDED } from "../playground/support.ts";
import { describeWithService } from "../services/services.ts";
import { dump, logIn, scripted } from "./shop-visit.ts";
import { until, useBrowser } from "./support.ts";

const ADDRESS = { name: "Ada", street: "1 St James's Square", postcode: "SW1Y", city: "London", country: "UK" };

describeWithService("chromium", async ({ url: program }) => {
  const browser = useBrowser(program);
  const { url } = await openShop();

  const theme = (page: Page) => page.evaluate(() => document.documentElement.dataset.theme);
  it("the theme is the browser's before the login, the user's after it, and there on the next device", async () => {
    const page = await browser.tab(await browser.profile(), url);
    await scripted(page);
    await page.click("[data-theme-button]");
    await page.click("[data-theme-button]");
    expect(await theme(page)).toBe("dark");
    // As the server sends it, before any script: no flash.
    const served = async () => /data-theme="(\w+)"/.exec((await (await page.reload())?.text()) ?? "")?.[1];
    expect(await served()).toBe("dark");
    await logIn(page, url);
    expect(await theme(page)).toBe("dark");
    expect(await served()).toBe("dark");

    const next = await browser.tab(await browser.profile(), url);
    expect(await theme(next)).toBe("auto");
    await logIn(next, url);
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

  it("the language is the browser's, then the visitor's choice, then the user's on all devices, as the server sends it", async () => {
    const served = async (page: Page) => {
      const text = (await (await page.reload())?.text()) ?? "";
      return [/<html lang="(\w+)"/.exec(text)?.[1], /<h1>(.*?)<\/h1>/.exec(text)?.[1]];
    };
    const german = await browser.tab(await browser.profile({ locale: "de-AT" }), url);
    expect(await served(german)).toEqual(["de", "Für den Weg nach draußen"]);

    const page = await browser.tab(await browser.profile({ locale: "en-GB" }), url);
    expect(await served(page)).toEqual(["en", "For the way out"]);
    await scripted(page);
    await page.click("[data-language-button]");
    await until(page, () => document.documentElement.lang === "de");
    expect(await served(page)).toEqual(["de", "Für den Weg nach draußen"]);
    await logIn(page, url);
    expect(await page.textContent("[role=status]")).toBe("Schön, dass Sie da sind, ada.");
    expect(await page.textContent("[data-theme-button]")).toMatch(/^Farben: /);

    const next = await browser.tab(await browser.profile({ locale: "en-GB" }), url);
    expect((await served(next))[0]).toBe("en");
    await logIn(next, url);
    expect(await served(next)).toEqual(["de", "Für den Weg nach draußen"]);
    await next.click("[data-language-button]");
    await until(next, () => document.documentElement.lang === "en");

    // Without JavaScript, by the form.
    const bare = await (await browser.profile({ locale: "en-GB", javaScriptEnabled: false })).newPage();
    await logIn(bare, url, SEEDED, false);
    await bare.goto(`${url}/preferences`);
    await bare.selectOption('select[name="language"]', "de");
    await bare.click("main form button");
    expect(await bare.getAttribute("html", "lang")).toBe("de");
    expect(await bare.textContent("h1")).toBe("Einstellungen");
  });

  it("warns before the session ends, lets the visitor stay, and leaves the page when the session is over", async () => {
    const clock = new TestClock();
    const timed = await openShop({ clock });
    const profile = await browser.profile();
    await profile.clock.install();
    const page = await browser.tab(profile, timed.url);
    await logIn(page, timed.url);
    await page.goto(`${timed.url}/orders`);
    await scripted(page);
    const warning = page.locator("[data-session-warning]");
    const pass = async (time: number) => {
      await clock.advance(time);
      await page.clock.runFor(time);
    };
    await pass(minutes(27));
    expect(await warning.isVisible()).toBe(false);
    await pass(minutes(2));
    await warning.waitFor();
    expect(await warning.textContent()).toMatch(/^You will be logged out at \d+:\d+:\d+.* Stay logged in$/);
    await warning.locator("button").click();
    await warning.waitFor({ state: "hidden" });
    await pass(minutes(27));
    expect(await warning.isVisible()).toBe(false);
    await pass(minutes(4));
    await page.waitForURL(`${timed.url}/login`);
    expect(await page.getAttribute("html", "data-user")).toBeNull();
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
      dumps.push(await dump(page));
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
    await logIn(page, url);
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
    await page.goto(`${url}/tokens`);
    await page.fill('[data-tokens-login] input[name="password"]', SEEDED.password);
    await page.click("[data-tokens-login] button");
    await page.waitForSelector('[data-status="signed-in"]:not([hidden])');
    await page.click("[data-fetch]");
    await page.waitForSelector('[data-of-profile="username"]:not([hidden])');
    await look();
    await page.reload();
    await page.waitForSelector('[data-status="signed-in"]:not([hidden])');
    await look();
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
    await logIn(one, url);
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
