import { join } from "node:path";
import type { KeyMaterial } from "coatcheck/tokens";
import { STRATEGIES, type StrategyName } from "./strategy.ts";
import { parseTokenKey } from "./token-key.ts";

/** The settings of the server, from the environment. */
export interface Config {
  /** `PORT`: 3000 unless set; 0 takes a free one. */
  readonly port: number;
  /** `HOST`: this machine only, unless set. The seeded account's password is public. */
  readonly host: string;
  /** `DATA_DIR`: where the databases are. */
  readonly dataDir: string;
  /** `STORE_URL`: where sessions are kept. */
  readonly storeUrl: string;
  /** `STRATEGY`: how sessions are kept, `server` unless set. */
  readonly strategy: StrategyName;
  /** `SEAL_KEY`: one or more keys with commas between them, the first of which seals. Unless set, one in `DATA_DIR`. */
  readonly sealKeys: readonly string[] | undefined;
  /** `TRUST_PROXY`, as Express takes it: a number of proxies, or addresses. */
  readonly trustProxy: string | number | boolean | undefined;
  /** `TOKEN_KEY`: what access tokens are signed with. */
  readonly tokenKey: KeyMaterial | undefined;
}

/** @throws Error with a sentence for the one who set it */
export function readConfig(env: NodeJS.ProcessEnv): Config {
  const port = env.PORT || "3000";
  if (!/^\d{1,5}$/.test(port) || Number(port) > 65_535) throw new Error("PORT must be a number from 0 to 65535.");
  const strategy = STRATEGIES.find((name) => name === (env.STRATEGY || "server"));
  if (strategy === undefined) throw new Error(`STRATEGY must be one of: ${STRATEGIES.join(", ")}.`);
  const dataDir = env.DATA_DIR || "data";
  return {
    port: Number(port),
    host: env.HOST || "127.0.0.1",
    dataDir,
    storeUrl: env.STORE_URL || `sqlite:${join(dataDir, "sessions.db")}`,
    strategy,
    sealKeys: env.SEAL_KEY ? env.SEAL_KEY.split(",") : undefined,
    trustProxy: trustProxy(env.TRUST_PROXY),
    tokenKey: env.TOKEN_KEY ? parseTokenKey(env.TOKEN_KEY) : undefined,
  };
}

function trustProxy(value: string | undefined): Config["trustProxy"] {
  if (value === undefined || value === "") return undefined;
  if (value === "true" || value === "false") return value === "true";
  return /^\d+$/.test(value) ? Number(value) : value;
}
