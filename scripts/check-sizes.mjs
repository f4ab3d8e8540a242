// Each import of coatcheck/browser alone, bundled, minified and gzipped: fails when one is larger than what is written here,
// or brings along what it does not need.
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { rolldown } from "rolldown";

const entry = fileURLToPath(new URL("../dist/browser/index.js", import.meta.url));
if (!existsSync(entry)) {
  console.error("check:sizes: dist is missing: run `npm run build` first");
  process.exit(1);
}

/** Most bytes of each import, and texts of other parts that must not be in it. */
const limits = {
  localState: { most: 1500, without: ["sessionStorage", "BroadcastChannel", "SameSite", "fetch", "Authorization"] },
  tabState: { most: 1800, without: ["BroadcastChannel", "SameSite", "fetch", "Authorization"] },
  cookieState: { most: 2000, without: ["sessionStorage", "fetch", "Authorization"] },
  oneOf: { most: 150, without: ["localStorage", "SameSite", "fetch"] },
  onTrouble: { most: 150, without: ["localStorage", "SameSite", "fetch"] },
  setStateUser: { most: 1000, without: ["getSnapshot", "fetch", "Authorization"] },
  wipeState: { most: 1000, without: ["getSnapshot", "fetch", "Authorization"] },
  preferences: { most: 2450, without: ["sessionStorage", "Authorization", "X-CSRF-Token"] },
  createClient: { most: 3800, without: ["eyJ", "no fit"] },
};
const everything = 6000;

const names = Object.keys(await import(entry)).sort();
const problems = names.filter((name) => !limits[name]).map((name) => `${name} has no limit in scripts/check-sizes.mjs`);
for (const [name, { most, without }] of Object.entries(limits)) {
  const code = await bundle([name]);
  judge(name, code, most);
  for (const text of without) if (code.includes(text)) problems.push(`${name} brings along ${text}`);
}
judge("everything", await bundle(names), everything);

if (problems.length > 0) {
  for (const problem of problems) console.error(`check:sizes: ${problem}`);
  process.exit(1);
}
console.log("check:sizes: ok");

function judge(name, code, most) {
  const size = gzipSync(code, { level: 9 }).length;
  console.log(`${name.padEnd(14)} ${String(size).padStart(5)} of ${most} bytes`);
  if (size > most) problems.push(`${name} is ${size} bytes, more than ${most}`);
}

async function bundle(imports) {
  const build = await rolldown({
    input: "app",
    plugins: [
      {
        name: "app",
        resolveId: (id) => (id === "app" ? id : undefined),
        load: (id) => (id === "app" ? `export { ${imports} } from ${JSON.stringify(entry)};` : undefined),
      },
    ],
  });
  const { output } = await build.generate({ format: "esm", minify: true, comments: false });
  return output[0].code;
}
