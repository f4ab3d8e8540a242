import { join } from "node:path";
import {
  firstAnswer,
  freePorts,
  type OwnServer,
  onPath,
  ownServer,
  run,
  temporaryFolder,
  unprivileged,
} from "./processes.ts";
import type { Service } from "./service.ts";

export const postgres: Service = {
  name: "postgres",
  title: "PostgreSQL",
  variable: "POSTGRES_URL",
  localUrl: "postgres://postgres@127.0.0.1:5432/postgres",
  version: postgresVersion,
  start: () => startPostgres(),
};

/**
 * A PostgreSQL of our own; user postgres, no password. `kill("SIGTERM")` waits for its clients, `SIGINT` does not, and
 * `SIGQUIT` is a crash.
 */
export async function startPostgres(settings: readonly string[] = []): Promise<OwnServer> {
  const initdb = onPath("initdb");
  const command = onPath("postgres");
  const [port] = await freePorts(1);
  const url = `postgres://postgres@127.0.0.1:${port}/postgres`;
  const folder = temporaryFolder(true);
  const data = join(folder, "data");
  const user = unprivileged;
  const cluster = ["-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"];
  await run(initdb, cluster, { cwd: folder, ...user });
  const args = ["-D", data, "-p", String(port), "-c", "listen_addresses=127.0.0.1", "-k", folder, ...settings];
  return ownServer({ url, command, args, folder, user, stopSignal: "SIGQUIT", ready: () => postgresVersion(url) });
}

/** Asked with the first message of the protocol, so that no driver is needed; "unknown" to a server that wants a password. */
async function postgresVersion(url: string): Promise<string> {
  const { username, pathname } = new URL(url);
  const database = pathname.slice(1) || "postgres";
  const parameters = Buffer.from(`user\0${decodeURIComponent(username) || "postgres"}\0database\0${database}\0\0`);
  const greeting = Buffer.alloc(8);
  greeting.writeInt32BE(parameters.length + 8, 0);
  greeting.writeInt32BE(196_608, 4);
  const answer = (await firstAnswer(url, 5432, Buffer.concat([greeting, parameters]))).toString("latin1");
  if (answer.startsWith("E")) throw new Error(/\0M([^\0]+)/.exec(answer)?.[1] ?? "the server refuses");
  return /server_version\0([^\0]+)/.exec(answer)?.[1] ?? "unknown";
}
