// Adds to one session's number so many times: node sqlite-incrementer.mjs <store module> <file> <id> <times>
const [module, file, id, times] = process.argv.slice(2);
const { sqliteStore } = await import(module);
const store = sqliteStore(file);
for (let done = 0; done < Number(times); ) {
  const record = await store.read(id);
  const n = String(Number(record.data.get("n") ?? "0") + 1);
  if ((await store.update(id, record.version, { set: new Map([["n", n]]) })) === "updated") done++;
}
await store.close();
