import { type Duration, seconds } from "../../session/clock.ts";
import { commandsOf, type RedisCommands } from "./commands.ts";

/** A package that speaks with Redis. */
export type RedisDriver = "redis" | "ioredis";

/** A client that the store opened by itself. */
export interface OpenedClient {
  readonly commands: RedisCommands;
  /** Whether commands can be sent now. Once `false` it stays so. */
  isReady(): boolean;
  /** Ends it; commands under way reject. Calling it again does nothing. */
  destroy(): void;
}

/** A client of either package that is not connected yet. */
interface Unconnected extends OpenedClient {
  /** Rejects with what is wrong with the server. */
  connect(): Promise<unknown>;
}

interface Opener {
  single(url: string): Unconnected;
  cluster(url: string): Unconnected;
}

const CONNECT_TIMEOUT: Duration = seconds(2);

/**
 * Opens a client that neither queues nor connects again by itself, or for a cluster one that follows its nodes. `onClient`
 * is given what ends each client that is made on the way. Driver: the first that is installed, `redis` before `ioredis`.
 */
export async function openClient(
  url: string,
  driver: RedisDriver | undefined,
  onClient: (destroy: () => void) => void,
): Promise<OpenedClient> {
  const { single, cluster } = await load(driver);
  const connected = async (client: Unconnected) => {
    onClient(() => client.destroy());
    await client.connect();
    return client;
  };
  const client = await connected(single(url));
  if (!(await isCluster(client.commands))) return client;
  client.destroy();
  return connected(cluster(url));
}

async function isCluster(commands: RedisCommands): Promise<boolean> {
  try {
    return /^cluster_enabled:1/m.test(String(await commands.send("", ["INFO", "cluster"])));
  } catch {
    // Who may not ask has no cluster, or passes a client.
    return false;
  }
}

async function load(driver: RedisDriver | undefined): Promise<Opener> {
  for (const name of driver === undefined ? (["redis", "ioredis"] as const) : [driver]) {
    try {
      return name === "redis" ? nodeRedis(await import("redis")) : ioredis(await import("ioredis"));
    } catch (error) {
      if ((error as { code?: unknown }).code !== "ERR_MODULE_NOT_FOUND") throw error;
    }
  }
  throw new Error(
    driver === undefined
      ? 'redisStore(url) needs the package "redis" or "ioredis": npm install redis'
      : `redisStore(url) needs the package "${driver}": npm install ${driver}`,
  );
}

/** What the nodes of a cluster that are found later need of the URL. */
function accessOf(url: string): { username?: string; password?: string; tls: boolean } {
  const { username, password, protocol } = new URL(url);
  return {
    ...(username === "" ? undefined : { username: decodeURIComponent(username) }),
    ...(password === "" ? undefined : { password: decodeURIComponent(password) }),
    tls: protocol === "rediss:",
  };
}

function nodeRedis({
  createClient,
  createCluster,
}: Pick<typeof import("redis"), "createClient" | "createCluster">): Opener {
  const common = { disableOfflineQueue: true };
  const socket = { connectTimeout: CONNECT_TIMEOUT };
  const ignoreEvents = (client: { on(event: "error", listener: () => void): unknown }) => client.on("error", () => {});
  return {
    single(url) {
      const client = createClient({ url, ...common, socket: { ...socket, reconnectStrategy: false } });
      ignoreEvents(client);
      return {
        commands: commandsOf(client),
        connect: () => client.connect(),
        isReady: () => client.isReady,
        destroy: () => client.destroy(),
      };
    },
    cluster(url) {
      const { tls, ...access } = accessOf(url);
      const defaults = { ...common, ...access, socket: tls ? { ...socket, tls } : socket };
      const client = createCluster({ rootNodes: [{ url }], defaults });
      ignoreEvents(client);
      return {
        commands: commandsOf(client as never),
        connect: () => client.connect(),
        isReady: () => client.isOpen,
        destroy: () => client.destroy(),
      };
    },
  };
}

function ioredis({ Redis, Cluster }: Pick<typeof import("ioredis"), "Redis" | "Cluster">): Opener {
  const common = { enableOfflineQueue: false, lazyConnect: true };
  const socket = { connectTimeout: CONNECT_TIMEOUT };
  const opened = (client: InstanceType<typeof Redis | typeof Cluster>): Unconnected => {
    let reason: unknown;
    client.on("error", (error: unknown) => {
      reason = error;
    });
    return {
      commands: commandsOf(client as never),
      connect: () =>
        client.connect().catch((error: unknown) => {
          throw reason ?? error;
        }),
      isReady: () => client.status === "ready",
      destroy: () => client.disconnect(),
    };
  };
  return {
    single: (url) => opened(new Redis(url, { ...common, ...socket, retryStrategy: () => null })),
    cluster(url) {
      const { tls, ...access } = accessOf(url);
      const redisOptions = { ...socket, ...access, ...(tls ? { tls: {} } : undefined) };
      return opened(new Cluster([url], { ...common, redisOptions }));
    },
  };
}
