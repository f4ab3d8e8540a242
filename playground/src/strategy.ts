import { randomBytes } from "node:crypto";
import { join } from "node:path";
import type { SessionsOptions } from "coatcheck";
import { sealed, snapshotCookie } from "coatcheck/sealed";
import { keptText } from "./kept-text.ts";
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

/** The key in the data folder, so that a restart keeps everybody logged in. */
export function ownKey(dataDir: string): string {
  return keptText(join(dataDir, "seal.key"), () => randomBytes(32).toString("base64url")).trim();
}
