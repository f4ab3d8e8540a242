import { randomBytes } from "../../session/crypto.ts";
import type { Line } from "../subscription.ts";
import { ofIoredisNode, ofNodeRedisNode } from "./subscribe.ts";

/** Sends one command and answers with its reply: texts, numbers, null, and lists or maps of them. */
export type Send = (args: readonly string[]) => Promise<unknown>;

/** All that the store knows of a driver. */
export interface RedisCommands {
  /** Sends a command about one key to the primary that holds it. */
  send(key: string, args: readonly string[]): Promise<unknown>;
  /**
   * Calls both, and answers as `second` does once both have succeeded. What `first` sends is carried out before what
   * `second` sends: without waiting in between where all goes over one connection.
   */
  inOrder<Result>(first: () => Promise<unknown>, second: () => Promise<Result>): Promise<Result>;
  /** Each primary on its own, for SCAN. */
  primaries(): Promise<readonly Send[]>;
  /**
   * Listens to a channel over a connection of its own: `heard` is called for each message, `ended` when the connection
   * breaks. Absent where the client can open none.
   */
  readonly subscribe?: (channel: string, heard: () => void, ended: () => void) => Promise<Line>;
  /** What the client itself puts in front of every key, but not into the pattern of SCAN. */
  readonly keyPrefix: string;
}

/**
 * A client of `redis` (node-redis; `createClient`, `createClientPool`, `createCluster`, `createSentinel`) or of `ioredis`
 * (`Redis`, also with Sentinel, and `Cluster`).
 */
export type RedisClient =
  | IoredisClient
  | IoredisCluster
  | NodeRedisClient
  | NodeRedisCluster<never>
  | NodeRedisSentinel;

export interface IoredisClient {
  call(command: string, args: string[]): Promise<unknown>;
  readonly options: object;
}

export interface IoredisCluster {
  call(command: string, args: string[]): Promise<unknown>;
  nodes(role: "master"): IoredisClient[];
  readonly options: object;
}

export interface NodeRedisClient {
  sendCommand(args: string[]): Promise<unknown>;
}

export interface NodeRedisCluster<Node> {
  sendCommand(firstKey: string, isReadonly: boolean, args: string[]): Promise<unknown>;
  readonly masters: readonly object[];
  nodeClient(node: Node): NodeRedisClient | Promise<NodeRedisClient>;
}

export interface NodeRedisSentinel {
  sendCommand(isReadonly: boolean, args: string[]): Promise<unknown>;
  getMasterNode(): object | undefined;
}

/**
 * The commands of a client, whichever it is: told by what it can do, so that its package need not be loaded.
 *
 * @throws TypeError for what is no client, or one that would read from replicas, which lag behind
 */
export function commandsOf(client: RedisClient): RedisCommands {
  if (typeof client !== "object" || client === null) throw notAClient();
  if ("call" in client && typeof client.call === "function")
    return "nodes" in client ? ofIoredisCluster(client) : ofIoredis(client);
  if (!("sendCommand" in client) || typeof client.sendCommand !== "function") throw notAClient();
  if ("masters" in client) return ofNodeRedisCluster(client as NodeRedisCluster<object>);
  if ("getMasterNode" in client) return ofNodeRedisSentinel(client);
  return ofNodeRedis(client as NodeRedisClient);
}

const notAClient = () =>
  new TypeError("redisStore needs a URL, or a client of the package redis (5 or newer) or ioredis (5 or newer)");

function ofIoredis(client: IoredisClient): RedisCommands {
  const send = ioredisSend(client);
  return { ...single(send, onOneConnection, keyPrefixOf(client)), subscribe: ofIoredisNode(() => client) };
}

function ofIoredisCluster(client: IoredisCluster): RedisCommands {
  const { scaleReads = "master" } = client.options as { scaleReads?: unknown };
  if (scaleReads !== "master")
    throw new TypeError('redisStore needs an ioredis cluster with scaleReads: "master"; replicas lag behind');
  const send = ioredisSend(client);
  return {
    send: (_key, args) => send(args),
    inOrder: onSeveralConnections,
    primaries: async () => client.nodes("master").map(ioredisSend),
    subscribe: ofIoredisNode(() => anyOf(client.nodes("master"))),
    keyPrefix: keyPrefixOf(client),
  };
}

function ioredisSend(client: Pick<IoredisClient, "call">): Send {
  return ([command, ...args]) => client.call(command as string, args).catch(rethrowWithoutArguments);
}

function keyPrefixOf(client: { readonly options: object }): string {
  return (client.options as { keyPrefix?: string }).keyPrefix ?? "";
}

function ofNodeRedis(client: NodeRedisClient): RedisCommands {
  const send: Send = (args) => client.sendCommand(args as string[]).catch(rethrowWithoutArguments);
  const isPool = "totalClients" in client;
  if (isPool) return single(send, onSeveralConnections);
  return { ...single(send, onOneConnection), subscribe: ofNodeRedisNode(() => client) };
}

function ofNodeRedisCluster(client: NodeRedisCluster<object>): RedisCommands {
  return {
    send: (key, args) => client.sendCommand(key, false, args as string[]).catch(rethrowWithoutArguments),
    inOrder: onSeveralConnections,
    primaries: async () =>
      client.masters.map((node) => async (args) => {
        const primary = await client.nodeClient(node);
        return primary.sendCommand(args as string[]).catch(rethrowWithoutArguments);
      }),
    // What is published on one node of a cluster is heard on every one.
    subscribe: ofNodeRedisNode(() => client.nodeClient(anyOf(client.masters))),
    keyPrefix: "",
  };
}

function ofNodeRedisSentinel(client: NodeRedisSentinel): RedisCommands {
  const send: Send = (args) => client.sendCommand(false, args as string[]).catch(rethrowWithoutArguments);
  return single(send, onSeveralConnections);
}

function single(send: Send, inOrder: RedisCommands["inOrder"], keyPrefix = ""): RedisCommands {
  return { send: (_key, args) => send(args), inOrder, primaries: async () => [send], keyPrefix };
}

/** Another one each time, in case one is down. */
const anyOf = <Node>(nodes: readonly Node[]): Node => nodes[(randomBytes(1)[0] as number) % nodes.length] as Node;

async function onOneConnection<Result>(first: () => Promise<unknown>, second: () => Promise<Result>): Promise<Result> {
  const [, result] = await Promise.all([first(), second()]);
  return result;
}

async function onSeveralConnections<Result>(
  first: () => Promise<unknown>,
  second: () => Promise<Result>,
): Promise<Result> {
  await first();
  return second();
}

function rethrowWithoutArguments(error: unknown): never {
  throw withoutArguments(error);
}

/** ioredis hangs the command with its arguments, session data or a password, on its errors; those end up in logs. */
export function withoutArguments(error: unknown): unknown {
  if (typeof error === "object" && error !== null && "command" in error) delete error.command;
  return error;
}
