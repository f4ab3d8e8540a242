import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const manifest = JSON.parse(readFileSync(here("./package.json"), "utf8"));

// Tests import "coatcheck/…" as a user does and get the source, by the same map that the package publishes.
const alias = Object.entries<string | { default: string }>(manifest.exports).flatMap(([subpath, target]) => {
  if (typeof target === "string") return [];
  const name = subpath.replace(/^\./, manifest.name);
  const source = target.default.replace(/^\.\/dist\//, "./src/").replace(/\.js$/, ".ts");
  return [{ find: new RegExp(`^${name}$`), replacement: here(source) }];
});

export default defineConfig({
  resolve: { alias },
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: ["test/services/global-setup.ts"],
    maxWorkers: 2,
    // Generous, for machines with other work: what hangs is found all the same.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    reporters: ["default"],
  },
});
