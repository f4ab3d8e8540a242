import { adapterSuite } from "./adapter-suite.ts";
import { adapters } from "./adapters.ts";

for (const adapter of adapters) adapterSuite(adapter);
