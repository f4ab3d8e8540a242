import { execFile } from "node:child_process";
import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, it } from "vitest";

const MISSING = [
  ["redis://ada:hunter2@localhost/1", "npm install redis"],
  ["rediss://ada:hunter2@localhost/1", "npm install redis"],
  ["postgres://ada:hunter2@localhost/x", "npm install pg"],
  ["postgresql://ada:hunter2@localhost/x", "npm install pg"],
  ["mysql://ada:hunter2@localhost/x", "npm install mysql2"],
  ["mariadb://ada:hunter2@localhost/x", "npm install mysql2"],
  ["mongodb://ada:hunter2@localhost/x", "npm install mongodb"],
  ["mongodb+srv://ada:hunter2@localhost/x", "npm install mongodb"],
] as const;

/** Says what each store's first use rejects with, as JSON: URL → message. */
const SCRIPT = `
  const { openStore } = await import(process.argv[1]);
  const said = {};
  for (const url of JSON.parse(process.argv[2])) {
    const store = await openStore(url);
    said[url] = await store.removeAll().then(String, (error) => error.message);
    await store.close();
  }
  console.log(JSON.stringify(said));`;

let folder: string;
let said: Record<string, string>;

// The built package, where no other package can be found.
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "coatcheck-alone-"));
  cpSync(fileURLToPath(new URL("../../dist", import.meta.url)), join(folder, "dist"), { recursive: true });
  writeFileSync(join(folder, "package.json"), '{"type":"module"}');
  const { href } = pathToFileURL(join(folder, "dist", "stores", "open-store.js"));
  const args = ["--input-type=module", "-e", SCRIPT, href, JSON.stringify(MISSING.map(([url]) => url))];
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: folder });
  said = JSON.parse(stdout);
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

it.each(MISSING)("%s without its driver says what to install, at the first use", (url, command) => {
  expect(said[url]).toContain(command);
  expect(said[url]).not.toContain("hunter2");
});
