import { firstAnswer, freePorts, type OwnServer, onPath, ownServer, run, temporaryFolder } from "./processes.ts";
import type { Service } from "./service.ts";

/** MariaDB or MySQL. */
export const mysql: Service = {
  name: "mysql",
  title: "MySQL/MariaDB",
  variable: "MYSQL_URL",
  localUrl: "mysql://root@127.0.0.1:3306",
  version: mysqlVersion,
  start: () => startMysql(),
};

/** A MariaDB of our own, or a MySQL where there is none; user root, no password. */
export async function startMysql(settings: readonly string[] = []): Promise<OwnServer> {
  const { command, install, own } = installed();
  const [port] = await freePorts(1);
  const url = `mysql://root@127.0.0.1:${port}`;
  const folder = temporaryFolder();
  const asRoot = process.getuid?.() === 0 ? ["--user=root"] : [];
  const common = ["--no-defaults", `--datadir=${folder}/data`, ...asRoot];
  await run(install.command, [...common, ...install.args], { cwd: folder });
  const network = [`--port=${port}`, "--bind-address=127.0.0.1", `--socket=${folder}/mysql.sock`];
  const args = [...common, ...network, `--pid-file=${folder}/mysql.pid`, ...own, ...settings];
  return ownServer({ url, command, args, folder, ready: () => mysqlVersion(url) });
}

/** The server that is on the PATH, what prepares its folder, and the settings that only it knows. */
function installed() {
  try {
    const args = ["--auth-root-authentication-method=normal", "--skip-test-db"];
    return { command: onPath("mariadbd"), install: { command: onPath("mariadb-install-db"), args }, own: [] };
  } catch {
    const command = onPath("mysqld");
    const args = ["--initialize-insecure", "--secure-file-priv="];
    return { command, install: { command, args }, own: ["--mysqlx=OFF", "--secure-file-priv="] };
  }
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
