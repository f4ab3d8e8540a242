import { Cluster, Redis } from "ioredis";
import { Cluster as Cluster5, Redis as Redis5 } from "ioredis5";
import { createClient, createCluster } from "redis";
import { createClient as createClient5, createCluster as createCluster5 } from "redis5";
import type { RedisClient } from "../../../src/stores/redis/commands.ts";

/** A connected client of some driver, and its end. */
export interface OpenClient {
  readonly client: RedisClient;
  end(): void;
}

/** How a driver opens a client for one server, or for a cluster by one of its nodes. */
export interface Driver {
  readonly name: string;
  single(url: string): Promise<OpenClient>;
  /** `through` replaces the port of a node of the cluster, such as by that of a proxy. */
  cluster(url: string, through?: (port: number) => number): Promise<OpenClient>;
}

interface NodeRedisLike {
  on(event: "error", listener: () => void): unknown;
  connect(): Promise<unknown>;
  destroy(): void;
}

async function nodeRedis(client: NodeRedisLike): Promise<OpenClient> {
  client.on("error", () => {});
  await client.connect();
  return { client: client as unknown as RedisClient, end: () => client.destroy() };
}

interface IoredisLike {
  on(event: "error", listener: () => void): unknown;
  connect(): Promise<unknown>;
  disconnect(): void;
}

async function ioredis(client: IoredisLike): Promise<OpenClient> {
  client.on("error", () => {});
  await client.connect();
  return { client: client as unknown as RedisClient, end: () => client.disconnect() };
}

const lazy = { lazyConnect: true };
const unchanged = (port: number): number => port;

/** The option of node-redis that replaces addresses. */
const nodeAddressMap = (through: (port: number) => number) => (address: string) => ({
  host: "127.0.0.1",
  port: through(Number(address.slice(address.lastIndexOf(":") + 1))),
});

/** The option of ioredis that replaces addresses. */
const natMap = (through: (port: number) => number) => (key: string) => nodeAddressMap(through)(key);

/** Every driver that the store supports, in its oldest and its newest major version. */
export const drivers: readonly Driver[] = [
  {
    name: "node-redis 6",
    single: (url) => nodeRedis(createClient({ url })),
    cluster: (url, through = unchanged) =>
      nodeRedis(createCluster({ rootNodes: [{ url }], nodeAddressMap: nodeAddressMap(through) })),
  },
  {
    name: "node-redis 5",
    single: (url) => nodeRedis(createClient5({ url })),
    cluster: (url, through = unchanged) =>
      nodeRedis(createCluster5({ rootNodes: [{ url }], nodeAddressMap: nodeAddressMap(through) })),
  },
  {
    name: "ioredis 6",
    single: (url) => ioredis(new Redis(url, lazy)),
    cluster: (url, through = unchanged) => ioredis(new Cluster([url], { ...lazy, natMap: natMap(through) })),
  },
  {
    name: "ioredis 5",
    single: (url) => ioredis(new Redis5(url, lazy)),
    cluster: (url, through = unchanged) => ioredis(new Cluster5([url], { ...lazy, natMap: natMap(through) })),
  },
];
