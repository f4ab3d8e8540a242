// coatcheck/express-session against express-session, on the same stores and the same small shop. Prints tables for
// docs/express-session.md. `--quick` for a short look; `--rounds`, `--requests`, `--variants a,b`, `--scenarios a,b`.
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { load } from "./load.mjs";
import { startServer } from "./measured-server.mjs";
import { only, reversedIn } from "./options.mjs";
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
const rounds = Number(options.rounds ?? (options.quick ? 3 : 7));
const count = Number(options.requests ?? (options.quick ? 2000 : 8000));
/** Requests of one package before the other has its turn. Short, so that both see the same machine. */
const TURN = 400;
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
  for (const store of Object.keys(stores)) runs.push(...(await measure(round, store)));
  process.stderr.write(`round ${round + 1} of ${rounds}\n`);
}
console.log(report());

/** Both packages on one store, each in a fresh process, of which one works and the other waits. */
async function measure(round, store) {
  const servers = [];
  try {
    for (const name of reversedIn(round, Object.keys(packages))) servers.push(await start(name, store));
    const measured = [];
    for (const [scenario, { method, path, cookie }] of Object.entries(scenarios)) {
      const sums = servers.map(({ name, port, cookies, cpuUsage }) => {
        const requests = (cookie ? cookies : [undefined]).map((value) => message(method, path, port, value));
        return { name, port, requests, cpuUsage, cpu: 0, seconds: 0 };
      });
      for (const { port, requests } of sums) await load({ port, requests, count: Math.ceil(count / 2) });
      for (let done = 0, turn = 0; done < count; done += TURN, turn++)
        for (const sum of reversedIn(turn, sums)) await take(sum, Math.min(TURN, count - done));
      for (const { name, cpu, seconds } of sums)
        measured.push({ name, store, scenario, cpu: cpu / count, rate: count / seconds });
    }
    return measured;
  } finally {
    await Promise.all(servers.map((server) => server.stop()));
  }
}

/** One turn of one package. */
async function take(sum, count) {
  const before = await sum.cpuUsage();
  sum.seconds += await load({ port: sum.port, requests: sum.requests, count });
  const after = await sum.cpuUsage();
  sum.cpu += after.user + after.system - before.user - before.system;
}

async function start(name, store) {
  const args = [name, store, `${SESSIONS}`];
  return { name, ...(await startServer("express-session-server.mjs", args, { NODE_NO_WARNINGS: "1" })) };
}

function report() {
  const lines = [
    `Node ${process.versions.node}, ${cpus().length} × ${cpus()[0]?.model.trim() ?? "unknown CPU"}, Express 5. ` +
      `Medians of ${rounds} rounds, ${count} requests each over 16 connections, in turns of ${TURN}; the ratio is between both of ` +
      "one round, with the smallest and the largest.",
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
