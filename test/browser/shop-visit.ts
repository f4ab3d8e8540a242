import type { Page } from "playwright-core";
import { SEEDED } from "../playground/support.ts";
import { until } from "./support.ts";

/** Waits until `shop.js` has run. */
export const scripted = (page: Page): Promise<void> =>
  until(page, () => document.querySelector("[data-theme-button]:not([hidden])"));

/** Logs in through the form. */
export async function logIn(page: Page, url: string, account = SEEDED, script = true): Promise<void> {
  await page.goto(`${url}/login`);
  await page.fill('input[name="username"]', account.username);
  await page.fill('input[name="password"]', account.password);
  await page.click("main form button");
  await page.waitForURL((now) => now.pathname !== "/login");
  if (script) await scripted(page);
}

/** All that scripts of the page can read of storages and cookies, as text. */
export const dump = (page: Page): Promise<string> =>
  page.evaluate(async () =>
    JSON.stringify([
      { ...localStorage },
      { ...sessionStorage },
      document.cookie,
      await indexedDB.databases(),
      history.state,
      await caches.keys(),
      location.href,
      window.name,
    ]),
  );
