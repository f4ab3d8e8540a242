// coatcheck/express-session against express-session, on the same stores and the same small shop. Prints tables for
// docs/express-session.md. `--quick` for a short look; `--rounds`, `--requests`, `--variants a,b`, `--scenarios a,b`.
import { fork } from "node:child_process";
import { cpus } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { load } from "./load.mjs";

const { values: options } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    rounds: { type: "string" },
    requests: { type: "string" },
    variants: { type: "string" },
    scenarios: { type: "string" },
  },
});
const rounds = Number(options.rounds ?? (options.quick ? 3 : 7));
const count = Number(options.requests ?? (options.quick ? 2000 : 8000));
const SESSIONS = 500;

const stores = only(options.variants, {
  memory: "its MemoryStore",
  json: "a store of JSON texts, with `touch`",
  redis: "connect-redis, Redis on the same machine",
});
const scenarios = only(options.scenarios, {
  read: { title: "GET that reads the session", method: "GET", path: "/cart", cookie: true },
  unseen: { title: "GET that does not look at the session", method: "GET", path: "/about", cookie: true },
  write: { title: "POST that changes one key of the session", method: "POST", path: "/cart/add", cookie: true },
  anonymous: { title: "GET of a visitor without a cookie", method: "GET", path: "/cart", cookie: false },
});
const packages = { genuine: "express-session", ours: "coatcheck/express-session" };

const runs = [];
for (let round = 0; round < rounds; round++) {
  for (const store of Object.keys(stores)) {
    const order = Object.keys(packages);
    if (round % 2 === 1) order.reverse();
    for (const name of order) runs.push(...(await measure(name, store)));
  }
  process.stderr.write(`round ${round + 1} of ${rounds}\n`);
}
console.log(report());

/** All scenarios of one package on one store, in a process of its own. */
async function measure(name, store) {
  const child = fork(
    fileURLToPath(new URL("express-session-server.mjs", import.meta.url)),
    [name, store, `${SESSIONS}`],
    {
      env: { ...process.env, NODE_ENV: "production", NODE_NO_WARNINGS: "1" },
    },
  );
  const answer = () =>
    new Promise((resolve, reject) => {
      child.once("message", resolve);
      child.once("exit", (code) => reject(new Error(`the server of ${name} on ${store} ended with ${code}`)));
    });
  try {
    const { port, cookies } = await answer();
    const measured = [];
    for (const [scenario, { method, path, cookie }] of Object.entries(scenarios)) {
      const requests = (cookie ? cookies : [undefined]).map((value) => message(method, path, port, value));
      await load({ port, requests, count: Math.ceil(count / 2) });
      child.send("cpu");
      const before = await answer();
      const taken = await load({ port, requests, count });
      child.send("cpu");
      const after = await answer();
      const cpu = (after.user + after.system - before.user - before.system) / count;
      measured.push({ name, store, scenario, cpu, rate: count / taken });
    }
    return measured;
  } finally {
    child.removeAllListeners("exit");
    const ended = new Promise((resolve) => child.once("exit", resolve));
    const clock = setTimeout(() => child.kill("SIGKILL"), 10_000);
    if (child.connected) child.send("stop");
    await ended;
    clearTimeout(clock);
  }
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
    ...(method === "POST" ? ["Content-Length: 0"] : []),
    ...(cookie === undefined ? [] : [`Cookie: ${cookie}`]),
  ];
  return Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1");
}

function report() {
  const lines = [
    `Node ${process.versions.node}, ${cpus().length} × ${cpus()[0]?.model.trim() ?? "unknown CPU"}, Express 5. ` +
      `Medians of ${rounds} rounds, ${count} requests each over 16 connections; the ratio is between neighbours in time, ` +
      "with the smallest and the largest.",
  ];
  for (const [store, title] of Object.entries(stores)) {
    lines.push(
      "",
      `On ${title}:`,
      "",
      "| | express-session, requests/s | coatcheck, requests/s | times as many | CPU per request |",
      "| --- | --- | --- | --- | --- |",
    );
    for (const [scenario, { title }] of Object.entries(scenarios)) {
      const of = (name, field) =>
        runs
          .filter((run) => run.store === store && run.scenario === scenario && run.name === name)
          .map((run) => run[field]);
      const [genuine, ours] = [of("genuine", "rate"), of("ours", "rate")];
      const ratios = ours.map((rate, round) => rate / genuine[round]).sort((a, b) => a - b);
      const ratio = `**${median(ratios).toFixed(2)}** (${ratios[0].toFixed(2)} to ${ratios.at(-1).toFixed(2)})`;
      const cpu = `${median(of("genuine", "cpu")).toFixed(0)} → ${median(of("ours", "cpu")).toFixed(0)} µs`;
      lines.push(`| ${title} | ${median(genuine).toFixed(0)} | ${median(ours).toFixed(0)} | ${ratio} | ${cpu} |`);
    }
  }
  return lines.join("\n");
}

function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
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
