import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, resolve } from "node:path";
import { describe, expect, it } from "vitest";

const root = resolve(import.meta.dirname, "../..");
const document = readFileSync(resolve(root, "docs/express-session.md"), "utf8");
const readme = readFileSync(
  resolve(dirname(createRequire(import.meta.url).resolve("express-session")), "README.md"),
  "utf8",
);

/** `file`: title; title … in the last column of the tables. */
const cited = document
  .split("\n")
  .filter((line) => line.startsWith("| ") && !line.startsWith("| ---"))
  .flatMap((line) => {
    const last =
      line
        .split(/(?<!\\)\|/)
        .at(-2)
        ?.trim() ?? "";
    return [...last.matchAll(/`([\w-]+)`(?:: (.+?))?(?=; `|, `[\w-]+`:|$)/g)]
      .filter(([, file = ""]) => existsSync(testFile(file)))
      .flatMap(([, file = "", titles = ""]) => titles.split("; ").map((title) => ({ line, file, title })));
  });

function testFile(name: string): string {
  return resolve(root, `test/frameworks/express-session/${name}.test.ts`);
}

const PLACEHOLDER = /%[sjo]|\$\{[^}]*\}|\$\w+/;

/** Whether a test's source has a title like this, whose `%s`, `$name` and `${name}` stand for anything. */
function hasTitle(file: string, title: string): boolean {
  const source = readFileSync(testFile(file), "utf8");
  const texts = [...source.matchAll(/(["'`])((?:\\.|(?!\1)[^\\\n])+)\1/g)].map(([, , text = ""]) => text);
  return texts.some((text) => {
    const fixed = text.split(PLACEHOLDER);
    const pattern = fixed.map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join(".+");
    return fixed.join("").length * 3 > title.length && new RegExp(`^${pattern}$`).test(title);
  });
}

describe("docs/express-session.md", () => {
  it("cites tests for every line of its tables", () => {
    const rows =
      document
        .split("## Differences")[0]
        ?.split("\n")
        .filter((line) => /^\| `|^\| [a-z]/.test(line)) ?? [];
    const lines = new Set(cited.map(({ line }) => line));
    expect(rows.filter((row) => !row.includes("| here |") && !lines.has(row))).toEqual([]);
    expect(lines.size).toBeGreaterThan(45);
  });

  it("cites tests that exist", () => {
    const missing = cited.filter(({ file, title }) => title !== "" && !hasTitle(file, title));
    expect(missing.map(({ file, title }) => `${file}: ${title}`)).toEqual([]);
  });

  it("names every option, method and property that express-session's README has a heading for", () => {
    const headings = [...readme.matchAll(/^#{3,5} (.+)$/gm)].map(([, heading = ""]) => heading);
    const names = headings
      .map((heading) =>
        heading.replace(/^(?:Session|store)\.|\(.*\)$/g, "").replace(/^Cookie\.|^req\.session\.(?=cookie)/, ""),
      )
      .filter((name) => !["Options", "View counter", "User login", "session"].includes(name));
    expect(names.length).toBeGreaterThan(30);
    expect(names.filter((name) => !document.includes(`\`${name}`) && !document.includes(`${name}\``))).toEqual([]);
  });
});
