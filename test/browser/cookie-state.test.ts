import { cookieState, oneOf } from "coatcheck/browser";
import { expect, it } from "vitest";
import { describeWithService } from "../services/services.ts";
import { STRICT_CSP, serve, until, useBrowser } from "./support.ts";

describeWithService("chromium", async ({ url: program }) => {
  const browser = useBrowser(program);
  const theme = cookieState("theme", { initial: "auto", schema: oneOf("auto", "light", "dark"), shared: true });
  // Renders the theme, and in the page says what the first render of a framework would show.
  const { url } = await serve((request, response) => {
    if (!request.url?.startsWith("/themed")) return false;
    response.setHeader("Content-Security-Policy", STRICT_CSP);
    response.setHeader("Content-Type", "text/html");
    response.end(`<!doctype html><html lang="en" data-theme="${theme.read(request)}"><title>Themed</title>
<script type="module" src="/page.js"></script>`);
    return true;
  });

  const define = () => {
    const { cookieState, oneOf } = window.coatcheck;
    window.kept = cookieState("theme", { initial: "auto", schema: oneOf("auto", "light", "dark"), shared: true });
  };

  it("the server reads the cookie by the same definition, and the first render agrees with its page", async () => {
    const [page] = await browser.tabs(1, `${url}/themed`);
    const look = () => [document.documentElement.dataset.theme, window.kept.getServerSnapshot(), window.kept.get()];
    await page?.evaluate(define);
    expect(await page?.evaluate(look)).toEqual(["auto", "auto", "auto"]);
    await page?.evaluate(() => window.kept.set("dark"));
    await page?.reload();
    await page?.evaluate(define);
    expect(await page?.evaluate(look)).toEqual(["dark", "dark", "dark"]);
    const [cookie] = (await page?.context().cookies()) ?? [];
    expect(cookie).toMatchObject({ path: "/", sameSite: "Lax", httpOnly: false });
    // Chromium keeps no cookie for longer than 400 days.
    expect((cookie?.expires ?? 0) - Date.now() / 1000).toBeGreaterThan(399 * 86_400);
  });

  it("other tabs hear of a change; two that update at the same time lose nothing", async () => {
    const [one, two] = await browser.tabs(2, url);
    for (const page of [one, two]) {
      await page?.evaluate(() => {
        const isNumber = (value: unknown): value is number => typeof value === "number";
        const count = window.coatcheck.cookieState<number>("count", { initial: 0, schema: isNumber });
        window.kept = { count, calls: 0 };
        count.subscribe(() => window.kept.calls++);
      });
    }
    await one?.evaluate(() => window.kept.count.set(0));
    await until(two as never, () => window.kept.calls > 0);
    const run = async () => {
      for (let i = 0; i < 50; i++) await window.kept.count.update((n: number) => n + 1);
    };
    await Promise.all([one?.evaluate(run), two?.evaluate(run)]);
    for (const page of [one, two]) await until(page as never, () => window.kept.count.get() === 100);
  });

  it("a value too long for a cookie stays in memory, with an event", async () => {
    const [page] = await browser.tabs(1, url);
    const seen = await page?.evaluate(() => {
      const reasons: string[] = [];
      window.coatcheck.onTrouble(({ reason }) => reasons.push(reason));
      const isText = (value: unknown): value is string => typeof value === "string";
      const state = window.coatcheck.cookieState<string>("long", { initial: "", schema: isText });
      state.set("x".repeat(5000));
      return [reasons, state.get().length, document.cookie];
    });
    expect(seen).toEqual([["refused"], 5000, ""]);
  });
});

const themeOnServer = cookieState("theme", { initial: "auto", schema: oneOf("auto", "dark"), shared: true });
const line = (name: string, text: string) => `${encodeURIComponent(name)}=${encodeURIComponent(text)}`;

it("on a server: a Cookie header, a Node request and a Request are read; anything else gives the initial value", () => {
  const cookie = `a=b; ${line("coatcheck|@|theme", '0;9999999999999;1;"dark"')}`;
  expect(themeOnServer.read(cookie)).toBe("dark");
  expect(themeOnServer.read({ headers: { cookie } })).toBe("dark");
  expect(themeOnServer.read(new Request("http://x", { headers: { cookie } }))).toBe("dark");
  const hostile = [undefined, null, "", "%", { headers: {} }, { headers: { get: "x" } as never }];
  const broken = [
    "coatcheck%7C%40%7Ctheme=%E0",
    line("coatcheck|@|theme", '0;1;1;"red"'),
    line("coatcheck|@|theme", ""),
  ];
  for (const source of [...hostile, ...broken]) expect(themeOnServer.read(source)).toBe("auto");
});

it("on a server: a user's own cookie is read for that user only", () => {
  const isText = (value: unknown): value is string => typeof value === "string";
  const draft = cookieState<string>("draft", { initial: "", schema: isText });
  const cookie = line("coatcheck|a%7Cb|draft", '0;Infinity;1;"text"');
  expect(draft.read(cookie, "a|b")).toBe("text");
  expect(draft.read(cookie, "c")).toBe("");
  expect(draft.read(cookie)).toBe("");
});
