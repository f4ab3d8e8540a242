// Brings Bun, Deno and workerd, which the tests of `coatcheck/hono` use where they find them: 140 MB, of which nothing is
// installed. Each is a program in a package of npm, checked against the hash that is written here.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const cache = fileURLToPath(new URL("../node_modules/.cache/coatcheck", import.meta.url));
const runtimes = JSON.parse(readFileSync(new URL("./runtimes.json", import.meta.url), "utf8"));

if (process.platform !== "linux" || process.arch !== "x64") {
  console.error("ensure-runtimes: only for Linux on x64. Elsewhere put bun, deno and workerd on the PATH.");
  process.exit(1);
}
for (const { name, package: from, version, integrity } of runtimes) {
  const target = join(cache, `${name}-${version}`);
  if (existsSync(target)) continue;
  const fetching = `${target}.fetching`;
  rmSync(fetching, { recursive: true, force: true });
  mkdirSync(fetching, { recursive: true });
  const packed = execFileSync("npm", ["pack", "--silent", `${from}@${version}`], { cwd: fetching, encoding: "utf8" });
  const file = join(fetching, packed.trim());
  const hash = `sha512-${createHash("sha512").update(readFileSync(file)).digest("base64")}`;
  if (hash !== integrity) throw new Error(`ensure-runtimes: ${from}@${version} is not what is expected`);
  execFileSync("tar", ["-xzf", file, "--strip-components=1", "-C", fetching]);
  rmSync(file);
  renameSync(fetching, target);
  console.log(`ensure-runtimes: fetched ${from}@${version}`);
}
