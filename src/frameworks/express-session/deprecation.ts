import { relative } from "node:path";
import { fileURLToPath } from "node:url";

/** The name under which express-session's users filter its warnings: `NO_DEPRECATION=express-session`. */
const NAMESPACE = "express-session";

const here = new URL(".", import.meta.url).href;
const warned = new Set<string>();

/**
 * Says on standard error, once for each place that it is called from, that something is deprecated. Quiet with
 * `NO_DEPRECATION=express-session` and `node --no-deprecation`; with a stack with `TRACE_DEPRECATION=express-session`.
 * Where `process` has listeners for `deprecation`, they are told instead.
 */
export function deprecate(message: string): void {
  const listening = process.listenerCount("deprecation" as never) > 0;
  if (!listening && (process.noDeprecation || isNamed(process.env.NO_DEPRECATION))) return;
  const stack = callers();
  const place = stack[0] && placeOf(stack[0]);
  const key = `${message}\n${place}`;
  if (place !== undefined && warned.has(key)) return;
  warned.add(key);

  if (listening) {
    const error = Object.assign(new Error(message), { name: "DeprecationError", namespace: NAMESPACE });
    error.stack = [`DeprecationError: ${NAMESPACE} deprecated ${message}`, ...stack].join("\n");
    process.emit("deprecation" as never, error as never);
    return;
  }
  const traced = process.traceDeprecation || isNamed(process.env.TRACE_DEPRECATION);
  const where = traced ? stack.map((line) => `\n${line}`).join("") : place && ` at ${place}`;
  const said = `${NAMESPACE} deprecated ${message}${where ?? ""}`;
  process.stderr.write(process.stderr.isTTY ? `${said}\n` : `${new Date().toUTCString()} ${said}\n`);
}

function isNamed(list = ""): boolean {
  return list.split(/[ ,]+/).some((name) => name === "*" || name.toLowerCase() === NAMESPACE);
}

/** The lines of the stack from the caller of this library on. */
function callers(): string[] {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = Math.max(limit, 15);
  const lines = (new Error().stack ?? "").split("\n").slice(1);
  Error.stackTraceLimit = limit;
  const outside = (line: string) => !line.includes(here) && !line.includes(fileURLToPath(here));
  return lines.slice(lines.findIndex(outside));
}

/** File, line and column of a line of a stack. */
function placeOf(line: string): string | undefined {
  const [, file, position] = /\(?([^()\s]+?)(:\d+:\d+)\)?$/.exec(line) ?? [];
  if (file === undefined) return undefined;
  return relative(process.cwd(), file.startsWith("file:") ? fileURLToPath(file) : file) + position;
}
