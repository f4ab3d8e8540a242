import { type ChildProcessWithoutNullStreams, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { text as textOf } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { atEnd, STRATEGY } from "./support.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const SERVER = "playground/dist/server.js";

/** Compiles the shop as `npm start` does. The library itself is compiled by `npm test`. */
export function compileShop(): void {
  execFileSync(process.execPath, ["node_modules/typescript/bin/tsc", "-p", "playground"], { cwd: ROOT, stdio: "pipe" });
}

/** The shop as a process of its own. */
export class ShopProcess {
  readonly url: string;
  /** What it printed until it was open. */
  readonly greeting: readonly string[];
  readonly #child: ChildProcessWithoutNullStreams;

  private constructor(child: ChildProcessWithoutNullStreams, url: string, greeting: readonly string[]) {
    this.#child = child;
    this.url = url;
    this.greeting = greeting;
  }

  /** Resolves when it is open. */
  static start(env: Readonly<Record<string, string>>): Promise<ShopProcess> {
    return ShopProcess.#opened(spawnShop(env));
  }

  /** As npm starts it: in a shell, which is what gets the signals. */
  static startByNpm(env: Readonly<Record<string, string>>): Promise<ShopProcess> {
    const script = `"${process.execPath}" ${SERVER}; exit`;
    return ShopProcess.#opened(spawnShop({ npm_lifecycle_event: "start", ...env }, "sh", ["-c", script]));
  }

  static async #opened(child: ChildProcessWithoutNullStreams): Promise<ShopProcess> {
    const said = textOf(child.stderr);
    const greeting: string[] = [];
    for await (const line of createInterface(child.stdout)) {
      greeting.push(line);
      if (greeting.length === 2) break;
    }
    const url = /http:\S+/.exec(greeting[0] ?? "")?.[0];
    if (url === undefined) throw new Error(`The shop did not open: ${await said}`);
    return new ShopProcess(child, url, greeting);
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** How it ended: its exit code, or the signal. */
  async ended(): Promise<number | NodeJS.Signals> {
    const { exitCode, signalCode } = this.#child;
    if (exitCode !== null || signalCode !== null) return exitCode ?? (signalCode as NodeJS.Signals);
    const [code, signal] = await once(this.#child, "exit");
    return code ?? signal;
  }

  stop(signal: NodeJS.Signals): Promise<number | NodeJS.Signals> {
    this.signal(signal);
    return this.ended();
  }
}

/** Starts the shop where it cannot open: the exit code, and what it says. */
export async function failedStart(env: Readonly<Record<string, string>>): Promise<{ code: number; said: string }> {
  const child = spawnShop(env);
  const said = textOf(child.stderr);
  const [code] = await once(child, "close");
  return { code, said: await said };
}

function spawnShop(
  env: Readonly<Record<string, string>>,
  program = process.execPath,
  args = [SERVER],
): ChildProcessWithoutNullStreams {
  const child = spawn(program, args, {
    cwd: ROOT,
    env: { PATH: process.env.PATH, PORT: "0", STRATEGY, ...env },
  });
  atEnd(() => child.kill("SIGKILL"));
  return child;
}
