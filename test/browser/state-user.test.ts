import { expect, it } from "vitest";
import { describeWithService } from "../services/services.ts";
import { serve, until, useBrowser } from "./support.ts";

/** In a page: a state of each kind, all drafts, and a shared theme. */
function makeStates(): void {
  const { localState, tabState, cookieState } = window.coatcheck;
  const isText = (value: unknown): value is string => typeof value === "string";
  const options = { initial: "", schema: isText };
  const states = {
    local: localState("draft", options),
    tab: tabState("draft", options),
    cookie: cookieState("draft", options),
    theme: localState("theme", { ...options, shared: true }),
  };
  const read = () => Object.values(states).map((state) => state.get());
  window.kept = { states, read, write: (text: string) => Object.values(states).map((state) => state.set(text)) };
}

/** In a page: all that is stored. */
const dump = () => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie]);

describeWithService("chromium", async ({ url: program }) => {
  const browser = useBrowser(program);
  const { url } = await serve();

  it("ST-05: state is one user's own: a visitor's becomes the user's at login, and no other user sees it", async () => {
    const [one, two] = await browser.tabs(2, url);
    for (const page of [one, two]) await page?.evaluate(makeStates);
    await one?.evaluate(() => window.kept.write("mine"));
    await two?.evaluate(() => window.kept.states.tab.set("mine, in two"));

    await one?.evaluate(() => window.coatcheck.setStateUser("ada|@%"));
    expect(await one?.evaluate(() => window.kept.read())).toEqual(["mine", "mine", "mine", "mine"]);
    await until(two as never, () => window.kept.read().join() === "mine,mine, in two,mine,mine");

    // Expired: out of sight, and back again for the same user.
    await one?.evaluate(() => window.coatcheck.setStateUser(undefined));
    expect(await one?.evaluate(() => window.kept.read())).toEqual(["", "", "", "mine"]);
    await until(two as never, () => window.kept.read().join() === ",,,mine");
    await one?.evaluate(() => window.coatcheck.setStateUser("ada|@%"));
    await until(two as never, () => window.kept.read().join() === "mine,mine, in two,mine,mine");

    // What the user has already is not replaced by what a visitor typed.
    await one?.evaluate(() => {
      window.coatcheck.setStateUser(undefined);
      window.kept.states.local.set("a visitor's");
      window.coatcheck.setStateUser("ada|@%");
    });
    expect(await one?.evaluate(() => window.kept.states.local.get())).toBe("mine");

    await one?.evaluate(() => window.coatcheck.setStateUser("grace"));
    expect(await one?.evaluate(() => window.kept.read())).toEqual(["", "", "", "mine"]);
    await until(two as never, () => window.kept.read().join() === ",,,mine");
    for (const page of [one, two]) expect(await page?.evaluate(dump)).not.toContain("ada");
  });

  it("ST-04: wiping empties all storages of all tabs, also while the network is gone and in a tab that sleeps", async () => {
    const [one, two, three] = await browser.tabs(3, url);
    for (const page of [one, two, three]) {
      await page?.evaluate(makeStates);
      await page?.evaluate(() => window.kept.write("private"));
    }
    await one?.evaluate(() => window.coatcheck.setStateUser("ada"));
    await until(three as never, () => window.kept.states.tab.get() === "private");
    // The third tab goes elsewhere, so that it hears nothing.
    await three?.goto("about:blank");
    await one?.context().setOffline(true);
    await one?.evaluate(() => window.coatcheck.wipeState());
    const left =
      /^\[\{("coatcheck":"\d+\|",?|"coatcheck\|@\|theme":"[^"]*\\"private\\"",?)+\},\{"coatcheck":"\d+"\},""\]$/;
    expect(await one?.evaluate(dump)).toMatch(left);
    await until(two as never, () => sessionStorage.length === 1);
    expect(await two?.evaluate(dump)).toMatch(left);
    await one?.context().setOffline(false);
    await three?.goBack();
    await three?.waitForFunction(() => window.coatcheck !== undefined);
    await three?.evaluate(makeStates);
    expect(await three?.evaluate(dump)).toMatch(left);
  });

  it("a cookie of others whose name cannot be decoded keeps nothing from being wiped", async () => {
    const [page] = await browser.tabs(1, url);
    await page?.evaluate(makeStates);
    await page?.evaluate(() => {
      // biome-ignore lint/suspicious/noDocumentCookie: as any script may
      document.cookie = "%E0=other";
      window.coatcheck.setStateUser("ada");
      window.kept.write("private");
      window.coatcheck.wipeState();
    });
    expect(await page?.evaluate(() => document.cookie)).toBe("%E0=other");
  });

  it("at a login, storage without room for a copy takes a visitor's entry along, and what others left is removed", async () => {
    const [page] = await browser.tabs(1, url);
    await page?.evaluate(makeStates);
    const left = await page?.evaluate(() => {
      const { local } = window.kept.states;
      window.coatcheck.setStateUser("ada");
      local.set("ada's");
      window.coatcheck.setStateUser(undefined);
      local.set("x".repeat(4_000_000));
      window.coatcheck.setStateUser("grace");
      return [local.get().length, Object.keys(localStorage).sort()];
    });
    expect(left).toEqual([4_000_000, ["coatcheck", "coatcheck|grace|draft"]]);
  });

  it("what a tab writes for a user while the news of the logout are on their way does not stay", async () => {
    const [one, two] = await browser.tabs(2, url);
    for (const page of [one, two]) await page?.evaluate(makeStates);
    await two?.evaluate(() => {
      window.coatcheck.createClient();
    });
    await one?.evaluate(() => window.coatcheck.setStateUser("ada"));
    await until(two as never, () => localStorage.getItem("coatcheck") === "|ada");
    // The second tab is busy until the wipe is done, and writes before it can hear of it.
    const writing = two?.evaluate(() => {
      while (!document.cookie.includes("wiped")) {}
      window.kept.states.local.set("late");
      window.kept.states.tab.set("late");
    });
    await one?.evaluate(() => {
      window.coatcheck.wipeState();
      // biome-ignore lint/suspicious/noDocumentCookie: cookies alone are up to date in all processes at once
      document.cookie = "wiped=1";
    });
    await writing;
    for (const page of [one, two])
      await until(page as never, () => !JSON.stringify([{ ...localStorage }, { ...sessionStorage }]).includes("ada"));
  });
});
