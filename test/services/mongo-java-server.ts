import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { MongoClient } from "mongodb";
import { freePorts, type OwnServer, onPath, ownServer, run, temporaryFolder } from "./processes.ts";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const CACHE = here("../../node_modules/.cache/coatcheck");
const VERSION = "1.47.0";

/**
 * What MongoDB 5.0 announces. By itself mongo-java-server announces 8, the version of 4.2, which drivers from 7 on refuse; the
 * messages are the same.
 */
const WIRE_VERSION = 13;

/**
 * A mongo-java-server of our own: an imitation of MongoDB that speaks its protocol. It has no time-to-live, no transactions and
 * no replica sets. It keeps documents in memory; with `durable` in a file, of which `kill("SIGKILL")` loses the last second.
 */
export async function startMongoJavaServer({ durable = false } = {}): Promise<OwnServer> {
  const command = onPath("java");
  const jars = await fetchedJars();
  const [port] = await freePorts(1);
  const url = `mongodb://127.0.0.1:${port}`;
  const folder = temporaryFolder();
  const launcher = here("mongo-java-server/MongoJavaServer.java");
  const args = ["-Xmx256m", "-cp", join(jars, "*"), launcher, String(port), String(WIRE_VERSION)];
  if (durable) args.push(join(folder, "data"));
  return ownServer({ url, command, args, folder, ready: () => mongodbVersion(url) });
}

/** The version that a server says it has; a wire version that the driver refuses rejects. */
export async function mongodbVersion(url: string): Promise<string> {
  const client = new MongoClient(url, { serverSelectionTimeoutMS: 2_000, connectTimeoutMS: 2_000 });
  try {
    const { version, gitVersion } = await client.db("admin").command({ buildInfo: 1 });
    // A real server knows from which commit it was built.
    return gitVersion === undefined ? `${version} as imitated by mongo-java-server ${VERSION}` : version;
  } finally {
    await client.close();
  }
}

/** The folder with the server's jars, brought by Maven the first time. */
async function fetchedJars(): Promise<string> {
  const jars = join(CACHE, `mongo-java-server-${VERSION}`);
  if (existsSync(jars)) return jars;
  const maven = onPath("mvn");
  mkdirSync(CACHE, { recursive: true });
  const fetched = mkdtempSync(join(CACHE, "fetching-"));
  try {
    const goal = ["--batch-mode", "--quiet", "dependency:copy-dependencies", `-DoutputDirectory=${fetched}`];
    await run(maven, ["-f", here("mongo-java-server/pom.xml"), ...goal], { cwd: fetched });
    renameSync(fetched, jars);
  } catch (error) {
    rmSync(fetched, { recursive: true, force: true });
    // Another process may have been faster.
    if (!existsSync(jars)) throw error;
  }
  return jars;
}
