import { expect, it } from "vitest";
import { describeWithService } from "../services/services.ts";
import { serve, until, useBrowser } from "./support.ts";

describeWithService("chromium", async ({ url: program }) => {
  const browser = useBrowser(program);
  const { url, port } = await serve();

  it("keeps a typed value across reloads, and gives the initial one until there is one", async () => {
    const [page] = await browser.tabs(1, url);
    const seen = await page?.evaluate(() => {
      const { localState, oneOf } = window.coatcheck;
      const theme = localState("theme", { initial: "auto", schema: oneOf("auto", "dark") });
      const before = theme.get();
      theme.set("dark");
      return [before, theme.get(), Object.entries(localStorage)];
    });
    expect(seen).toEqual(["auto", "dark", [["coatcheck||theme", expect.stringMatching(/^0;Infinity;\d+;"dark"$/)]]]);
    await page?.reload();
    const after = await page?.evaluate(() => {
      const { localState, oneOf } = window.coatcheck;
      const theme = localState("theme", { initial: "auto", schema: oneOf("auto", "dark") });
      const kept = theme.get();
      theme.remove();
      return [kept, theme.get(), localStorage.length];
    });
    expect(after).toEqual(["dark", "auto", 0]);
  });

  it("gives the same object until the value changes, and tells subscribers of this tab and of others", async () => {
    const [one, two] = await browser.tabs(2, url);
    for (const page of [one, two])
      await page?.evaluate(() => {
        const isList = (value: unknown): value is string[] => Array.isArray(value);
        const state = window.coatcheck.localState<string[]>("list", { initial: [], schema: isList });
        window.kept = { state, calls: 0 };
        window.kept.stop = state.subscribe(() => window.kept.calls++);
      });
    const same = await one?.evaluate(() => {
      const { state } = window.kept;
      state.set(["a"]);
      const list = state.get();
      return [list[0], state.get() === list && state.getSnapshot() === list, window.kept.calls];
    });
    expect(same).toEqual(["a", true, 1]);
    await until(two as never, () => window.kept.calls === 1);
    expect(await two?.evaluate(() => window.kept.state.get())).toEqual(["a"]);
    // Neither the one that stopped nor the one that was disposed of hears more.
    await two?.evaluate(() => window.kept.stop());
    await one?.evaluate(() => window.kept.state[Symbol.dispose]());
    await one?.evaluate(() => window.kept.state.set(["b"]));
    await until(two as never, () => window.kept.state.get()[0] === "b");
    expect(await two?.evaluate(() => window.kept.calls)).toBe(1);
    expect(await one?.evaluate(() => window.kept.calls)).toBe(1);
  });

  const countInTabs = async (address: string, tabs: number, times: number) => {
    const pages = await browser.tabs(tabs, address);
    const locks = await pages[0]?.evaluate(() => navigator.locks !== undefined);
    await Promise.all(
      pages.map((page) =>
        page.evaluate(async (times) => {
          const isNumber = (value: unknown): value is number => typeof value === "number";
          const count = window.coatcheck.localState<number>("count", { initial: 0, schema: isNumber });
          window.kept = count;
          for (let i = 0; i < times; i++) await count.update((n) => n + 1);
        }, times),
      ),
    );
    for (const page of pages) await page.waitForFunction((all) => window.kept.get() === all, tabs * times);
    return locks;
  };

  it("update: three tabs that count at the same time lose nothing (Web Locks)", async () => {
    expect(await countInTabs(url, 3, 100)).toBe(true);
  });

  it("update: without Web Locks, on plain HTTP, a lease in localStorage does the same", async () => {
    expect(await countInTabs(`http://plain.test:${port}`, 3, 5)).toBe(false);
  });

  it("set: of two tabs, the later one wins", async () => {
    const [one, two] = await browser.tabs(2, url);
    const set = (value: number) => {
      const isNumber = (value: unknown): value is number => typeof value === "number";
      window.kept = window.coatcheck.localState<number>("n", { initial: 0, schema: isNumber });
      window.kept.set(value);
    };
    await one?.evaluate(set, 1);
    await two?.evaluate(set, 2);
    await until(one as never, () => window.kept.get() === 2);
    expect(await two?.evaluate(() => window.kept.get())).toBe(2);
  });

  it("a value is gone when its time to live is over", async () => {
    const [page] = await browser.tabs(1, url);
    const seen = await page?.evaluate(() => {
      let now = 1_000_000;
      const clock = { now: () => now, schedule: () => () => {} };
      const isText = (value: unknown): value is string => typeof value === "string";
      const state = window.coatcheck.localState<string>("t", { initial: "", schema: isText, ttl: 1000, clock });
      state.set("x");
      now += 999;
      const before = state.get();
      now += 1;
      return [before, state.get()];
    });
    expect(seen).toEqual(["x", ""]);
  });

  it("a value of an older version is migrated, one of a later version is left alone", async () => {
    const [page] = await browser.tabs(1, url);
    const seen = await page?.evaluate(() => {
      const { localState, onTrouble } = window.coatcheck;
      const troubles: string[] = [];
      onTrouble(({ key, reason }) => troubles.push(`${key} ${reason}`));
      type Name = { first: string; last: string };
      const isText = (value: unknown): value is string => typeof value === "string";
      const isName = (value: unknown): value is Name => typeof (value as Name | null)?.last === "string";
      const old = localState<string>("name", { initial: "", schema: isText });
      old.set("Ada Lovelace");
      const present = localState<Name>("name", {
        initial: { first: "", last: "" },
        schema: isName,
        version: 2,
        migrations: {
          0: (name: string) => name.split(" "),
          1: ([first, last]: [string, string]) => ({ first, last }),
        },
      });
      const migrated = present.get();
      present.set({ first: "Grace", last: "Hopper" });
      const text = localStorage.getItem("coatcheck||name");
      const shown = old.get();
      old.set("Someone else");
      return {
        migrated,
        shown,
        mine: old.get(),
        untouched: localStorage.getItem("coatcheck||name") === text,
        troubles,
      };
    });
    expect(seen).toEqual({
      migrated: { first: "Ada", last: "Lovelace" },
      shown: "",
      mine: "Someone else",
      untouched: true,
      troubles: ["name newer", "name newer"],
    });
  });

  it("takes another codec", async () => {
    const [page] = await browser.tabs(1, url);
    const seen = await page?.evaluate(() => {
      const codec = {
        stringify: (value: unknown) => (value as Date).toISOString(),
        parse: (text: string) => new Date(text),
      };
      const isDate = (value: unknown): value is Date => value instanceof Date && !Number.isNaN(value.getTime());
      const options = { initial: new Date(0), schema: isDate, codec };
      window.coatcheck.localState<Date>("d", options).set(new Date(5));
      return window.coatcheck.localState<Date>("d", options).get().getTime();
    });
    expect(seen).toBe(5);
  });
});
