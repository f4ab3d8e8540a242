import { type ChildProcess, spawn } from "node:child_process";
import { accessSync, chmodSync, chownSync, constants, mkdtempSync, rmSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

/** The first of these commands that is on the PATH. */
export function onPath(...commands: string[]): string {
  for (const command of commands) {
    for (const folder of (process.env.PATH ?? "").split(delimiter)) {
      const path = join(folder, command);
      try {
        accessSync(path, constants.X_OK);
        return path;
      } catch {
        // Not in this folder.
      }
    }
  }
  throw new Error(`no ${commands.join(" or ")} on the PATH`);
}

/**
 * Ports of 127.0.0.1 that are free at this moment, all different, and so are those 10000 above, which a Redis Cluster takes
 * too. None is among those that systems give to outgoing connections.
 */
export async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = [];
  while (ports.length < count) {
    const port = 10_000 + Math.floor(Math.random() * 12_000);
    if (!ports.includes(port) && (await isFree(port)) && (await isFree(port + 10_000))) ports.push(port);
  }
  return ports;
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}

/** Whom servers run as that refuse to run as root. Empty unless we are root. */
export const unprivileged: { uid?: number; gid?: number } =
  process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {};

/** A new folder, which `ownServer` removes. `forUnprivileged`: owned by whom `unprivileged` names. */
export function temporaryFolder(forUnprivileged = false): string {
  const folder = mkdtempSync(join(tmpdir(), "coatcheck-"));
  if (forUnprivileged && unprivileged.uid !== undefined) {
    chownSync(folder, unprivileged.uid, unprivileged.gid as number);
    chmodSync(folder, 0o700);
  }
  return folder;
}

/** A server of our own, to be killed and started again at will. */
export interface OwnServer {
  readonly url: string;
  readonly pid: number;
  /** Sends a signal, `SIGTERM` by default, and waits for the end. What is on the disk stays. */
  kill(signal?: NodeJS.Signals): Promise<void>;
  /** Starts it again, at the same address and with the same disk, and waits until it serves. */
  restart(): Promise<void>;
  /** Ends it for good and removes its folder. */
  stop(): Promise<void>;
}

export interface OwnServerOptions {
  readonly url: string;
  readonly command: string;
  readonly args: readonly string[];
  /** Variables beside those of this process. */
  readonly env?: Readonly<Record<string, string>>;
  /** Its working directory, from `temporaryFolder`. */
  readonly folder: string;
  /** Rejects as long as the server does not serve. */
  readonly ready: () => Promise<unknown>;
  readonly user?: typeof unprivileged;
  /** Ends it at once, without orphans. Default `SIGKILL`. */
  readonly stopSignal?: NodeJS.Signals;
}

/** Starts a server and waits until it serves, for at most 30 s. It ends with us at the latest. */
export async function ownServer(options: OwnServerOptions): Promise<OwnServer> {
  const { url, folder } = options;
  let server = await begin(options);
  return {
    url,
    get pid() {
      return server.pid;
    },
    kill: (signal) => server.kill(signal),
    async restart() {
      server = await begin(options);
    },
    async stop() {
      await server.kill(options.stopSignal ?? "SIGKILL");
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function begin({ command, args, env, folder, ready, user }: OwnServerOptions) {
  const child = spawn(command, args, {
    cwd: folder,
    env: { ...process.env, ...env },
    ...user,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (chunk: Buffer) => {
      output = `${output}${chunk}`.slice(-4000);
    });
  const ended = new Promise<void>((resolve) => {
    child.once("exit", () => resolve());
    child.once("error", () => resolve());
  });
  ended.then(guard(child.pid, folder));
  const kill = async (signal: NodeJS.Signals = "SIGTERM") => {
    child.kill(signal);
    await ended;
  };
  try {
    await untilItHolds(async () => {
      if (hasEnded(child)) throw new Stop(`${command} ended at once: ${output.trim().split("\n").at(-1)}`);
      await ready();
    }, 30_000);
  } catch (error) {
    await kill("SIGKILL");
    throw error;
  }
  return { pid: child.pid as number, kill };
}

/**
 * Ends a server and removes its folder when we end, whatever ends us: a test runner kills its workers without a warning.
 * The returned function calls this off.
 */
function guard(pid: number | undefined, folder: string): () => unknown {
  if (pid === undefined) return () => {};
  const script = 'cat >/dev/null; kill -KILL "$1"; rm -rf "$2"';
  const watching = spawn("sh", ["-c", script, "guard", String(pid), folder], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
  });
  watching.unref();
  (watching.stdin as Socket).unref();
  return () => watching.kill("SIGKILL");
}

const hasEnded = (child: ChildProcess) =>
  child.pid === undefined || child.exitCode !== null || child.signalCode !== null;

/** Runs a command to its end. Rejects with its output when it fails. */
export function run(
  command: string,
  args: readonly string[],
  options: { readonly cwd: string; readonly uid?: number; readonly gid?: number },
): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { ...options, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (chunk) => {
        output += chunk;
      });
    child.once("error", reject);
    child.once("close", (code) => {
      if (code === 0) resolve(output);
      else reject(new Error(`${command} failed: ${output.trim().slice(-500)}`));
    });
  });
}

/** Rejects at once, however long `untilItHolds` would still wait. */
export class Stop extends Error {}

/** Tries until `check` does not reject, or `limit` milliseconds have passed; then rejects as it did last. */
export async function untilItHolds<Result>(check: () => Promise<Result>, limit: number): Promise<Result> {
  const end = performance.now() + limit;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (error instanceof Stop || performance.now() > end) throw error;
    }
    await delay(25);
  }
}

/** What a server says first, or in answer to `greeting`. Rejects when nothing comes within 2 s. */
export function firstAnswer(url: string, defaultPort: number, greeting?: Uint8Array): Promise<Buffer> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port) || defaultPort, hostname.replace(/^\[|\]$/g, ""));
    const end = (settle: () => void) => {
      socket.destroy();
      settle();
    };
    socket.setTimeout(2000, () => end(() => reject(new Error("no answer within 2 s"))));
    socket.once("error", (error) => end(() => reject(error)));
    socket.once("connect", () => {
      if (greeting !== undefined) socket.write(greeting);
    });
    socket.once("data", (data) => end(() => resolve(data)));
    socket.once("close", () => reject(new Error("the server closed the connection")));
  });
}
