import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";
import { beforeAll, expect, it } from "vitest";
import { freePorts, ownServer, temporaryFolder } from "../services/processes.ts";
import { describeWithService } from "../services/services.ts";
import { times } from "../session/support.ts";
import { Client, goesShopping } from "./visitor.ts";

const example = (name: string) => fileURLToPath(new URL(`../../examples/hono/${name}`, import.meta.url));

interface Start {
  readonly program: string;
  readonly port: number;
  readonly folder: string;
}
type Command = { readonly args: readonly string[]; readonly env?: Readonly<Record<string, string>> };

/** How the example is started. What it imports is the built library, as `npm test` has built it. */
const bun = ({ port }: Start): Command => ({ args: ["run", example("bun.ts")], env: { PORT: String(port) } });

const deno = ({ port, folder }: Start): Command => ({
  args: [
    "serve",
    "--no-remote",
    "--node-modules-dir=manual",
    "--allow-env",
    "--host=127.0.0.1",
    `--port=${port}`,
    example("deno.ts"),
  ],
  env: { DENO_DIR: folder, DENO_NO_UPDATE_CHECK: "1" },
});

async function workerd({ port, folder }: Start): Promise<Command> {
  const bundle = await rolldown({ input: example("worker.ts"), platform: "browser", external: [/^node:/] });
  const { output } = await bundle.write({ file: join(folder, "worker.js"), format: "esm" });
  await bundle.close();
  // Nothing of Node's, so that it runs without a compatibility flag.
  expect(output[0].imports).toEqual([]);
  const key = randomBytes(32).toString("base64url");
  writeFileSync(
    join(folder, "config.capnp"),
    `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "shop", worker = .shop)],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "shop")],
);
const shop :Workerd.Worker = (
  modules = [(name = "worker", esModule = embed "worker.js")],
  bindings = [(name = "SEAL_KEY", text = "${key}")],
  compatibilityDate = "2026-11-01",
);
`,
  );
  return { args: ["serve", join(folder, "config.capnp")] };
}

for (const [name, start, copiesDie] of [
  ["bun", bun, true],
  ["deno", deno, true],
  ["workerd", workerd, false],
] as const)
  describeWithService(name, ({ url: program }) => {
    let base: string;
    beforeAll(async () => {
      const [port = 0] = await freePorts(1);
      const folder = temporaryFolder();
      base = `http://localhost:${port}`;
      const { args, env = {} } = await start({ program, port, folder });
      const ready = () => fetch(`${base}/cart`);
      const server = await ownServer({ url: base, command: program, args, env, folder, ready });
      return () => server.stop();
    });

    it("goes from a cart over login to logout", async () => {
      await goesShopping(new Client(base), "cookie", { copiesDie });
    });

    it("CS-01: answers a page of another site 403", async () => {
      const headers = { "Sec-Fetch-Site": "cross-site", "Content-Type": "application/json" };
      const response = await fetch(`${base}/login`, { method: "POST", headers, body: '{"user":"eve"}' });
      expect(response.status).toBe(403);
      expect(response.headers.getSetCookie()).toEqual([]);
    });

    it("anything but a token of ours is an anonymous visitor", async () => {
      for (const cookie of [
        "sid=x",
        `sid=${"A".repeat(22)}.${"A".repeat(43)}`,
        `sid=AQ${"A".repeat(200)}`,
        "sid=a; sid=b",
      ]) {
        const response = await fetch(`${base}/cart`, { headers: { cookie } });
        expect([response.status, await response.json()]).toEqual([200, { cart: [] }]);
      }
    });

    if (copiesDie)
      it("RN-07: 50 parallel additions by plain assignment are all kept", async () => {
        const client = new Client(base);
        await client.call("POST", "/cart", { item: "0" });
        const tabs = times(50, () => Object.assign(new Client(base), { cookie: client.cookie }));
        await Promise.all(tabs.map((tab, i) => tab.call("POST", "/cart", { item: String(i) })));
        expect(await client.cart()).toEqual({ cart: expect.objectContaining({ length: 51 }) });
      });
  });
