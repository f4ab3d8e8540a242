import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { openStore, type SessionStore } from "coatcheck/stores";
import { SEEDED } from "./accounts.ts";
import { createShop } from "./app.ts";
import { readConfig } from "./config.ts";

/** How long requests may take to finish when the server is told to stop, in milliseconds. */
const PATIENCE = 8000;

try {
  await start();
} catch (error) {
  console.error(`The shop cannot open: ${reasons(error).join(" ")}`);
  process.exit(1);
}

async function start(): Promise<void> {
  const { port, host, dataDir, storeUrl, strategy, sealKeys, trustProxy } = readConfig(process.env);
  const store = await workingStore(storeUrl);
  const shop = await createShop({ store, strategy, sealKeys, dataDir, trustProxy });
  const server = createServer(shop.app);
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject).listen(port, host, resolve);
  });

  const stop = () => {
    close(server)
      .then(() => shop.close())
      .then(
        () => process.exit(0),
        (error: unknown) => {
          console.error(error);
          process.exit(1);
        },
      );
  };
  process.once("SIGTERM", stop).once("SIGINT", stop);

  const name = ["127.0.0.1", "0.0.0.0", "::1", "::"].includes(host) ? "localhost" : host;
  console.log(`The shop is open at http://${name}:${(server.address() as AddressInfo).port}`);
  console.log(`Log in as ${SEEDED.username} with the password ${SEEDED.password}, or register.`);
}

/**
 * A store that has been used once. It connects and makes its tables then, which may take longer than a request would wait;
 * and better that it fails here than in front of a visitor.
 */
async function workingStore(url: string): Promise<SessionStore> {
  const store = await openStore(url);
  try {
    await store.listByUser("");
    return store;
  } catch (cause) {
    throw new Error("The session store does not work.", { cause });
  }
}

/** Takes no more requests and lets those under way finish. */
function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    // A connection that is kept alive becomes idle when its last request is answered.
    const idle = setInterval(() => server.closeIdleConnections(), 100);
    const late = setTimeout(() => server.closeAllConnections(), PATIENCE);
    server.close(() => {
      clearInterval(idle);
      clearTimeout(late);
      resolve();
    });
  });
}

/** What an error says, and what its cause says. */
function reasons(error: unknown): string[] {
  if (!(error instanceof Error)) return [String(error)];
  return [error.message, ...(error.cause === undefined ? [] : reasons(error.cause))];
}
