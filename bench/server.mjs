// One variant in a process of its own. The parent asks for its CPU time, and ends it.
import { createServer } from "node:http";
import { variants } from "./variants.mjs";

const [, , name, sessions] = process.argv;
// Never outlives the parent.
process.once("disconnect", () => process.exit());

const variant = await variants[name]();
const server = createServer(variant.app);
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const { port } = server.address();

process.on("message", async (message) => {
  if (message === "cpu") return process.send(process.cpuUsage());
  server.close();
  server.closeAllConnections();
  await variant.close();
  process.disconnect();
});
process.send({ port, cookies: await variant.seed(Number(sessions), port) });
