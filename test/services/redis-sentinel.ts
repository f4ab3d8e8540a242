import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { freePorts, onPath, ownServer, temporaryFolder, untilItHolds } from "./processes.ts";
import { askRedis, type OwnRedis, startRedis } from "./redis.ts";

/** A primary, a replica, and a Sentinel that watches over them. */
export interface OwnRedisSentinel {
  /** Where the Sentinel is, on 127.0.0.1. */
  readonly port: number;
  /** What the Sentinel calls the primary. */
  readonly name: string;
  readonly primary: OwnRedis;
  readonly replica: OwnRedis;
  stop(): Promise<void>;
}

/** Starts all three and waits until the replica is in step and the Sentinel knows it. */
export async function startRedisSentinel(settings: readonly string[] = []): Promise<OwnRedisSentinel> {
  const name = "sessions";
  const primary = await startRedis([...settings, "--repl-diskless-sync-delay", "0"]);
  const replica = await startRedis([...settings, "--replicaof", "127.0.0.1", String(primary.port)]);
  const [port] = (await freePorts(1)) as [number];
  const folder = temporaryFolder();
  const file = join(folder, "sentinel.conf");
  const monitored = [
    `sentinel monitor ${name} 127.0.0.1 ${primary.port} 1`,
    `sentinel down-after-milliseconds ${name} 500`,
    `sentinel failover-timeout ${name} 5000`,
  ];
  writeFileSync(file, ["bind 127.0.0.1", `port ${port}`, ...monitored, ""].join("\n"));
  const url = `redis://127.0.0.1:${port}`;
  const sentinel = await ownServer({
    url,
    command: onPath("redis-server", "valkey-server"),
    args: [file, "--sentinel"],
    folder,
    ready: () => askRedis(url, "PING"),
  });
  await untilItHolds(async () => {
    const known = await askRedis(url, "SENTINEL", "replicas", name);
    const replication = await askRedis(primary.url, "INFO", "replication");
    if (!known.includes(String(replica.port)) || !/slave0:.*state=online/.test(replication))
      throw new Error("the replica is not in step, or not known");
  }, 30_000);
  const stop = async () => {
    await Promise.all([sentinel, primary, replica].map((server) => server.stop()));
  };
  return { port, name, primary, replica, stop };
}
