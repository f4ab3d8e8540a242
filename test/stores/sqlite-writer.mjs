// Updates one session without end and prints each version that was acknowledged: node sqlite-writer.mjs <store module> <file> <id>
import { writeSync } from "node:fs";

const [module, file, id] = process.argv.slice(2);
const { sqliteStore } = await import(module);
const store = sqliteStore(file);
for (let version = 1; ; version++) {
  const outcome = await store.update(id, version, { set: new Map([["n", String(version + 1)]]) });
  if (outcome !== "updated") throw new Error(outcome);
  writeSync(1, `${version + 1}\n`);
}
