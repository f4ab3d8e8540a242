import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Page } from "playwright-core";
import { rolldown } from "rolldown";
import { compile } from "svelte/compiler";
import { expect, it } from "vitest";
import { describeWithService } from "../services/services.ts";
import { serve, until, useBrowser } from "./support.ts";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** The named blocks of docs/browser.md. */
const blocks = new Map(
  [...readFileSync(here("../../docs/browser.md"), "utf8").matchAll(/^```ts.*\n\/\/ file: (\S+)\n([\s\S]*?)^```/gm)].map(
    ([, name = "", code = ""]) => [name, code],
  ),
);

/** A component of each framework that shows what the block's function gives. `unmount` takes it away. */
const pages = {
  react: `
    import { createElement } from "react";
    import { hydrateRoot } from "react-dom/client";
    import { useView } from "./react.ts";
    const App = () => createElement("p", null, useView());
    const root = hydrateRoot(main, createElement(App), { onRecoverableError: (error) => console.error(error) });
    window.unmount = () => root.unmount();`,
  vue: `
    import { createSSRApp, h } from "vue";
    import { useView } from "./vue.ts";
    const app = createSSRApp({ setup() { const view = useView(); return () => h("p", view.value); } });
    app.mount(main);
    window.unmount = () => app.unmount();`,
  svelte: `
    import { mount, unmount } from "svelte";
    import App from "./App.svelte";
    main.replaceChildren();
    const app = mount(App, { target: main });
    window.unmount = () => unmount(app);`,
  solid: `
    import { createRenderEffect } from "solid-js";
    import { render } from "solid-js/web";
    import { useView } from "./solid.ts";
    main.replaceChildren();
    window.unmount = render(() => {
      const view = useView();
      const p = document.createElement("p");
      createRenderEffect(() => { p.textContent = view(); });
      return p;
    }, main);`,
};

const APP_SVELTE = `<script>import { viewStore } from "./svelte.ts";</script><p>{$viewStore}</p>`;

/** Counts who listens, and then does as the page of the framework. */
const page = (name: keyof typeof pages) => `
  import { view } from "./view.ts";
  const main = document.querySelector("main");
  window.view = view;
  window.listening = 0;
  const subscribe = view.subscribe;
  view.subscribe = (listener) => {
    const stop = subscribe(listener);
    window.listening++;
    return () => { window.listening--; stop(); };
  };
  ${pages[name].replace(/^\s*import .*$/gm, "")}`;

async function bundled(name: keyof typeof pages): Promise<string> {
  const imports = pages[name].match(/^\s*import .*$/gm) ?? [];
  // Absolute names beside the documents, so that packages are found from there.
  const file = (id: string) => here(`../../docs/${id}`);
  const code = new Map([...blocks].map(([id, text]) => [file(id), text]));
  code.set(file("page.ts"), imports.join("\n") + page(name));
  code.set(file("App.svelte"), compile(APP_SVELTE, { generate: "client" }).js.code);
  const build = await rolldown({
    input: file("page.ts"),
    platform: "browser",
    resolve: { alias: { "coatcheck/browser": here("../../src/browser/index.ts") } },
    transform: {
      define: {
        "process.env.NODE_ENV": JSON.stringify("production"),
        __VUE_OPTIONS_API__: "false",
        __VUE_PROD_DEVTOOLS__: "false",
        __VUE_PROD_HYDRATION_MISMATCH_DETAILS__: "true",
      },
    },
    plugins: [
      {
        name: "documents",
        resolveId: (id) => [file(id.replace(/^\.\//, "")), id].find((path) => code.has(path)) ?? null,
        load(id) {
          const text = code.get(id);
          return text === undefined ? null : { code: text, moduleType: id.endsWith(".ts") ? "ts" : "js" };
        },
      },
    ],
  });
  const { output } = await build.generate({ format: "esm" });
  await build.close();
  return output[0].code;
}

describeWithService("chromium", async ({ url: program }) => {
  const browser = useBrowser(program);
  const { url } = await serve(async (request, response) => {
    const name = /^\/(\w+)\/page\.js$/.exec(request.url ?? "")?.[1];
    if (name === undefined || !(name in pages)) {
      const framework = /^\/(\w+)\/$/.exec(request.url ?? "")?.[1];
      if (framework === undefined) return false;
      response.setHeader("Content-Type", "text/html");
      // As the server has rendered it.
      response.end(`<!doctype html><title>Test</title><main><p>grid</p></main>
        <script type="module" src="/${framework}/page.js"></script>`);
      return true;
    }
    response.setHeader("Content-Type", "text/javascript");
    response.end(await bundled(name as keyof typeof pages));
    return true;
  });

  const shows = (tab: Page, text: string) =>
    until(tab, `document.querySelector("p")?.textContent === "${text}"` as never);

  it.each(["react", "vue", "svelte", "solid"] as const)(
    "%s: a component follows the state, from its first render to its end",
    async (name) => {
      const profile = await browser.profile();
      const complaints: string[] = [];
      profile.on("console", (message) => {
        if (["error", "warning"].includes(message.type())) complaints.push(message.text());
      });
      const [one, two] = [await browser.tab(profile, `${url}/${name}/`), await browser.tab(profile, `${url}/${name}/`)];
      await shows(one, "grid");
      await one.evaluate("view.set('list')");
      await shows(one, "list");
      await shows(two, "list");
      await two.evaluate("view.set('grid')");
      await shows(one, "grid");

      // What is kept is not what the server has rendered.
      await one.evaluate("view.set('list')");
      await one.reload();
      await shows(one, "list");

      expect(await one.evaluate("listening")).toBe(1);
      await one.evaluate("unmount()");
      await until(one, "listening === 0" as never);
      await one.evaluate("view.set('grid')");
      expect(complaints).toEqual([]);
    },
  );
});
