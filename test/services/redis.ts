import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { createClient } from "redis";
import { firstAnswer, freePorts, type OwnServer, onPath, ownServer, temporaryFolder } from "./processes.ts";
import type { Service } from "./service.ts";

/** Redis or Valkey, standalone. */
export const redis: Service = {
  name: "redis",
  title: "Redis",
  variable: "REDIS_URL",
  localUrl: "redis://127.0.0.1:6379",
  version: redisVersion,
  start: () => startRedis(),
};

/** Of a Redis or Valkey at this URL, with the product's name when it is not Redis. */
export async function redisVersion(url: string): Promise<string> {
  const info = await askRedis(url, "INFO", "server");
  const field = (name: string) => new RegExp(`^${name}:(.+?)\\r?$`, "m").exec(info)?.[1];
  const valkey = field("valkey_version");
  return valkey === undefined ? (field("redis_version") ?? "unknown") : `Valkey ${valkey}`;
}

/** The reply of one server to one command, as text or JSON, over a connection of its own. */
export async function askRedis(url: string, ...command: string[]): Promise<string> {
  const client = createClient({ url, socket: { reconnectStrategy: false, connectTimeout: 2000 } });
  client.on("error", () => {});
  await client.connect();
  try {
    const reply: unknown = await client.sendCommand(command);
    return typeof reply === "string" ? reply : JSON.stringify(reply);
  } finally {
    client.destroy();
  }
}

/** A redis-server of our own. */
export interface OwnRedis extends OwnServer {
  readonly port: number;
}

/**
 * Starts a redis-server on a private port. `settings` as on its command line, for example `["--appendonly", "yes"]`;
 * `files` are put into its folder before.
 */
export async function startRedis(
  settings: readonly string[] = [],
  port?: number,
  files: Readonly<Record<string, string>> = {},
): Promise<OwnRedis> {
  const command = onPath("redis-server", "valkey-server");
  port ??= (await freePorts(1))[0] as number;
  const url = `redis://127.0.0.1:${port}`;
  const folder = temporaryFolder();
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
  const args = ["--bind", "127.0.0.1", "--port", String(port), "--dir", folder, "--save", "", ...settings];
  return Object.assign(await ownServer({ url, command, args, folder, ready: () => assertServes(url) }), { port });
}

/** Asks without a driver, which would need the password. */
async function assertServes(url: string): Promise<void> {
  const answer = (await firstAnswer(url, 6379, Buffer.from("PING\r\n"))).toString();
  if (!/^(\+PONG|-NOAUTH)/.test(answer)) throw new Error(`the server is not ready: ${answer}`);
}
