import { oneOf, preferences } from "coatcheck/browser";
import { expect, it } from "vitest";
import { describeWithService } from "../services/services.ts";
import { serve, until, useBrowser } from "./support.ts";

const clock = { now: () => 1000, schedule: () => () => {} };
const definition = {
  theme: { initial: "auto", schema: oneOf("auto", "light", "dark") },
  language: { initial: "en", schema: oneOf("en", "de") },
} as const;
const prefs = preferences(definition, { clock });

it("of each preference the newest choice wins, wherever it was made; of two equally old ones, the server's", () => {
  const server = { theme: ["dark", 500], language: ["en", 500] };
  expect(prefs.merge(server, { theme: ["light", 600], language: ["de", 400] })).toEqual({
    theme: ["light", 600],
    language: ["en", 500],
  });
  expect(prefs.merge(server, { theme: ["light", 500] })).toEqual(server);
  expect(prefs.merge({}, { language: ["de", 1] })).toEqual({ language: ["de", 1] });
});

it("what a browser sends is hostile: unknown names, wrong values and times from the future do not get in", () => {
  const server = { theme: ["dark", 1000] };
  expect(prefs.merge(server, { theme: ["light", 9e15] })).toEqual(server);
  const hostile = [null, "x", 5, [], { theme: "dark" }, { theme: ["red", 999] }, { theme: ["dark", -1] }];
  const worse = [
    { theme: ["dark", "x"] },
    { theme: ["dark"] },
    { admin: [true, 1] },
    JSON.parse('{"__proto__":{"theme":["light",1]}}'),
  ];
  for (const sent of [...hostile, ...worse]) expect(prefs.merge({}, sent)).toEqual({});
  expect(prefs.values({ theme: ["red", 1] })).toEqual({ theme: "auto", language: "en" });
});

describeWithService("chromium", async ({ url: program }) => {
  const browser = useBrowser(program);
  let kept: unknown = {};
  let loggedIn = false;
  // A browser keeps no cookie whose time is over.
  const today = Date.now();
  const prefs = preferences(definition, { clock: { ...clock, now: () => today + 1000 } });
  const { url } = await serve(async (request, response) => {
    if (request.url !== "/sync") return false;
    let text = "";
    for await (const chunk of request.setEncoding("utf8")) text += chunk;
    if (loggedIn) kept = prefs.merge(kept, JSON.parse(text));
    response.writeHead(loggedIn ? 200 : 401, { "Content-Type": "application/json" });
    response.end(JSON.stringify(loggedIn ? kept : {}));
    return true;
  });

  const define = (now: number) => {
    const { oneOf, preferences } = window.coatcheck;
    const schedule = (callback: () => void, delay: number) => {
      setTimeout(callback, delay);
      return () => {};
    };
    window.kept = preferences(
      {
        theme: { initial: "auto", schema: oneOf("auto", "light", "dark") },
        language: { initial: "en", schema: oneOf("en", "de") },
      },
      {
        clock: { now: () => now, schedule },
        async exchange(mine) {
          const response = await fetch("/sync", { method: "POST", body: JSON.stringify(mine) });
          return response.ok ? response.json() : undefined;
        },
      },
    );
  };

  it("they are the browser's for a visitor, the user's after the login, and on the next device; the cookie keeps step", async () => {
    const [one, other] = await browser.tabs(2, url);
    await one?.evaluate(define, today + 100);
    await other?.evaluate(define, today + 100);
    await one?.evaluate(() => window.kept.set({ theme: "dark" }));
    await until(other as never, () => window.kept.get().theme === "dark");
    const same = await one?.evaluate(() => window.kept.getSnapshot() === window.kept.get());
    expect([kept, same]).toEqual([{}, true]);
    loggedIn = true;
    await one?.evaluate(() => {
      window.coatcheck.setStateUser("7");
      return window.kept.sync();
    });
    expect(kept).toEqual({ theme: ["dark", today + 100] });

    const [next] = await browser.tabs(1, url);
    await next?.evaluate(define, today + 200);
    await next?.evaluate(() => {
      window.coatcheck.setStateUser("7");
      return window.kept.set({ language: "de" });
    });
    expect(await next?.evaluate(() => window.kept.get())).toEqual({ theme: "dark", language: "de" });
    const cookies = async (page: typeof one) =>
      ((await page?.context().cookies()) ?? []).map(({ name, value }) => `${name}=${value}`).join("; ");
    expect(prefs.read(await cookies(next), "7")).toEqual({ theme: "dark", language: "de" });
    await one?.evaluate(() => window.kept.sync());
    expect(prefs.read(await cookies(one), "7")).toEqual({ theme: "dark", language: "de" });
    expect(prefs.read(await cookies(one), "8")).toEqual({ theme: "auto", language: "en" });
  });
});
