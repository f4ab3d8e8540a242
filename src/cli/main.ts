#!/usr/bin/env node
import { run } from "./run.ts";

process.exitCode = await run(process.argv.slice(2), {
  out: (line) => process.stdout.write(`${line}\n`),
  progress: (line) => process.stderr.isTTY && process.stderr.write(`\r${line}`),
  error: (line) => process.stderr.write(`${line}\n`),
  ask: process.stdin.isTTY ? askOnTerminal : undefined,
  storeUrl: process.env.STORE_URL,
});

async function askOnTerminal(question: string): Promise<boolean> {
  const { createInterface } = await import("node:readline/promises");
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return /^y(es)?$/i.test((await terminal.question(`${question} [y/N] `)).trim());
  } finally {
    terminal.close();
  }
}
