// Checks that the documents are true: imports exist, code blocks compile (and run), links lead somewhere.
//
//   ```ts            type-checked
//   ```ts run        type-checked and run; must exit 0 within 20 s
//   ```ts dom        type-checked with the types of browsers, and without those of the libraries that it imports
//   ```ts fragment   not a whole program: only its coatcheck imports are checked
//   // file: cart.ts as the first line names a block, so that later blocks of the document can import "./cart.ts"
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const work = join(root, ".docs-check");
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
const languages = { ts: "ts", typescript: "ts", js: "js", javascript: "js", mjs: "js" };
const runLimit = 20_000;
const problems = [];
const problem = (where, message) => problems.push(`${where}: ${message}`);

if (!existsSync(join(root, "dist", "index.js"))) {
  console.error("check:docs: dist is missing: run `npm run build` first");
  process.exit(1);
}

const documents = [
  "README.md",
  "SECURITY.md",
  "CONTRIBUTING.md",
  ...walk("docs", /\.md$/),
  ...walk("examples", /\.md$/),
];
const sources = walk("examples", /\.(ts|tsx|js|mjs|cjs)$/);
const blocks = [];
const modules = new Map();

rmSync(work, { recursive: true, force: true });
try {
  for (const path of documents.filter((path) => existsSync(join(root, path)))) {
    const text = readFileSync(join(root, path), "utf8");
    checkMachinePaths(path, text);
    const { found, prose } = splitDocument(path, text);
    checkLinks(path, prose);
    for (const block of found) await checkImports(path, block.code, block.line);
    blocks.push(...found);
  }
  for (const path of sources) {
    const text = readFileSync(join(root, path), "utf8");
    checkMachinePaths(path, text);
    await checkImports(path, text, 1);
  }
  for (const block of blocks) extract(block);
  const compiled = compile("ts") && compile("dom") && compile("js");
  if (compiled) for (const block of blocks) if (block.flags.includes("run")) execute(block);
} finally {
  rmSync(work, { recursive: true, force: true });
}
report();

function walk(folder, pattern) {
  if (!existsSync(join(root, folder))) return [];
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && pattern.test(entry.name))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)).split(sep).join("/"))
    .filter((path) => !/(^|\/)(node_modules|dist)\//.test(path))
    .sort();
}

/** Takes the code blocks out of a document; the prose keeps its line numbers. */
function splitDocument(path, text) {
  const found = [];
  const prose = [];
  let open;
  text.split("\n").forEach((line, index) => {
    const fence = /^(\s*)(`{3,}|~{3,})\s*(.*)$/.exec(line);
    if (open === undefined && fence) {
      const [language = "", ...flags] = fence[3].trim().split(/\s+/);
      open = { path, indent: fence[1].length, fence: fence[2], language: languages[language], flags, lines: [] };
      open.line = index + 2;
    } else if (open !== undefined && fence && fence[3] === "" && fence[2].startsWith(open.fence)) {
      if (open.language !== undefined) found.push(finishBlock(open));
      open = undefined;
    } else if (open !== undefined) {
      open.lines.push(line.slice(Math.min(open.indent, line.length - line.trimStart().length)));
    }
    prose.push(open === undefined && !fence ? line.replace(/`[^`]*`/g, "") : "");
  });
  if (open !== undefined) problem(`${path}:${open.line - 1}`, "this code block is never closed");
  return { found, prose };
}

function finishBlock({ path, line, language, flags, lines }) {
  const where = `${path}:${line - 1}`;
  const unknown = flags.filter((flag) => !["run", "dom", "fragment"].includes(flag));
  if (unknown.length > 0) problem(where, `unknown mark "${unknown.join(" ")}" on a code block`);
  if (flags.length > 1) problem(where, "a code block takes one mark: run or fragment");
  const code = lines.join("\n");
  const name = /^\/\/ file: *(\S+)/.exec(code)?.[1];
  if (name !== undefined && !/^[\w-]+\.(ts|js|mjs|cjs)$/.test(name))
    problem(where, `"${name}" is not a plain file name`);
  return { path, line, where, language, flags, code, name };
}

/** Every import of coatcheck in the code, as { line, subpath, names, statement }. */
function coatcheckImports(code) {
  const pattern =
    /(?:^|\n)[ \t]*((?:import|export)\b[^;"'`]*?from\s*["'](coatcheck(?:\/[^"']*)?)["'])|(?:const|let|var)\s*(\{[^}]*\})\s*=\s*(?:await\s+import|require)\(\s*["'](coatcheck(?:\/[^"']*)?)["']|(?:\bimport\s*\(\s*|\brequire\(\s*|\bimport\s+)["'](coatcheck(?:\/[^"']*)?)["']/g;
  return [...code.matchAll(pattern)].map((match) => {
    const [text, statement, from, destructured, loaded, bare] = match;
    const braces = /\{([^}]*)\}/.exec(statement ?? destructured ?? "")?.[1] ?? "";
    const typeOnly = /^(import|export)\s+type\b/.test(statement ?? "");
    const names = braces
      .replace(/\/\/.*$/gm, "")
      .split(",")
      .map((name) => name.trim())
      .filter((name) => name !== "" && !typeOnly && !/^type\s/.test(name))
      .map((name) => name.split(/\s+as\s+|\s*[:=]/)[0].trim());
    if (/^import\s+(?!type\b)[\w$]+\s*(,|from)/.test(statement ?? "")) names.push("default");
    const line = code.slice(0, match.index + text.search(/\S/)).split("\n").length - 1;
    return { line, subpath: (from ?? loaded ?? bare).replace(/^coatcheck/, "."), names, statement };
  });
}

async function checkImports(path, code, firstLine) {
  for (const { line, subpath, names } of coatcheckImports(code)) {
    const where = `${path}:${firstLine + line}`;
    const name = subpath.replace(/^\./, "coatcheck");
    if (!Object.hasOwn(manifest.exports, subpath)) {
      problem(where, `"${name}" is not in the exports map of package.json`);
      continue;
    }
    const module = await load(name, subpath);
    if (module instanceof Error) problem(where, `"${name}" cannot be imported: ${module.message}`);
    else for (const wanted of names) if (!(wanted in module)) problem(where, `"${name}" does not export ${wanted}`);
  }
}

async function load(name, subpath) {
  if (!modules.has(name)) {
    const options = subpath.endsWith(".json") ? { with: { type: "json" } } : undefined;
    modules.set(name, await import(name, options).catch((error) => error));
  }
  return modules.get(name);
}

/** Writes a block below .docs-check, padded so that the compiler's line numbers are those of the document. */
function extract(block) {
  const folder = join(work, block.path.replace(/\.md$/, ""));
  const plain = block.language === "js" && /\brequire\(/.test(block.code) && !/^import\b/m.test(block.code);
  block.file = join(folder, block.name ?? `block-${block.line}.${plain ? "cjs" : block.language}`);
  if (existsSync(block.file)) problem(block.where, `an earlier block of this document is already called ${block.name}`);
  mkdirSync(folder, { recursive: true });
  const fragment = block.flags.includes("fragment");
  const statements = coatcheckImports(block.code).filter((item) => item.statement?.startsWith("import"));
  const code = fragment ? statements.map((item) => `${item.statement};`).join("\n") : block.code;
  writeFileSync(block.file, `${"\n".repeat(block.line - 1)}${code}\n`);
}

/** `kind`: a language, or `dom`. */
function compile(kind) {
  const mine = blocks.filter(({ language, flags }) => kind === (flags.includes("dom") ? "dom" : language));
  if (mine.length === 0) return true;
  const options = {
    js: { allowJs: true, checkJs: true, noImplicitAny: false, noEmit: true },
    // devalue's types name Float16Array.
    ts: { noEmit: false, lib: ["es2023", "es2025.float16"] },
    dom: { noEmit: true, skipLibCheck: true, lib: ["es2023", "es2025.float16", "dom", "dom.iterable"] },
  };
  const config = {
    extends: "../tsconfig.base.json",
    compilerOptions: options[kind],
    files: mine.map((block) => relative(work, block.file)),
  };
  const configFile = join(work, `tsconfig.${kind}.json`);
  writeFileSync(configFile, JSON.stringify(config));
  const tsc = join(root, "node_modules", ".bin", "tsc");
  const result = spawnSync(tsc, ["-p", configFile, "--pretty", "false"], { cwd: root, encoding: "utf8" });
  if (result.status === 0) return true;
  let output = `${result.stdout}${result.stderr}`.trim();
  for (const block of mine) {
    const file = relative(root, block.file).split(sep).join("/");
    output = output.replaceAll(`${file}(`, `${block.path}(`);
  }
  problem("code blocks", `${kind} does not type-check\n${output}`);
  return false;
}

function execute(block) {
  const cwd = mkdtempSync(join(tmpdir(), "coatcheck-docs-"));
  const file = block.file.replace(/\.ts$/, ".js");
  const result = spawnSync(process.execPath, [file], {
    cwd,
    encoding: "utf8",
    timeout: runLimit,
    killSignal: "SIGKILL",
  });
  rmSync(cwd, { recursive: true, force: true });
  const output = `${result.stdout ?? ""}${result.stderr ?? ""}`.trim();
  if (result.error?.code === "ETIMEDOUT") problem(block.where, `still running after ${runLimit / 1000} s\n${output}`);
  else if (result.status !== 0) problem(block.where, `exited with ${result.status ?? result.signal}\n${output}`);
}

function checkLinks(path, prose) {
  prose.forEach((line, index) => {
    const inline = [...line.matchAll(/\]\(\s*<?([^)\s>]+)>?[^)]*\)/g)];
    const reference = [...line.matchAll(/^\s*\[[^\]]+\]:\s*<?(\S+?)>?\s*$/g)];
    const html = [...line.matchAll(/<(?:a|img)\b[^>]*?\b(?:href|src)="([^"]+)"/g)];
    for (const [, target] of [...inline, ...reference, ...html]) {
      if (/^([a-z][a-z0-9+.-]*:|\/\/|#)/i.test(target)) continue;
      const where = `${path}:${index + 1}`;
      const file = resolve(root, dirname(path), decodeURIComponent(target.replace(/[?#].*$/, "")));
      if (!existsSync(file)) problem(where, `the link ${target} leads nowhere`);
      else if (relative(root, file).startsWith("..")) problem(where, `the link ${target} leaves the repository`);
    }
  });
}

function checkMachinePaths(path, text) {
  text.split("\n").forEach((line, index) => {
    const found = /(?<![\w.~-])(?:file:\/\/)?\/(?:work|root|home|Users)\/[\w.-]*/.exec(line);
    if (found) problem(`${path}:${index + 1}`, `${found[0]} is a path of one machine`);
  });
}

function report() {
  const fragments = blocks.filter((block) => block.flags.includes("fragment"));
  const ran = blocks.filter((block) => block.flags.includes("run"));
  if (fragments.length > 0) {
    console.log(`fragments, not type-checked: ${fragments.length}`);
    for (const block of fragments) console.log(`  ${block.where}`);
  }
  if (problems.length > 0) {
    for (const line of problems) console.error(`check:docs: ${line}`);
    console.error(`check:docs: ${problems.length} problem${problems.length === 1 ? "" : "s"}`);
    process.exit(1);
  }
  const checked = blocks.length - fragments.length;
  console.log(`check:docs: ok (${checked} blocks type-checked, ${ran.length} run, ${fragments.length} fragments)`);
}
