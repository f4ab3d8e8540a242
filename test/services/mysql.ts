import { firstAnswer, freePorts, type OwnServer, onPath, ownServer, run, temporaryFolder } from "./processes.ts";
import type { Service } from "./service.ts";

/** MariaDB or MySQL. */
export const mysql: Service = {
  name: "mysql",
  title: "MySQL/MariaDB",
  variable: "MYSQL_URL",
  localUrl: "mysql://root@127.0.0.1:3306",
  version: mysqlVersion,
  start: () => startMariadb(),
};

/** A MariaDB of our own; user root, no password. */
export async function startMariadb(settings: readonly string[] = []): Promise<OwnServer> {
  const install = onPath("mariadb-install-db");
  const command = onPath("mariadbd");
  const [port] = await freePorts(1);
  const url = `mysql://root@127.0.0.1:${port}`;
  const folder = temporaryFolder();
  const asRoot = process.getuid?.() === 0 ? ["--user=root"] : [];
  const common = ["--no-defaults", `--datadir=${folder}/data`, ...asRoot];
  await run(install, [...common, "--auth-root-authentication-method=normal", "--skip-test-db"], { cwd: folder });
  const network = [`--port=${port}`, "--bind-address=127.0.0.1", `--socket=${folder}/mariadb.sock`];
  const args = [...common, ...network, `--pid-file=${folder}/mariadb.pid`, ...settings];
  return ownServer({ url, command, args, folder, ready: () => mysqlVersion(url) });
}

/** The server says it in its first packet, before anybody logs in. */
async function mysqlVersion(url: string): Promise<string> {
  const greeting = (await firstAnswer(url, 3306)).subarray(4);
  if (greeting[0] === 0xff) throw new Error(greeting.subarray(3).toString("utf8"));
  const end = greeting.indexOf(0, 1);
  // MariaDB hides behind an old version number that old replicas understand.
  return greeting
    .subarray(1, end)
    .toString("utf8")
    .replace(/^5\.5\.5-/, "");
}
