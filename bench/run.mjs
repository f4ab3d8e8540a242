// What a session costs, measured against bare Express and express-session. See README.md.
import { fork } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { load } from "./load.mjs";
import { report } from "./report.mjs";

const { values: options } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    rounds: { type: "string" },
    requests: { type: "string" },
    variants: { type: "string" },
    scenarios: { type: "string" },
  },
});
const rounds = Number(options.rounds ?? (options.quick ? 3 : 9));
const count = Number(options.requests ?? (options.quick ? 1500 : 10_000));
const SESSIONS = 500;

const variants = only(options.variants, {
  bare: "bare Express",
  again: "bare Express again (the noise)",
  memory: "coatcheck, memory",
  sqlite: "coatcheck, SQLite",
  "express-session": "express-session, MemoryStore",
});
const scenarios = only(options.scenarios, {
  read: { title: "GET that reads the session", method: "GET", path: "/cart", cookie: true },
  write: { title: "POST that changes one key of the session", method: "POST", path: "/cart/add", cookie: true },
  anonymous: { title: "GET of a visitor without a cookie", method: "GET", path: "/cart", cookie: false },
});

const began = performance.now();
const runs = [];
for (let round = 0; round < rounds; round++) {
  const order = Object.keys(variants);
  if (round % 2 === 1) order.reverse();
  for (const variant of order) runs.push(...(await measure(variant)));
  process.stderr.write(`round ${round + 1} of ${rounds}\n`);
}
const seconds = (performance.now() - began) / 1000;
const results = report({ runs, variants, scenarios, rounds, count, seconds });
console.log(results);
// A part or a short run is no result to keep.
if (process.argv.length === 2) keep(results);

/** All scenarios of one variant, in a fresh process. */
async function measure(variant) {
  const server = await start(variant === "again" ? "bare" : variant);
  try {
    const { port, cookies } = await server.answer;
    const measured = [];
    for (const [scenario, { method, path, cookie }] of Object.entries(scenarios)) {
      const requests = (cookie ? cookies : [undefined]).map((value) => message(method, path, port, value));
      await load({ port, requests, count: Math.ceil(count / 2) });
      const before = await server.ask("cpu");
      const taken = await load({ port, requests, count });
      const after = await server.ask("cpu");
      const cpu = (after.user + after.system - before.user - before.system) / count;
      measured.push({ variant, scenario, cpu, rate: count / taken });
    }
    return measured;
  } finally {
    await server.stop();
  }
}

async function start(variant) {
  const child = fork(fileURLToPath(new URL("server.mjs", import.meta.url)), [variant, String(SESSIONS)], {
    env: { ...process.env, NODE_ENV: "production" },
    stdio: ["ignore", "ignore", "pipe", "ipc"],
  });
  let complaints = "";
  child.stderr.on("data", (chunk) => {
    complaints += chunk;
  });
  const ended = new Promise((resolve) => child.once("close", resolve));
  const answer = () =>
    new Promise((resolve, reject) => {
      child.once("message", resolve);
      ended.then((code) => reject(new Error(`the ${variant} server ended with ${code}\n${complaints}`)));
    });
  return {
    answer: answer(),
    ask(question) {
      child.send(question);
      return answer();
    },
    async stop() {
      if (child.connected) child.send("stop");
      const clock = setTimeout(() => child.kill("SIGKILL"), 10_000);
      await ended;
      clearTimeout(clock);
    },
  };
}

/** A request as browsers send it, as bytes. */
function message(method, path, port, cookie) {
  const lines = [
    `${method} ${path} HTTP/1.1`,
    `Host: 127.0.0.1:${port}`,
    "Connection: keep-alive",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept: application/json",
    "Accept-Language: en-GB,en;q=0.5",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Sec-Fetch-Dest: empty",
    "Sec-Fetch-Mode: cors",
    "Sec-Fetch-Site: same-origin",
    ...(method === "POST" ? [`Origin: http://127.0.0.1:${port}`, "Content-Length: 0"] : []),
    ...(cookie === undefined ? [] : [`Cookie: ${cookie}`]),
  ];
  return Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1");
}

function only(names, all) {
  if (names === undefined) return all;
  return Object.fromEntries(
    names.split(",").map((name) => {
      if (!Object.hasOwn(all, name)) throw new Error(`there is no ${name}, only ${Object.keys(all).join(", ")}`);
      return [name, all[name]];
    }),
  );
}

function keep(results) {
  const file = new URL("README.md", import.meta.url);
  const text = readFileSync(file, "utf8");
  const kept = text.replace(/(<!-- results -->\n)[\s\S]*(<!-- end of results -->)/, `$1\n${results}\n\n$2`);
  writeFileSync(file, kept);
}
