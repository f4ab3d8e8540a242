import { type Clock, type Duration, seconds } from "../../session/clock.ts";
import {
  commandsOf,
  type IoredisClient,
  type IoredisCluster,
  type RedisCommands,
  type Send,
  withoutArguments,
} from "./commands.ts";

/** A package that speaks with Redis. */
export type RedisDriver = "redis" | "ioredis";

/** How long a connection may take to come about. */
const CONNECT_TIMEOUT: Duration = seconds(2);
/** A connection on which a command waits this long is dead, whatever the system says. */
const ANSWER_TIMEOUT: Duration = seconds(5);
/** How long commands fail at once after a connection has failed, before the next is tried. */
const PAUSE: Duration = 100;

interface Connection {
  readonly commands: RedisCommands;
  readonly isReady: () => boolean;
  readonly destroy: () => void;
}

/**
 * A server by URL. It is connected to when a command needs it and no connection stands, and nothing is queued: a command
 * that cannot be sent now rejects, and so does one whose connection breaks.
 */
export class UrlConnection implements RedisCommands {
  readonly keyPrefix = "";
  readonly #url: string;
  readonly #driver: RedisDriver | undefined;
  readonly #clock: Clock;
  #connecting: Promise<Connection> | undefined;
  #connection: Connection | undefined;
  #closed = false;

  /** @throws TypeError; the URL may hold a password, so nothing of it is in the message */
  constructor(url: string, driver: RedisDriver | undefined, clock: Clock) {
    if (!/^rediss?:\/\/./i.test(url) || !URL.canParse(url))
      throw new TypeError("redisStore: write redis://user:password@host:port/database, or rediss:// for TLS");
    this.#url = url;
    this.#driver = driver;
    this.#clock = clock;
  }

  async send(key: string, args: readonly string[]): Promise<unknown> {
    const connection = await this.#connected();
    return this.#watched(connection, connection.commands.send(key, args));
  }

  async inOrder<Result>(first: () => Promise<unknown>, second: () => Promise<Result>): Promise<Result> {
    return (await this.#connected()).commands.inOrder(first, second);
  }

  async primaries(): Promise<readonly Send[]> {
    const connection = await this.#connected();
    const primaries = await connection.commands.primaries();
    return primaries.map((send) => (args) => this.#watched(connection, send(args)));
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#connecting?.catch(() => {});
    this.#connection?.destroy();
  }

  async #connected(): Promise<Connection> {
    if (this.#closed) throw new Error("the store has been closed");
    if (this.#connection?.isReady()) return this.#connection;
    this.#connecting ??= this.#connect();
    return this.#connecting;
  }

  async #connect(): Promise<Connection> {
    try {
      this.#connection?.destroy();
      this.#connection = await open(this.#url, this.#driver);
      this.#connecting = undefined;
      return this.#connection;
    } catch (error) {
      this.#clock.schedule(() => {
        this.#connecting = undefined;
      }, PAUSE);
      throw error;
    }
  }

  async #watched<Reply>(connection: Connection, reply: Promise<Reply>): Promise<Reply> {
    const cancel = this.#clock.schedule(() => connection.destroy(), ANSWER_TIMEOUT);
    try {
      return await reply;
    } catch (error) {
      // After a failover the same name leads to another server, but only a new connection.
      if (error instanceof Error && error.message.startsWith("READONLY")) connection.destroy();
      throw error;
    } finally {
      cancel();
    }
  }
}

async function open(url: string, driver: RedisDriver | undefined): Promise<Connection> {
  const [name, module] = await load(driver);
  const { single, cluster } = name === "redis" ? nodeRedis(module as NodeRedis) : ioredis(module as Ioredis);
  const connection = await single(url);
  if (!(await isCluster(connection.commands))) return connection;
  connection.destroy();
  return cluster(url);
}

async function load(driver: RedisDriver | undefined): Promise<[RedisDriver, unknown]> {
  for (const name of driver === undefined ? (["redis", "ioredis"] as const) : [driver]) {
    try {
      return [name, name === "redis" ? await import("redis") : await import("ioredis")];
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

async function isCluster(commands: RedisCommands): Promise<boolean> {
  try {
    return /^cluster_enabled:1/m.test(String(await commands.send("", ["INFO", "cluster"])));
  } catch {
    // A user who may not ask has a server that is none, or passes a client.
    return false;
  }
}

type NodeRedis = typeof import("redis");
type Ioredis = typeof import("ioredis");
type Opener = (url: string) => Promise<Connection>;

function nodeRedis({ createClient, createCluster }: NodeRedis): { single: Opener; cluster: Opener } {
  const socket = { connectTimeout: CONNECT_TIMEOUT };
  return {
    async single(url) {
      const client = createClient({ url, disableOfflineQueue: true, socket: { ...socket, reconnectStrategy: false } });
      client.on("error", () => {});
      await client.connect();
      return { commands: commandsOf(client), isReady: () => client.isReady, destroy: () => client.destroy() };
    },
    async cluster(url) {
      const { username, password, protocol } = new URL(url);
      const client = createCluster({
        rootNodes: [{ url }],
        defaults: {
          ...(username === "" ? undefined : { username: decodeURIComponent(username) }),
          ...(password === "" ? undefined : { password: decodeURIComponent(password) }),
          disableOfflineQueue: true,
          socket: protocol === "rediss:" ? { ...socket, tls: true } : socket,
        },
      });
      client.on("error", () => {});
      await client.connect();
      return { commands: commandsOf(client as never), isReady: () => client.isOpen, destroy: () => client.destroy() };
    },
  };
}

function ioredis({ Redis, Cluster }: Ioredis): { single: Opener; cluster: Opener } {
  const common = { connectTimeout: CONNECT_TIMEOUT, enableOfflineQueue: false, lazyConnect: true };
  const opened = async (client: { on: unknown } & (IoredisClient | IoredisCluster)): Promise<Connection> => {
    const driver = client as IoredisClient & {
      readonly status: string;
      on(event: "error", listener: (error: unknown) => void): void;
      connect(): Promise<void>;
      disconnect(): void;
    };
    let reason: unknown;
    driver.on("error", (error) => {
      reason = error;
    });
    try {
      await driver.connect();
    } catch (error) {
      driver.disconnect();
      throw withoutArguments(reason ?? error);
    }
    return {
      commands: commandsOf(client),
      isReady: () => driver.status === "ready",
      destroy: () => driver.disconnect(),
    };
  };
  return {
    single: (url) => {
      const once = { retryStrategy: () => null, autoResendUnfulfilledCommands: false, maxRetriesPerRequest: 0 };
      return opened(new Redis(url, { ...common, ...once }));
    },
    cluster: (url) => {
      const { username, password, protocol } = new URL(url);
      const redisOptions = {
        ...(username === "" ? undefined : { username: decodeURIComponent(username) }),
        ...(password === "" ? undefined : { password: decodeURIComponent(password) }),
        ...(protocol === "rediss:" ? { tls: {} } : undefined),
        connectTimeout: CONNECT_TIMEOUT,
      };
      return opened(new Cluster([url], { ...common, redisOptions }));
    },
  };
}
