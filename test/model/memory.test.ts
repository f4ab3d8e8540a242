import { memoryStore } from "coatcheck/memory";
import { modelTest } from "./model.ts";

modelTest({
  name: "memory",
  runs: 150,
  createStore() {
    const store = memoryStore();
    return { handles: [store, store], reopen: async () => ({ store, close: async () => {} }), close: async () => {} };
  },
});
