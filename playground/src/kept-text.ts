import { linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

/**
 * The text of a file for this user alone, made by `make` when there is none, so that a restart finds it again. Processes that
 * start together agree on one.
 */
export function keptText(path: string, make: () => string): string {
  return read(path) ?? keep(path, make());
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

function keep(path: string, text: string): string {
  mkdirSync(dirname(path), { recursive: true });
  const own = `${path}.${process.pid}.${crypto.randomUUID()}`;
  writeFileSync(own, text, { mode: 0o600, flag: "wx" });
  try {
    // Whole or not at all, and never over another process's.
    linkSync(own, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  } finally {
    rmSync(own);
  }
  return readFileSync(path, "utf8");
}
