import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const root = resolve(import.meta.dirname, "../..");

/** The first example of the README, pasted by a newcomer into a folder of their own. */
describe("the README's example", () => {
  let folder: string;
  let server: ChildProcess;
  let base: string;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "coatcheck-readme-"));
    const [, code = ""] = /```js\n([\s\S]*?)```/.exec(readFileSync(join(root, "README.md"), "utf8")) ?? [];
    writeFileSync(join(folder, "app.mjs"), code);
    mkdirSync(join(folder, "node_modules"));
    symlinkSync(root, join(folder, "node_modules/coatcheck"));
    for (const name of ["express"]) symlinkSync(join(root, "node_modules", name), join(folder, "node_modules", name));
    const port = await freePort();
    base = `http://localhost:${port}`;
    server = spawn(process.execPath, ["app.mjs"], { cwd: folder, env: { PATH: process.env.PATH, PORT: String(port) } });
    server.stderr?.pipe(process.stderr);
    await reachable(port);
  });

  afterAll(async () => {
    if (server.exitCode === null) {
      const exited = once(server, "exit");
      server.kill();
      await exited;
    }
    rmSync(folder, { recursive: true });
  });

  it("keeps 100 of 100 parallel additions, and the cart through login, until logout", async () => {
    const add = (cookie: string, productId: string) =>
      fetch(`${base}/cart/add`, {
        method: "POST",
        headers: { cookie, "content-type": "application/json" },
        body: JSON.stringify({ productId }),
      });
    const cookieOf = (response: Response) => response.headers.getSetCookie()[0]?.split(";")[0] ?? "";
    const cookie = cookieOf(await add("", "hat"));
    const answers = await Promise.all(Array.from({ length: 99 }, (_, i) => add(cookie, `hat ${i}`)));
    expect(answers.every((answer) => answer.ok)).toBe(true);
    const login = await fetch(`${base}/login`, { method: "POST", headers: { cookie }, redirect: "manual" });
    const signedIn = cookieOf(login);
    const cart = async (withCookie: string) =>
      (await (await fetch(`${base}/cart`, { headers: { cookie: withCookie } })).json()) as {
        user?: string;
        cart: string[];
      };
    expect(await cart(signedIn)).toMatchObject({ user: "user-1" });
    expect((await cart(signedIn)).cart).toHaveLength(100);
    expect((await cart(cookie)).cart).toHaveLength(0);
    await fetch(`${base}/logout`, { method: "POST", headers: { cookie: signedIn } });
    expect((await cart(signedIn)).cart).toHaveLength(0);
  });
});

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address() as { port: number };
  probe.close();
  await once(probe, "close");
  return port;
}

async function reachable(port: number): Promise<void> {
  const deadline = Date.now() + 15_000;
  for (;;) {
    try {
      await fetch(`http://localhost:${port}/cart`);
      return;
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await new Promise((retry) => setTimeout(retry, 50));
    }
  }
}
