import { randomBytes } from "node:crypto";
import { freePorts, untilItHolds } from "./processes.ts";
import { askRedis, type OwnRedis, redisVersion, startRedis } from "./redis.ts";
import type { Service } from "./service.ts";

/** A Redis Cluster; unless `REDIS_CLUSTER_URL` names a node of one, it is 3 primaries and 3 replicas of our own. */
export const redisCluster: Service = {
  name: "redis-cluster",
  title: "Redis Cluster",
  variable: "REDIS_CLUSTER_URL",
  version: redisVersion,
  start: () => startRedisCluster(),
};

export interface OwnRedisCluster {
  /** Of one node, which tells clients about the others. */
  readonly url: string;
  readonly primaries: readonly OwnRedis[];
  /** The replica of each primary, in the same order. */
  readonly replicas: readonly OwnRedis[];
  stop(): Promise<void>;
}

const PRIMARIES = 3;
const SLOTS = 16_384;

/** Starts a cluster of 3 primaries, each with a replica, and waits until it serves. */
export async function startRedisCluster(settings: readonly string[] = []): Promise<OwnRedisCluster> {
  const soon = ["--cluster-node-timeout", "1000", "--repl-diskless-sync-delay", "0"];
  const options = ["--cluster-enabled", "yes", ...soon, ...settings];
  const ports = await freePorts(2 * PRIMARIES);
  const members = ports.map((port) => ({ id: randomBytes(20).toString("hex"), port }));
  const begin = (member: Member) => startRedis(options, member.port, { "nodes.conf": knownNodes(members, member) });
  const outcomes = await Promise.allSettled(members.map(begin));
  const nodes = outcomes.flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value] : []));
  const stop = async () => {
    await Promise.all(nodes.map((node) => node.stop()));
  };
  try {
    for (const outcome of outcomes) if (outcome.status === "rejected") throw outcome.reason;
    await untilItHolds(() => Promise.all(nodes.map(assertServes)), 30_000);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    url: (nodes[0] as OwnRedis).url,
    primaries: nodes.slice(0, PRIMARIES),
    replicas: nodes.slice(PRIMARIES),
    stop,
  };
}

interface Member {
  readonly id: string;
  readonly port: number;
}

/** What a node of a cluster keeps on its disk. Given to all from the start, they need not get to know each other. */
function knownNodes(members: readonly Member[], self: Member): string {
  const lines = members.map((member, index) => {
    const primary = index < PRIMARIES ? undefined : members[index - PRIMARIES];
    const address = `127.0.0.1:${member.port}@${member.port + 10_000}`;
    const flags = `${member === self ? "myself," : ""}${primary === undefined ? "master" : "slave"}`;
    const slots = primary === undefined ? ` ${firstSlot(index)}-${firstSlot(index + 1) - 1}` : "";
    const epoch = (index % PRIMARIES) + 1;
    return `${member.id} ${address} ${flags} ${primary?.id ?? "-"} 0 0 ${epoch} connected${slots}\n`;
  });
  return `${lines.join("")}vars currentEpoch ${PRIMARIES} lastVoteEpoch 0\n`;
}

const firstSlot = (index: number): number => Math.ceil((SLOTS * index) / PRIMARIES);

async function assertServes({ url }: OwnRedis): Promise<void> {
  if (!(await askRedis(url, "CLUSTER", "INFO")).includes("cluster_state:ok"))
    throw new Error("the cluster is not ready");
  const replication = await askRedis(url, "INFO", "replication");
  if (!/slave0:.*state=online|master_link_status:up/.test(replication)) throw new Error("a replica is not in step");
}
