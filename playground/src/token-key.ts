import { linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { generateKey, type KeyMaterial } from "coatcheck/tokens";

const FILE = "token-key.json";

/**
 * The shop's own key for access tokens: made once and kept in its folder, for its user alone, so that a restart keeps tokens
 * valid. Processes that start together agree on one.
 */
export function ownTokenKey(dataDir: string): KeyMaterial {
  const path = join(dataDir, FILE);
  return read(path) ?? make(path);
}

function read(path: string): KeyMaterial | undefined {
  try {
    return parseTokenKey(readFileSync(path, "utf8"));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

function make(path: string): KeyMaterial {
  mkdirSync(join(path, ".."), { recursive: true });
  const own = `${path}.${process.pid}.${crypto.randomUUID()}`;
  writeFileSync(own, JSON.stringify(generateKey("ES256")), { mode: 0o600, flag: "wx" });
  try {
    // Whole or not at all, and never over another process's.
    linkSync(own, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  } finally {
    rmSync(own);
  }
  return read(path) as KeyMaterial;
}

/** A key as text: a JWK, PEM, or a secret in base64url. What it is worth, `createTokens` says. */
export function parseTokenKey(text: string): KeyMaterial {
  if (!text.trimStart().startsWith("{")) return text.trim();
  try {
    return JSON.parse(text) as KeyMaterial;
  } catch {
    // The parser's message would show the key.
    throw new Error("The key for tokens is not valid JSON.");
  }
}
