// Checks the package as a user would get it: packs it, lints the tarball, installs it alone and imports every entry.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
const work = mkdtempSync(join(tmpdir(), "coatcheck-package-"));
const problems = [];

// Rules of attw that this package breaks on purpose: { "rule-name": "why" }. None so far.
const attwExceptions = {};

// Nothing else belongs in the tarball.
const allowedFiles = /^(dist\/.*\.(js|d\.ts)|package\.json|README\.md|LICENSE|CHANGELOG\.md)$/;

try {
  if (!existsSync(join(root, "dist"))) throw new Error("dist is missing: run `npm run build` first");
  const tarball = pack();
  lintTarball(tarball);
  checkSourceMap();
  importEveryEntry(tarball);
} catch (error) {
  problems.push(error.message);
} finally {
  rmSync(work, { recursive: true, force: true });
}

if (problems.length > 0) {
  for (const problem of problems) console.error(`check:package: ${problem}`);
  process.exit(1);
}
console.log("check:package: ok");

function run(command, args, cwd = root) {
  const result = spawnSync(command, args, { cwd, encoding: "utf8" });
  const output = `${result.stdout ?? ""}${result.stderr ?? ""}`.trim();
  return { ok: result.status === 0, stdout: result.stdout ?? "", output: output || String(result.error ?? "") };
}

function binary(name) {
  return join(root, "node_modules", ".bin", name);
}

/** Targets of one exports entry: the file itself, or the file of each condition. */
function targets(entry) {
  return typeof entry === "string" ? [entry] : Object.values(entry).flatMap(targets);
}

function pack() {
  const packed = run("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", work]);
  if (!packed.ok) throw new Error(`npm pack failed\n${packed.output}`);
  const parsed = JSON.parse(packed.stdout);
  const [report] = Array.isArray(parsed) ? parsed : Object.values(parsed);
  const files = new Set(report.files.map((file) => file.path));
  for (const file of files) if (!allowedFiles.test(file)) problems.push(`${file} does not belong in the tarball`);
  for (const [subpath, entry] of Object.entries(manifest.exports)) {
    for (const target of targets(entry)) {
      if (!files.has(target.replace(/^\.\//, ""))) {
        problems.push(`exports["${subpath}"] names ${target}, which is not in the tarball`);
      }
    }
  }
  console.log(`packed ${files.size} files, ${Math.round(report.size / 1024)} KiB`);
  return join(work, report.filename);
}

function lintTarball(tarball) {
  const publint = run(binary("publint"), ["run", tarball, "--strict"]);
  if (!publint.ok) problems.push(`publint --strict\n${publint.output}`);

  for (const [rule, why] of Object.entries(attwExceptions)) console.log(`attw: ${rule} is allowed: ${why}`);
  const rules = Object.keys(attwExceptions);
  const ignored = rules.length > 0 ? ["--ignore-rules", ...rules] : [];
  const attw = run(binary("attw"), [tarball, "--profile", "esm-only", "--format", "ascii", "--no-emoji", ...ignored]);
  if (!attw.ok) problems.push(`attw\n${attw.output}`);
}

/** tsconfig.json maps each entry to its source; that table must agree with the exports map. */
function checkSourceMap() {
  const { paths } = JSON.parse(readFileSync(join(root, "tsconfig.json"), "utf8")).compilerOptions;
  const expected = {};
  for (const [subpath, entry] of Object.entries(manifest.exports)) {
    if (typeof entry === "string") continue;
    const source = entry.default.replace(/^\.\/dist\//, "./src/").replace(/\.js$/, ".ts");
    expected[subpath.replace(/^\./, manifest.name)] = source;
  }
  for (const name of new Set([...Object.keys(expected), ...Object.keys(paths)])) {
    if (paths[name]?.[0] !== expected[name]) {
      problems.push(`tsconfig.json paths["${name}"] is ${paths[name]?.[0]}, the exports map says ${expected[name]}`);
    }
  }
}

function importEveryEntry(tarball) {
  const app = join(work, "app");
  mkdirSync(app);
  writeFileSync(join(app, "package.json"), '{ "name": "app", "private": true, "type": "module" }\n');
  const install = ["install", "--offline", "--ignore-scripts", "--no-audit", "--no-fund", "--no-save", tarball];
  const installed = run("npm", install, app);
  if (!installed.ok) throw new Error(`npm install of the tarball failed\n${installed.output}`);
  for (const [subpath, entry] of Object.entries(manifest.exports)) {
    const name = subpath.replace(/^\./, manifest.name);
    const attributes = targets(entry)[0].endsWith(".json") ? ', { with: { type: "json" } }' : "";
    const imported = run(process.execPath, ["--input-type=module", "-e", `await import("${name}"${attributes})`], app);
    if (!imported.ok) problems.push(`import("${name}") fails without dependencies\n${imported.output}`);
  }
}
