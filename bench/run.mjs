// What a session costs, measured beside bare Express and express-session. See README.md.
import { readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { load } from "./load.mjs";
import { startServer } from "./measured-server.mjs";
import { only, reversedIn } from "./options.mjs";
import { report } from "./report.mjs";
import { message } from "./request.mjs";

const { values: options } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    rounds: { type: "string" },
    requests: { type: "string" },
    variants: { type: "string" },
    scenarios: { type: "string" },
  },
});
const rounds = Number(options.rounds ?? (options.quick ? 2 : 7));
const count = Number(options.requests ?? (options.quick ? 600 : 3200));
/** Requests of one variant before the next one has its turn. Short, so that all see the same machine. */
const TURN = options.quick ? 150 : 400;
const WARM_UP = options.quick ? 800 : 3000;
const SESSIONS = 500;
/** Whatever happens, it ends. */
const LIMIT = 15 * 60_000;

const variants = only(options.variants, {
  bare: "bare Express",
  again: "bare Express again: the noise",
  memory: "coatcheck, memory",
  sqlite: "coatcheck, SQLite",
  "express-session": "express-session, MemoryStore",
});
const scenarios = only(options.scenarios, {
  read: { title: "GET that reads the session", method: "GET", path: "/cart", cookie: true },
  write: { title: "POST that changes one key of the session", method: "POST", path: "/cart/add", cookie: true },
  anonymous: { title: "GET of a visitor without a cookie", method: "GET", path: "/cart", cookie: false },
});

setTimeout(() => {
  process.stderr.write(`not done after ${LIMIT / 60_000} minutes\n`);
  process.exit(1);
}, LIMIT).unref();

const began = performance.now();
const runs = [];
for (let round = 0; round < rounds; round++) {
  runs.push(...(await measure(round)));
  process.stderr.write(`round ${round + 1} of ${rounds}\n`);
}
const seconds = (performance.now() - began) / 1000;
const results = report({ runs, variants, scenarios, rounds, count, seconds });
console.log(results);
// A short run, or a part of one, is no result to keep.
if (process.argv.length === 2) keep(results);

/** All variants in fresh processes, of which one works and the others wait. */
async function measure(round) {
  const servers = [];
  try {
    for (const variant of reversedIn(round, Object.keys(variants))) servers.push(await start(variant));
    const measured = [];
    for (const [scenario, request] of Object.entries(scenarios)) {
      const sums = servers.map((server) => ({ ...server.requests(request), cpu: 0, seconds: 0 }));
      for (const { port, requests } of sums) await load({ port, requests, count: WARM_UP });
      for (let done = 0, turn = 0; done < count; done += TURN, turn++)
        for (const sum of reversedIn(turn, sums)) await take(sum, Math.min(TURN, count - done));
      for (const { variant, cpu, seconds } of sums)
        measured.push({ round, variant, scenario, cpu: cpu / count, rate: count / seconds });
    }
    return measured;
  } finally {
    await Promise.all(servers.map((server) => server.stop()));
  }
}

/** One turn of one variant. */
async function take(sum, count) {
  const before = await sum.cpuUsage();
  sum.seconds += await load({ port: sum.port, requests: sum.requests, count });
  const after = await sum.cpuUsage();
  sum.cpu += after.user + after.system - before.user - before.system;
}

async function start(variant) {
  const { port, cookies, cpuUsage, stop } = await startServer("server.mjs", [
    variant === "again" ? "bare" : variant,
    `${SESSIONS}`,
  ]);
  return {
    requests: ({ method, path, cookie }) => ({
      variant,
      port,
      cpuUsage,
      requests: (cookie ? cookies : [undefined]).map((value) => message(method, path, port, value)),
    }),
    stop,
  };
}

function keep(results) {
  const file = new URL("README.md", import.meta.url);
  const text = readFileSync(file, "utf8");
  const [head, rest] = text.split("<!-- results -->\n");
  const [, tail] = (rest ?? "").split("<!-- end of results -->");
  if (tail === undefined) throw new Error("README.md has no place for results");
  writeFileSync(file, `${head}<!-- results -->\n\n${results}\n\n<!-- end of results -->${tail}`);
}
