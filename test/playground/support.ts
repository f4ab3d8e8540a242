import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { memoryStore } from "coatcheck/memory";
import type { SessionStore } from "coatcheck/stores";
import express, { type Express } from "express";
import { afterAll, test } from "vitest";
import { SEEDED } from "../../playground/src/accounts.ts";
import { createShop, type RunningShop, type ShopOptions } from "../../playground/src/app.ts";
import { readConfig } from "../../playground/src/config.ts";

export { SEEDED };

/** How the shop of these tests keeps its sessions: the environment variable STRATEGY, `server` unless set. */
export const { strategy: STRATEGY } = readConfig(process.env);

/**
 * What sealed sessions do not promise (docs/strategies.md): that of two requests which assign the same key at the same time
 * neither is lost, anything about two processes, and a list.
 */
export const storedTest: (name: string, run: () => Promise<void>) => void =
  STRATEGY === "sealed" ? () => {} : (name, run) => test(name, run);

const endings: Array<() => unknown> = [];

afterAll(async () => {
  for (const end of endings.reverse()) await end();
});

/** Does this when the tests of the file are done; what was begun last ends first. */
export function atEnd(end: () => unknown): void {
  endings.push(end);
}

/** A folder that is gone when the tests are done. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "shop-"));
  atEnd(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export interface OpenShop extends RunningShop {
  readonly url: string;
  readonly store: SessionStore;
}

interface OpenOptions extends Partial<ShopOptions> {
  /** Adds routes of the test in front of the shop's. */
  readonly before?: (app: Express, shop: RunningShop) => void;
}

/** A shop of this process on a port of its own, closed when the tests are done. */
export async function openShop({ before, ...options }: OpenOptions = {}): Promise<OpenShop> {
  const { store = memoryStore(), dataDir = temporaryFolder() } = options;
  const shop = await createShop({ strategy: STRATEGY, ...options, store, dataDir });
  let { app } = shop;
  if (before !== undefined) {
    app = express();
    before(app, shop);
    app.use(shop.app);
  }
  const server = app.listen(0, "127.0.0.1");
  await once(server, "listening");
  atEnd(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    await shop.close();
  });
  return { ...shop, store, url: `http://localhost:${(server.address() as AddressInfo).port}` };
}

export interface Reply {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: a test says what it expects
  readonly json: any;
  /** `Set-Cookie` lines, but for those of snapshots, which come and go. */
  readonly cookies: readonly string[];
}

interface Options {
  readonly json?: unknown;
  readonly form?: Readonly<Record<string, string>>;
  /** A body as it is; set its type in the headers. */
  readonly body?: string;
  readonly headers?: Readonly<Record<string, string | undefined>>;
}

const BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

/** Somebody with a cookie jar, and with four connections unless told otherwise. */
export class Visitor {
  /** The session's. */
  cookie: string | undefined;
  /** The others, by name. */
  #cookies = new Map<string, string>();
  readonly #url: string;
  readonly #agent: http.Agent;
  readonly #ownHeaders: Readonly<Record<string, string>>;

  constructor(url: string, headers: Readonly<Record<string, string>> = {}, connections = 4) {
    this.#url = url;
    this.#ownHeaders = headers;
    this.#agent = new http.Agent({ keepAlive: true, maxSockets: connections });
    atEnd(() => this.#agent.destroy());
  }

  get = (path: string, headers?: Options["headers"]): Promise<Reply> => this.send("GET", path, headers && { headers });
  post = (path: string, json: unknown = {}, headers: Options["headers"] = {}): Promise<Reply> =>
    this.send("POST", path, { json, headers });
  delete = (path: string): Promise<Reply> => this.send("DELETE", path);

  /** What a browser would ask for. */
  page = (path: string): Promise<Reply> => this.send("GET", path, { headers: { accept: BROWSER } });

  /** What a browser would send for a form. */
  submit = (path: string, form: Readonly<Record<string, string>>): Promise<Reply> =>
    this.send("POST", path, { form, headers: { accept: BROWSER } });

  login = (username = SEEDED.username, password = SEEDED.password): Promise<Reply> =>
    this.post("/login", { username, password });

  /** Somebody with the same cookie, perhaps at another server. */
  twin(url = this.#url, connections?: number): Visitor {
    const twin = new Visitor(url, this.#ownHeaders, connections);
    twin.cookie = this.cookie;
    twin.#cookies = new Map(this.#cookies);
    return twin;
  }

  /** The refresh token's. */
  get refreshCookie(): string | undefined {
    return this.#cookies.get("rt");
  }

  /** The secret half of the session token, or all of a sealed one. */
  get secret(): string {
    const token = (this.cookie ?? "").slice("sid=".length);
    return token.split(".")[1] ?? token;
  }

  async send(method: string, path: string, options: Options = {}): Promise<Reply> {
    const { json, form } = options;
    const body = json !== undefined ? JSON.stringify(json) : form ? `${new URLSearchParams(form)}` : options.body;
    const type =
      json !== undefined ? "application/json" : form === undefined ? undefined : "application/x-www-form-urlencoded";
    const headers = Object.entries({
      ...this.#ownHeaders,
      cookie: [this.cookie, ...this.#cookies.values()].filter((pair) => pair !== undefined).join("; ") || undefined,
      "content-type": type,
      "content-length": body === undefined ? undefined : String(Buffer.byteLength(body)),
      ...options.headers,
    }).filter((pair): pair is [string, string] => pair[1] !== undefined);
    const request = http.request(this.#url + path, {
      method,
      agent: this.#agent,
      headers: Object.fromEntries(headers),
    });
    request.end(body);
    const [response] = (await once(request, "response")) as [http.IncomingMessage];
    let text = "";
    for await (const chunk of response.setEncoding("utf8")) text += chunk;
    const lines = response.headers["set-cookie"] ?? [];
    for (const line of lines) this.#take(line);
    const cookies = lines.filter((line) => !/^sid-(?:snapshot|version)=/.test(line));
    return {
      status: response.statusCode as number,
      headers: response.headers,
      text,
      get json() {
        return JSON.parse(text);
      },
      cookies,
    };
  }

  #take(line: string): void {
    const [pair = "", ...attributes] = line.split("; ");
    const isGone = attributes.includes("Max-Age=0");
    const [name = ""] = pair.split("=");
    if (name === "sid") this.cookie = isGone ? undefined : pair;
    else if (isGone) this.#cookies.delete(name);
    else this.#cookies.set(name, pair);
  }
}

/** The hidden fields of the form on a page that is sent to `action`. */
export function formOf(page: Reply, action: string): Record<string, string> {
  for (const [, attributes = "", content = ""] of page.text.matchAll(/<form ([^>]*)>(.*?)<\/form>/gs)) {
    if (!attributes.includes(`action="${action}"`)) continue;
    const hidden = content.matchAll(/<input type="hidden" name="([^"]*)" value="([^"]*)">/g);
    return Object.fromEntries([...hidden].map(([, name = "", value = ""]) => [name, value]));
  }
  throw new Error(`No form is sent to ${action} from this page:\n${page.text}`);
}

/** The value of a field of a page as it is shown. */
export function shownValue(page: Reply, name: string): string | undefined {
  return new RegExp(`<input name="${name}" value="([^"]*)"`).exec(page.text)?.[1];
}

/** A promise and the functions that settle it, to hold a handler until the test says so. */
export function gate(): { readonly opened: Promise<void>; open(): void } {
  let open = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

/** The store without leases, and with reads that can be held until there are as many as wanted. */
export function holdingReads(store: SessionStore): SessionStore & { holdUntil(count: number): void } {
  let wanted = 0;
  let waiting: Array<() => void> = [];
  const held: Partial<SessionStore> & { holdUntil(count: number): void } = {
    holdUntil(count) {
      wanted = count;
    },
    async read(id) {
      const record = await store.read(id);
      if (wanted === 0) return record;
      await new Promise<void>((resolve) => {
        waiting.push(resolve);
        if (waiting.length < wanted) return;
        wanted = 0;
        for (const go of waiting) go();
        waiting = [];
      });
      return record;
    },
    release: undefined,
  };
  return new Proxy(store, {
    get(target, name) {
      if (name in held) return held[name as keyof typeof held];
      const own: unknown = Reflect.get(target, name);
      return typeof own === "function" ? own.bind(target) : own;
    },
  }) as ReturnType<typeof holdingReads>;
}
