import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sqliteStore } from "coatcheck/sqlite";
import { modelTest } from "./model.ts";

modelTest({
  name: "SQLite",
  runs: 60,
  async createStore() {
    const directory = await mkdtemp(join(tmpdir(), "coatcheck-model-"));
    const path = join(directory, "sessions.db");
    // What survives a power cut is not what this is about.
    const open = () => sqliteStore(path, { synchronous: "normal" });
    const handles = [open(), open()] as const;
    return {
      handles,
      async reopen() {
        const store = open();
        return { store, close: async () => store.close?.() };
      },
      async close() {
        for (const store of handles) await store.close?.();
        await rm(directory, { recursive: true });
      },
    };
  },
});
