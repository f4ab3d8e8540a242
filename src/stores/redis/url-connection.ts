import { type Clock, type Duration, seconds } from "../../session/clock.ts";
import type { Line } from "../subscription.ts";
import { type RedisCommands, type Send, withoutArguments } from "./commands.ts";
import { type OpenedClient, openClient, type RedisDriver } from "./open-client.ts";

/** A connection that takes this long to come about, or on which a command waits this long, is dead. */
const ANSWER_TIMEOUT: Duration = seconds(5);
/** How long commands fail at once after a connection has failed, before the next is tried. */
const PAUSE: Duration = 100;

/**
 * A server by URL. It is connected to when a command needs it and no connection stands, and nothing is queued: a command
 * that cannot be sent now rejects, and so does one whose connection breaks.
 */
export class UrlConnection implements RedisCommands {
  readonly keyPrefix = "";
  readonly #url: string;
  readonly #driver: RedisDriver | undefined;
  readonly #clock: Clock;
  #opening: Promise<OpenedClient> | undefined;
  #client: OpenedClient | undefined;
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
    const client = await this.#ready();
    return this.#watched(client, client.commands.send(key, args));
  }

  async inOrder<Result>(first: () => Promise<unknown>, second: () => Promise<Result>): Promise<Result> {
    return (await this.#ready()).commands.inOrder(first, second);
  }

  async primaries(): Promise<readonly Send[]> {
    const client = await this.#ready();
    const primaries = await client.commands.primaries();
    return primaries.map((send) => (args) => this.#watched(client, send(args)));
  }

  async subscribe(channel: string, heard: () => void, ended: () => void): Promise<Line> {
    const { subscribe } = (await this.#ready()).commands;
    if (subscribe === undefined) throw new Error("this client opens no further connection");
    return subscribe(channel, heard, ended);
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#opening?.catch(() => {});
    this.#client?.destroy();
  }

  async #ready(): Promise<OpenedClient> {
    if (this.#closed) throw new Error("the store has been closed");
    if (this.#client?.isReady()) return this.#client;
    this.#opening ??= this.#open();
    return this.#opening;
  }

  async #open(): Promise<OpenedClient> {
    this.#client?.destroy();
    const begun: (() => void)[] = [];
    const client = openClient(this.#url, this.#driver, (destroy) => begun.push(destroy));
    try {
      this.#client = await this.#inTime(client);
      this.#opening = undefined;
      return this.#client;
    } catch (error) {
      for (const destroy of begun) destroy();
      this.#clock.schedule(() => {
        this.#opening = undefined;
      }, PAUSE);
      throw withoutArguments(error);
    }
  }

  #inTime<Result>(work: Promise<Result>): Promise<Result> {
    return new Promise((resolve, reject) => {
      const late = () => reject(new Error(`no connection within ${ANSWER_TIMEOUT} ms`));
      const cancel = this.#clock.schedule(late, ANSWER_TIMEOUT);
      work.then(resolve, reject).finally(cancel);
    });
  }

  async #watched<Reply>(client: OpenedClient, reply: Promise<Reply>): Promise<Reply> {
    const cancel = this.#clock.schedule(() => client.destroy(), ANSWER_TIMEOUT);
    try {
      return await reply;
    } catch (error) {
      // After a failover the same name leads to another server, but only a new connection does.
      if (error instanceof Error && error.message.startsWith("READONLY")) client.destroy();
      throw error;
    } finally {
      cancel();
    }
  }
}
