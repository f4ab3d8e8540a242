import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage, request as requestHttp1, type ServerResponse } from "node:http";
import {
  type ClientHttp2Session,
  connect,
  createSecureServer,
  createServer as createServer2,
  type Http2Server,
  type OutgoingHttpHeaders,
} from "node:http2";
import type { AddressInfo, Server } from "node:net";
import { type Duplex, Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { type Deferred, deferred } from "./support.ts";

export interface Sending {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly body?: string;
  /** The Host header. Only over HTTP/1. */
  readonly host?: string;
}

export interface Head {
  readonly status: number;
  readonly statusText: string | undefined;
  /** In lower case; without Set-Cookie. */
  readonly headers: Readonly<Record<string, string>>;
  readonly cookies: readonly string[];
}

export interface Answer extends Head {
  readonly text: string;
}

/** A request that is under way. */
export interface Sent {
  /** Resolves when the head of the response has arrived. */
  readonly head: Promise<Head>;
  /** Resolves when the response is complete, rejects when it is cut off. */
  readonly whole: Promise<Answer>;
  /** The client goes away. */
  abort(): void;
}

export interface Served {
  readonly origin: string;
  send(path: string, sending?: Sending): Sent;
  /** Resolves when the server knows that the response to the first request for this path is over, one way or the other. */
  over(path: string): Promise<void>;
  close(): Promise<void>;
}

export type Listener = (request: IncomingMessage, response: ServerResponse) => unknown;
export type Serve = (listener: Listener) => Promise<Served>;

export const pathOf = (url = ""): string => new URL(url, "http://x").pathname;

/** Tells when responses are over. */
function watched(listener: Listener): { listener: Listener; over: (path: string) => Promise<void> } {
  const ends = new Map<string, Deferred>();
  const end = (path: string) => {
    const known = ends.get(path) ?? deferred();
    ends.set(path, known);
    return known;
  };
  return {
    listener: (request, response) => {
      response.once("close", () => end(pathOf(request.url)).resolve());
      listener(request, response);
    },
    over: (path) => end(path).promise,
  };
}

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
}

const closed = (server: Server): Promise<void> => new Promise((resolve) => server.close(() => resolve()));

function headOf(status: number, statusText: string | undefined, pairs: Iterable<readonly [string, string]>): Head {
  const headers: Record<string, string> = {};
  const cookies: string[] = [];
  for (const [name, value] of pairs) {
    if (name.toLowerCase() === "set-cookie") cookies.push(value);
    else headers[name.toLowerCase()] = headers[name.toLowerCase()] ? `${headers[name.toLowerCase()]}, ${value}` : value;
  }
  return { status, statusText, headers, cookies };
}

/** Puts head and body together. What nobody waits for must not be an unhandled rejection. */
function sent(head: Promise<Head>, body: Promise<string>, abort: () => void): Sent {
  const whole = (async () => {
    const arrived = await head;
    return { ...arrived, text: await body };
  })();
  for (const promise of [head, body, whole]) promise.catch(() => {});
  return { head, whole, abort };
}

export const http1: Serve = async (listener) => {
  const { listener: watching, over } = watched(listener);
  const server = createServer(watching);
  const port = await listen(server);
  const origin = `http://localhost:${port}`;
  return {
    origin,
    over,
    send(path, { method = "GET", headers = {}, body = "", host = `localhost:${port}` } = {}) {
      const head = deferred<Head>();
      const whole = deferred<string>();
      const flat = Object.entries(headers).flatMap(([name, value]) =>
        (Array.isArray(value) ? value : [value]).flatMap((one) => (one === undefined ? [] : [name, one])),
      );
      const fields = ["Host", host, ...(body === "" ? [] : ["Content-Length", String(body.length)]), ...flat];
      const request = requestHttp1({ host: "127.0.0.1", port, path, method, headers: fields, agent: false });
      const fail = (error: unknown) => {
        head.reject(error);
        whole.reject(error);
      };
      request.on("error", fail);
      request.on("response", (response) => {
        const { rawHeaders } = response;
        const pairs = rawHeaders.flatMap((name, i) => (i % 2 === 0 ? [[name, rawHeaders[i + 1] ?? ""] as const] : []));
        head.resolve(headOf(response.statusCode ?? 0, response.statusMessage, pairs));
        text(response).then(whole.resolve, whole.reject);
      });
      request.end(body);
      return sent(head.promise, whole.promise, () => request.destroy());
    },
    async close() {
      server.closeAllConnections();
      await closed(server);
    },
  };
};

const pem = (): string => readFileSync(new URL("./localhost.pem", import.meta.url), "utf8");

function http2(secure: boolean): Serve {
  return async (listener) => {
    const { listener: watching, over } = watched(listener);
    const server = (secure ? createSecureServer({ key: pem(), cert: pem() }) : createServer2()) as Http2Server;
    server.on("request", watching as never);
    const connections = new Set<Duplex>();
    server.on(secure ? "secureConnection" : "connection", (socket: Duplex) => connections.add(socket));
    const port = await listen(server);
    const origin = `${secure ? "https" : "http"}://localhost:${port}`;
    let client: ClientHttp2Session | undefined;
    return {
      origin,
      over,
      send(path, { method = "GET", headers = {}, body = "" } = {}) {
        client ??= connect(origin, { ca: pem(), lookup: undefined, family: 4 } as never);
        const head = deferred<Head>();
        const whole = deferred<string>();
        const stream = client.request({ ":path": path, ":method": method, ...headers } as OutgoingHttpHeaders, {
          endStream: body === "",
        });
        const fail = (error: unknown) => {
          head.reject(error);
          whole.reject(error);
        };
        stream.on("error", fail);
        let ended = false;
        stream.on("end", () => {
          ended = true;
        });
        stream.on("close", () => {
          if (!ended || stream.rstCode > 0) fail(new Error(`the stream closed with code ${stream.rstCode}`));
        });
        stream.on("response", ({ ":status": status, ...fields }) => {
          const pairs = Object.entries(fields).flatMap(([name, value]) =>
            (Array.isArray(value) ? value : [String(value)]).map((one) => [name, one] as const),
          );
          head.resolve(headOf(Number(status), undefined, pairs));
          text(stream).then(
            (all) => (stream.rstCode > 0 ? whole.reject(new Error("cut off")) : whole.resolve(all)),
            fail,
          );
        });
        if (body !== "") stream.end(body);
        return sent(head.promise, whole.promise, () => stream.close(8));
      },
      async close() {
        client?.destroy();
        for (const socket of connections) socket.destroy();
        await closed(server);
      },
    };
  };
}

export const http2Cleartext = http2(false);
export const http2Tls = http2(true);

export type FetchHandler = (request: Request) => Promise<Response>;

/** A Fetch handler called directly, as on a platform that speaks nothing else. */
export async function direct(handler: FetchHandler): Promise<Served> {
  const origin = "https://shop.example";
  const ends = new Map<string, Deferred>();
  const end = (path: string) => {
    const known = ends.get(path) ?? deferred();
    ends.set(path, known);
    return known;
  };
  return {
    origin,
    over: (path) => end(path).promise,
    send(path, { method = "GET", headers = {}, body = "" } = {}) {
      const controller = new AbortController();
      const given = new Headers();
      for (const [name, value] of Object.entries(headers))
        for (const one of Array.isArray(value) ? value : [value]) if (one !== undefined) given.append(name, one);
      const request = new Request(new URL(path, origin), {
        method,
        headers: given,
        signal: controller.signal,
        ...(body === "" ? undefined : { body }),
      });
      const response = handler(request).catch(() => new Response("Internal Server Error", { status: 500 }));
      const head = response.then((r) => headOf(r.status, r.statusText, r.headers));
      const whole = response.then((r) => r.text());
      return sent(head, whole, () => {
        controller.abort();
        end(path).resolve();
      });
    },
    close: async () => {},
  };
}

/** A Fetch handler behind node:http. */
export function bridge(handler: FetchHandler): Promise<Served> {
  return http1(async (request, response) => {
    const controller = new AbortController();
    response.once("close", () => controller.abort());
    const headers = new Headers();
    for (let i = 0; i < request.rawHeaders.length; i += 2)
      headers.append(request.rawHeaders[i] as string, request.rawHeaders[i + 1] as string);
    const bodyless = request.method === "GET" || request.method === "HEAD";
    const made = new Request(`http://${request.headers.host}${request.url}`, {
      method: request.method ?? "GET",
      headers,
      signal: controller.signal,
      ...(bodyless ? undefined : { body: Readable.toWeb(request) as ReadableStream, duplex: "half" }),
    } as RequestInit);
    let answer: Response;
    try {
      answer = await handler(made);
    } catch {
      answer = new Response("Internal Server Error", { status: 500 });
    }
    response.statusCode = answer.status;
    for (const [name, value] of answer.headers) response.appendHeader(name, value);
    try {
      if (answer.body !== null && request.method !== "HEAD")
        for await (const chunk of answer.body) if (!response.write(chunk)) await drained(response);
      response.end();
    } catch {
      response.destroy();
    }
  });
}

/** Resolves when a response takes more, or its client has gone away. */
export const drained = (response: ServerResponse): Promise<void> =>
  new Promise((resolve) => {
    const go = () => {
      response.off("drain", go).off("close", go);
      resolve();
    };
    response.on("drain", go).on("close", go);
  });
