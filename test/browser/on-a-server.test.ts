import { spawnSync } from "node:child_process";
import { createClient, localState, oneOf, preferences, setStateUser, tabState, wipeState } from "coatcheck/browser";
import { expect, expectTypeOf, it } from "vitest";

const isText = (value: unknown): value is string => typeof value === "string";

it("on a server every state is its initial value, and setting it keeps nothing that another request could see", async () => {
  const states = [localState, tabState].map((make) => make<string>("x", { initial: "initial", schema: isText }));
  for (const state of states) {
    state.set("one visitor's");
    await state.update(() => "one visitor's");
    const stop = state.subscribe(() => {});
    expect([state.get(), state.getSnapshot(), state.getServerSnapshot()]).toEqual(["initial", "initial", "initial"]);
    stop();
    state.remove();
    state[Symbol.dispose]();
  }
  setStateUser("7");
  wipeState();
  const client = createClient();
  expect(client.session.get()).toEqual({ status: "unknown" });
  client[Symbol.dispose]();
});

it("importing it and defining states keeps no process alive", () => {
  const code = `import { preferences, createClient, cookieState, oneOf } from "./src/browser/index.ts";
    cookieState("t", { initial: "a", schema: oneOf("a") }); preferences({}); createClient({ baseUrl: "http://localhost" });`;
  const built = code.replace("./src/browser/index.ts", "coatcheck/browser");
  const { status, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", built], {
    encoding: "utf8",
    timeout: 15_000,
  });
  expect([status, stderr]).toEqual([0, ""]);
});

it("ST-01: the types refuse secrets, by name and by kind", () => {
  const schema = (value: unknown): value is never => value !== undefined;
  const some = { initial: {} as never, schema };
  // @ts-expect-error a key that is named as a secret
  localState<{ accessToken: string }>("a", some);
  // @ts-expect-error the same, deep inside
  localState<{ user: { name: string; password?: string }[] }>("a", some);
  // @ts-expect-error a type that is a secret
  tabState<import("coatcheck").SessionSecret>("a", some);
  // @ts-expect-error a name that is a secret
  localState("refreshToken", { initial: "", schema: isText });
  localState<{ tokens: number; nested: { date: Date; list: string[] } }>("fine", some);
  type Tree = { children: Tree[]; name: string };
  localState<Tree>("tree", some);
  expectTypeOf(localState("t", { initial: "a", schema: oneOf("a", "b") }).get()).toEqualTypeOf<"a" | "b">();
  expectTypeOf(preferences({ theme: { initial: "auto", schema: oneOf("auto", "dark") } }).get()).toEqualTypeOf<{
    theme: "auto" | "dark";
  }>();
});
