import { randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { SessionsOptions } from "coatcheck";
import { sealed, snapshotCookie } from "coatcheck/sealed";
import type { Visit } from "./visit.ts";

/** The ways to keep sessions that the shop knows. Its handlers are the same under each. */
export const STRATEGIES = ["server", "sealed", "hybrid"] as const;
export type StrategyName = (typeof STRATEGIES)[number];

/** What `createSessions` is told, besides the store. A sealed session uses the store when it is revoked, or grows too large. */
export function keeping(
  name: StrategyName,
  keys: readonly string[],
): Pick<SessionsOptions<Visit>, "strategy" | "cache"> {
  switch (name) {
    case "server":
      return {};
    case "sealed":
      return { strategy: sealed({ keys, spill: true }) };
    case "hybrid":
      return { cache: snapshotCookie({ keys }) };
  }
}

/** The key in the data folder. Made when it is first needed, so that a restart keeps everybody logged in. */
export function ownKey(dataDir: string): string {
  const path = join(dataDir, "seal.key");
  mkdirSync(dataDir, { recursive: true });
  try {
    writeFileSync(path, randomBytes(32).toString("base64url"), { mode: 0o600, flag: "wx" });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
  return readFileSync(path, "utf8").trim();
}
