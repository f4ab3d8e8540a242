import { once } from "node:events";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { expect, test } from "vitest";
import { ShopDatabase } from "../../playground/src/database.ts";
import { temporaryFolder } from "./support.ts";

/** Holds a new file's write lock for 200 ms, as another process does that opens the shop at the same moment. */
const HOLDER = `
  const { parentPort, workerData } = require("node:worker_threads");
  const Libsql = require("libsql");
  const db = new Libsql(workerData);
  db.exec("BEGIN IMMEDIATE");
  parentPort.postMessage("locked");
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
  db.exec("COMMIT");
  db.close();
`;

test("opens a new file that another process is opening", async () => {
  const folder = temporaryFolder();
  const holder = new Worker(HOLDER, { eval: true, workerData: join(folder, "shop.db") });
  await once(holder, "message");
  const ended = once(holder, "exit");
  const database = new ShopDatabase(folder);
  expect(database.products().length).toBeGreaterThan(0);
  database.close();
  expect(await ended).toEqual([0]);
});
