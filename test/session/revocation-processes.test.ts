import { type ChildProcess, fork } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { RevocationSubject, WhenBehind } from "coatcheck";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import type { ServiceName } from "../services/service.ts";
import { describeWithService } from "../services/services.ts";
import { startTcpProxy } from "../services/tcp-proxy.ts";
import { drivers } from "../stores/redis/clients.ts";
import { deleteKeys } from "../stores/redis/keys.ts";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const names = { schema: `coatcheck_test_${randomBytes(6).toString("hex")}`, table: "" };
names.table = names.schema;

beforeAll(() => {
  if (!existsSync(here("../../dist/index.js"))) throw new Error("these tests use the built library: npm run build");
});

interface Settings {
  readonly kind: string;
  readonly url: string;
  /** `false`: its clock keeps no appointment, so it never polls. */
  readonly polls: boolean;
  readonly whenBehind?: WhenBehind;
}

/** A process of its own, and questions to it. */
class Process {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, (message: { answer?: unknown; error?: string }) => void>();
  #last = 0;

  private constructor(settings: Settings) {
    this.#child = fork(here("revocation-process.mjs"), [JSON.stringify({ ...settings, names })]);
    this.#child.on("message", (message: { id: number; answer?: unknown; error?: string }) =>
      this.#waiting.get(message.id)?.(message),
    );
    onTestFinished(() => void this.#child.kill("SIGKILL"));
  }

  static async start(settings: Settings): Promise<Process> {
    const started = new Process(settings);
    await new Promise<void>((resolve, reject) => {
      started.#waiting.set(0, () => resolve());
      started.#child.once("exit", (code) => reject(new Error(`the process ended with ${code}`)));
    });
    return started;
  }

  ask<Answer>(question: string, argument?: unknown): Promise<Answer> {
    const id = ++this.#last;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, ({ answer, error }) => {
        this.#waiting.delete(id);
        if (error === undefined) resolve(answer as Answer);
        else reject(new Error(error));
      });
      this.#child.send({ id, question, argument });
    });
  }

  /** Closes its sessions; its exit code, once it has ended by itself. */
  async close(): Promise<number | null> {
    const ended = once(this.#child, "exit");
    await this.ask("close").catch(() => {});
    return (await ended)[0];
  }
}

/** Three processes: one ends all sessions of a user, and the other two refuse a copy of one. */
async function revokedEverywhere(settings: Settings): Promise<void> {
  const [one, ...others] = (await Promise.all([1, 2, 3].map(() => Process.start(settings)))) as [Process, ...Process[]];
  const copy = await one.ask<RevocationSubject>("login", "ada");
  for (const other of others) expect(await other.ask("check", copy)).toBe(false);
  const refused = others.map((other) => other.ask<number>("refused", copy));
  const begun = await one.ask<number>("revokeAll", "ada");
  const delays = (await Promise.all(refused)).map((at) => at - begun);
  console.log(`${settings.kind}: refused elsewhere ${delays.join(" and ")} ms after the revocation began`);
  for (const other of others) expect(await other.ask("check", copy)).toBe(true);
  expect(await Promise.all([one, ...others].map((each) => each.close()))).toEqual([0, 0, 0]);
}

describe("LO-09: what one process revokes the others refuse", () => {
  const folder = mkdtempSync(join(tmpdir(), "coatcheck-revocation-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it("sqlite, by polling", () => revokedEverywhere({ kind: "sqlite", url: join(folder, "a.db"), polls: true }));

  const services: [ServiceName, string, boolean][] = [
    ["redis", "without any polling", false],
    ["redis-cluster", "without any polling", false],
    ["postgres", "without any polling", false],
    ["mysql", "by polling", true],
    ["mongodb", "by polling", true],
  ];
  for (const [service, how, polls] of services)
    describeWithService(service, ({ url }) => {
      it(`${service}, ${how}`, async () => {
        const database = await prepared(service, url);
        await revokedEverywhere({ kind: service.replace("-cluster", ""), url: database, polls });
      });
    });
});

describeWithService("redis", async ({ url }) => {
  describe.each<[WhenBehind]>([["ask-store"], ["accept"]])(
    "LO-09: a process that is cut off, under %s",
    (whenBehind) => {
      it("does as it says, and catches up when it is connected again", async () => {
        await prepared("redis", url);
        const proxy = await startTcpProxy(url, 6379);
        onTestFinished(() => proxy.close());
        const one = await Process.start({ kind: "redis", url, polls: true });
        const other = await Process.start({ kind: "redis", url: proxy.url, polls: true, whenBehind });
        const copy = await one.ask<RevocationSubject>("login", "ada");
        expect(await other.ask("check", copy)).toBe(false);
        proxy.refuse();
        await one.ask("revokeAll", "ada");
        if (whenBehind === "ask-store") {
          // Until the feed counts as behind, the copy is good.
          const unavailable = () =>
            other.ask("check", copy).then(
              () => "good",
              (error: Error) => error.message,
            );
          await expect.poll(unavailable, { timeout: 15_000 }).toBe("store_unavailable");
        } else expect(await other.ask("check", copy)).toBe(false);
        proxy.restore();
        await other.ask("refused", copy);
        expect(await other.ask("check", copy)).toBe(true);
        expect(await other.close()).toBe(0);
      });
    },
  );
});

/** Makes room on a server that others use too, and clears up afterwards; the URL to use. */
async function prepared(service: ServiceName, url: string): Promise<string> {
  if (service === "redis" || service === "redis-cluster") {
    onTestFinished(async () => {
      const [driver] = drivers as [(typeof drivers)[0]];
      const { client, end } = await (service === "redis" ? driver.single(url) : driver.cluster(url));
      await deleteKeys(client, `${names.table}:`);
      end();
    });
  } else if (service === "postgres") {
    onTestFinished(async () => {
      const client = new pg.Client(url);
      await client.connect();
      await client.query(`DROP SCHEMA IF EXISTS "${names.schema}" CASCADE`);
      await client.end();
    });
  } else if (service === "mysql") {
    const { createConnection } = await import("mysql2/promise");
    const connection = await createConnection(url);
    await connection.query(`CREATE DATABASE \`${names.schema}\``);
    onTestFinished(async () => {
      await connection.query(`DROP DATABASE \`${names.schema}\``);
      await connection.end();
    });
    return new URL(`/${names.schema}`, url).href;
  } else if (service === "mongodb") {
    const { MongoClient } = await import("mongodb");
    const client = new MongoClient(url);
    onTestFinished(async () => {
      await client.db(names.schema).dropDatabase();
      await client.close();
    });
    return new URL(`/${names.schema}`, url).href;
  }
  return url;
}
