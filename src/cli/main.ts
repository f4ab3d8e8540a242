#!/usr/bin/env node
import { run } from "./run.ts";

process.exitCode = await run(process.argv.slice(2), {
  out: (line) => {
    showProgress("");
    process.stdout.write(`${line}\n`);
  },
  progress: showProgress,
  error: (line) => {
    showProgress("");
    process.stderr.write(`${line}\n`);
  },
  ask: process.stdin.isTTY ? askOnTerminal : undefined,
  storeUrl: process.env.STORE_URL,
});

/** In one line of the terminal, each time in place of what stood there; nowhere else. */
function showProgress(line: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${line}`);
}

async function askOnTerminal(question: string): Promise<boolean> {
  const { createInterface } = await import("node:readline/promises");
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return /^y(es)?$/i.test((await terminal.question(`${question} [y/N] `)).trim());
  } finally {
    terminal.close();
  }
}
