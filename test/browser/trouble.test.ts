import { expect, it } from "vitest";
import { describeWithService } from "../services/services.ts";
import { serve, until, useBrowser } from "./support.ts";

describeWithService("chromium", async ({ url: program }) => {
  const browser = useBrowser(program);
  const { url } = await serve();

  it("ST-05: storage and cookies that are refused degrade to memory, with an event and without an exception", async () => {
    const [page] = await browser.tabs(1, url);
    const seen = await page?.evaluate(async () => {
      const refuse = () => {
        throw new DOMException("no", "SecurityError");
      };
      Object.defineProperty(window, "localStorage", { get: refuse });
      Object.defineProperty(window, "sessionStorage", { get: refuse });
      Object.defineProperty(document, "cookie", { get: () => "", set: () => {} });
      const { localState, tabState, cookieState, onTrouble, setStateUser } = window.coatcheck;
      const troubles: string[] = [];
      onTrouble(({ key, reason, error }) => troubles.push(`${key} ${reason} ${(error as Error).name}`));
      const isText = (value: unknown): value is string => typeof value === "string";
      const options = { initial: "", schema: isText };
      const states = [localState("l", options), tabState("t", options), cookieState("c", options)];
      let calls = 0;
      for (const state of states) state.subscribe(() => calls++);
      for (const state of states) state.set("kept");
      await states[0]?.update((text) => `${text}!`);
      const kept = states.map((state) => state.get());
      // Not even then is it another user's.
      setStateUser("7");
      const after = states.map((state) => state.get());
      return { kept, after, calls: calls >= 4, troubles };
    });
    expect(seen).toEqual({
      kept: ["kept!", "kept", "kept"],
      after: ["", "", ""],
      calls: true,
      troubles: [
        "l refused SecurityError",
        "t refused SecurityError",
        "c refused TypeError",
        "l refused SecurityError",
      ],
    });
  });

  it("ST-05: when the quota is exceeded, what has expired is cleared first; after that, memory does", async () => {
    const [page] = await browser.tabs(1, url);
    const seen = await page?.evaluate(() => {
      const { localState, onTrouble } = window.coatcheck;
      const troubles: string[] = [];
      onTrouble(({ key, reason, error }) => troubles.push(`${key} ${reason} ${(error as Error).name}`));
      let now = 1_000_000;
      const clock = { now: () => now, schedule: () => () => {} };
      const isText = (value: unknown): value is string => typeof value === "string";
      const options = { initial: "", schema: isText, clock };
      const big = "x".repeat(3_000_000);
      localState("old", { ...options, ttl: 1000 }).set(big);
      now += 1000;
      const fits = localState("new", options);
      fits.set(big);
      const cleared = [Object.keys(localStorage), [...troubles]];
      const more = localState("more", options);
      more.set(big);
      const kept = more.get().length;
      more.set("short");
      return { cleared, kept, troubles, stored: Object.keys(localStorage).length, short: more.get() };
    });
    expect(seen).toEqual({
      cleared: [["coatcheck||new"], []],
      kept: 3_000_000,
      troubles: ["more refused QuotaExceededError"],
      stored: 2,
      short: "short",
    });
  });

  it("ST-05: whatever is stored, the initial value is read instead of what is no value", async () => {
    const [page] = await browser.tabs(1, url);
    const seen = await page?.evaluate(() => {
      const { localState, onTrouble } = window.coatcheck;
      const reasons: string[] = [];
      onTrouble(({ reason }) => reasons.push(reason));
      type Draft = { name: string };
      // A Standard Schema as Valibot and Zod make them.
      const schema = {
        "~standard": {
          version: 1 as const,
          vendor: "test",
          validate: (value: unknown) =>
            typeof (value as Draft | null)?.name === "string"
              ? { value: { name: (value as Draft).name } }
              : { issues: [{ message: "no" }] },
        },
      };
      const draft = localState<Draft>("draft", { initial: { name: "" }, schema });
      const texts = ["", "{", "null", "garbage", "0;0;0;", "x;y;z;1", '0;Infinity;1;{"name":5}', "0;Infinity;1;{"];
      const read = texts.map((text) => {
        localStorage.setItem("coatcheck||draft", text);
        return draft.get().name;
      });
      const polluting =
        '0;Infinity;1;{"name":"a","__proto__":{"admin":true},"constructor":{"prototype":{"admin":true}}}';
      localStorage.setItem("coatcheck||draft", polluting);
      const { name } = draft.get();
      const polluted = ({} as { admin?: boolean }).admin ?? (draft.get() as { admin?: boolean }).admin;
      // Without a time that makes sense there is no expiry to trust.
      localStorage.setItem("coatcheck||draft", '0;NaN;NaN;{"name":"b"}');
      const timeless = draft.get().name;
      draft.set({ name: "fine" });
      const later = {
        ...schema,
        "~standard": { ...schema["~standard"], validate: async () => ({ value: { name: "" } }) },
      };
      const asynchronous = localState<Draft>("draft", { initial: { name: "initial" }, schema: later as never }).get()
        .name;
      return { read, name, polluted, timeless, fine: draft.get().name, asynchronous, reasons: new Set(reasons).size };
    });
    expect(seen).toEqual({
      read: Array(8).fill(""),
      name: "a",
      polluted: undefined,
      timeless: "",
      fine: "fine",
      asynchronous: "initial",
      reasons: 1,
    });
  });

  it("ST-01: what looks like a token or a password is not written, whatever it is called", async () => {
    const [page] = await browser.tabs(1, url);
    const seen = await page?.evaluate(() => {
      const { localState, tabState, cookieState, onTrouble } = window.coatcheck;
      const reasons: string[] = [];
      onTrouble(({ key, reason }) => reasons.push(`${key} ${reason}`));
      const isAny = (value: unknown): value is unknown => value !== undefined;
      const options = { initial: null as unknown, schema: isAny };
      const id = "a".repeat(22);
      localState("jwtlike", options).set("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln");
      tabState("session", options).set({ list: [`${id}.${"b".repeat(43)}`] });
      cookieState("named", options).set({ accessToken: "short" });
      localState("password" as "x", options).set("hunter2");
      const fine = localState("fine", options);
      fine.set({ tokens: 3, text: 'he said "token": never', version: "1.2.3" });
      return [reasons, Object.keys(localStorage), JSON.stringify(sessionStorage), document.cookie, fine.get() !== null];
    });
    expect(seen).toEqual([
      ["jwtlike secret", "session secret", "named secret", "password secret"],
      ["coatcheck||fine"],
      JSON.stringify({ coatcheck: "" }),
      "",
      true,
    ]);
  });

  it("another tab's value is later than the one that could not be stored here", async () => {
    const [one, two] = await browser.tabs(2, url);
    for (const page of [one, two])
      await page?.evaluate(() => {
        const isText = (value: unknown): value is string => typeof value === "string";
        window.kept = window.coatcheck.localState<string>("s", { initial: "", schema: isText });
      });
    await one?.evaluate(() => window.kept.set("x".repeat(6_000_000)));
    await two?.evaluate(() => window.kept.set("short"));
    await until(one as never, () => window.kept.get() === "short");
  });
});
