import { execFile } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { onPath } from "./processes.ts";
import type { Service } from "./service.ts";

interface Runtime {
  readonly name: "bun" | "deno" | "workerd";
  readonly version: string;
  readonly program: string;
}

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const CACHE = here("../../node_modules/.cache/coatcheck");
const runtimes: readonly Runtime[] = JSON.parse(readFileSync(here("../../scripts/runtimes.json"), "utf8"));

/**
 * Other runtimes than Node, for `coatcheck/hono`. They are no servers: the URL is the path of the program, and each test
 * starts one of its own.
 */
export const javascriptRuntimes: readonly Service[] = runtimes.map(({ name, version, program }) => ({
  name,
  title: { bun: "Bun", deno: "Deno", workerd: "workerd" }[name],
  variable: `${name.toUpperCase()}_PATH`,
  async version(path) {
    const { stdout } = await promisify(execFile)(path, ["--version"]);
    return /[\d.-]+\d/.exec(stdout)?.[0] ?? "unknown";
  },
  async start() {
    const fetched = join(CACHE, `${name}-${version}`, program);
    return { url: existsSync(fetched) ? fetched : found(name), stop: async () => {} };
  },
}));

function found(name: string): string {
  try {
    return onPath(name);
  } catch (error) {
    throw new Error(`${(error as Error).message}, nor brought by scripts/ensure-runtimes.mjs`);
  }
}
