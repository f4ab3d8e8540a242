import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from "node:http";
import { createRequire } from "node:module";
import type { AddressInfo } from "node:net";
import session, { type SessionOptions, type Store } from "coatcheck/express-session";
import express5 from "express";
import express4 from "express4";
import { afterEach, describe } from "vitest";

const require = createRequire(import.meta.url);

// Both say what is deprecated. The tests of that run in processes of their own.
process.env.NO_DEPRECATION = "express-session";

/** Express-session and its friends have no types here, and the sessions of two packages have no type in common. */
export type Untyped = ReturnType<typeof JSON.parse>;
export type Handler = (request: Untyped, response: Untyped, next: (error?: unknown) => void) => unknown;
export type SessionPackage = typeof session;

/** The genuine package. */
export const genuine: SessionPackage = require("express-session");

export const packages = [
  { name: "express-session", session: genuine },
  { name: "coatcheck/express-session", session },
] as const;

export const kinds = ["Express 5", "Express 4", "node:http"] as const;
export type Kind = (typeof kinds)[number];

export const SECRET = "a secret that only these tests know";

export interface Sending {
  readonly method?: string;
  readonly cookie?: string | undefined;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** A `Set-Cookie` line. Names of attributes in lower case. */
export interface SetCookie {
  readonly name: string;
  readonly value: string;
  readonly attributes: Readonly<Record<string, string | true>>;
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
  readonly setCookies: readonly SetCookie[];
  /** The first of them. */
  readonly setCookie: SetCookie | undefined;
  /** What a browser sends back: name and value of the first, or what it sent. */
  readonly cookie: string | undefined;
}

/** A server that is closed after the test. */
export interface Served {
  readonly url: string;
  readonly server: Server;
  /** What was given to `next`, in order. */
  readonly errors: Error[];
  /** Resolves with the next error that is given to `next`. */
  nextError(): Promise<Error>;
  get(path?: string, cookie?: string): Promise<Answer>;
  send(path: string, sending: Sending): Promise<Answer>;
}

export interface Serving {
  /** Runs before the session. */
  readonly before?: Handler;
  /** Between the session and the handler. */
  readonly between?: readonly Handler[];
  readonly handler?: Handler;
}

const open = new Set<Server>();
afterEach(async () => {
  const closing = [...open].map((server) => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  open.clear();
  await Promise.all(closing);
});

/** A server of one kind with this middleware. */
export async function serve(kind: Kind, middleware: Handler, serving: Serving = {}): Promise<Served> {
  const { before, between = [], handler = (_request, response) => response.end() } = serving;
  const errors: Error[] = [];
  const waiting: Array<(error: Error) => void> = [];
  const failed = (error: Error, response: ServerResponse) => {
    errors.push(error);
    waiting.shift()?.(error);
    if (response.headersSent) return;
    response.statusCode = 500;
    response.end(error.message);
  };
  const chain = [...(before ? [before] : []), middleware, ...between, handler];
  const listener = kind === "node:http" ? connect(chain, failed) : expressApp(kind, chain, failed);
  const server = createServer(listener as never);
  open.add(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url,
    server,
    errors,
    nextError: () => new Promise((resolve) => waiting.push(resolve)),
    get: (path = "/", cookie) => send(`${url}${path}`, { cookie }),
    send: (path, sending) => send(`${url}${path}`, sending),
  };
}

/** As Connect does it: one after the other, until one answers. */
function connect(chain: readonly Handler[], failed: (error: Error, response: ServerResponse) => void) {
  return (request: IncomingMessage, response: ServerResponse) => {
    const next = (index: number) => (error?: unknown) => {
      if (error) return failed(error as Error, response);
      try {
        const returned = chain[index]?.(request, response, next(index + 1));
        if (returned instanceof Promise) returned.catch((problem) => failed(problem, response));
      } catch (problem) {
        failed(problem as Error, response);
      }
    };
    next(0)();
  };
}

function expressApp(
  kind: Kind,
  chain: readonly Handler[],
  failed: (error: Error, response: ServerResponse) => void,
): unknown {
  const app: Untyped = kind === "Express 5" ? express5() : express4();
  for (const handler of chain) app.use(handler);
  app.use((error: Error, _request: unknown, response: ServerResponse, _next: unknown) => failed(error, response));
  return app;
}

export function send(url: string, { method = "GET", cookie, headers = {}, body }: Sending = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request(url, {
      method,
      agent: false,
      headers: {
        ...headers,
        ...(cookie === undefined ? undefined : { Cookie: cookie }),
        ...(body === undefined ? undefined : { "Content-Length": String(Buffer.byteLength(body)) }),
      },
    });
    sent.once("error", reject);
    sent.once("response", (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.once("error", reject);
      response.once("end", () => {
        const setCookies = (response.headers["set-cookie"] ?? []).map(parseSetCookie);
        const [first] = setCookies;
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          body: Buffer.concat(chunks).toString(),
          setCookies,
          setCookie: first,
          cookie: first === undefined ? cookie : `${first.name}=${first.value}`,
        });
      });
    });
    sent.end(body);
  });
}

export function parseSetCookie(line: string): SetCookie {
  const [pair = "", ...rest] = line.split(";").map((part) => part.trim());
  const split = (text: string) => {
    const at = text.indexOf("=");
    return at === -1 ? ([text, true] as const) : ([text.slice(0, at), text.slice(at + 1)] as const);
  };
  const [name, value] = split(pair);
  const attributes = Object.fromEntries(rest.map(split).map(([key, of]) => [key.toLowerCase(), of]));
  return { name, value: String(value), attributes };
}

/** The session id in a cookie of ours. */
export function idIn({ setCookie }: Answer): string | undefined {
  return setCookie && decodeURIComponent(setCookie.value).slice(2).split(".")[0];
}

/** Milliseconds from now to what `Expires` says. */
export const expiresIn = ({ setCookie }: Answer): number =>
  Date.parse(String(setCookie?.attributes.expires)) - Date.now();

/** Counts the calls of a store's methods, from now on. */
export function watched<Of extends Store>(store: Of): Of & { readonly calls: Record<string, number> } {
  const calls: Record<string, number> = { get: 0, set: 0, touch: 0, destroy: 0 };
  const methods = store as unknown as Record<string, Handler>;
  for (const name of Object.keys(calls)) {
    const original = methods[name];
    if (original === undefined) continue;
    methods[name] = function (this: unknown, ...args) {
      calls[name] = (calls[name] ?? 0) + 1;
      return original.apply(this, args);
    };
  }
  return Object.assign(store, { calls });
}

/** The sessions in a store, by id. */
export function sessionsIn(store: Untyped): Promise<Record<string, Untyped>> {
  return new Promise((resolve, reject) => {
    store.all((error: unknown, sessions: Record<string, Untyped>) => (error ? reject(error) : resolve(sessions)));
  });
}

/** What a store has under an id. */
export function storedIn(store: Untyped, id: string | undefined): Promise<Untyped> {
  return new Promise((resolve, reject) => {
    store.get(id, (error: unknown, found: Untyped) => (error ? reject(error) : resolve(found)));
  });
}

/** Everything that a test needs of one package on one kind of server. */
export interface Lab {
  readonly session: SessionPackage;
  readonly kind: Kind;
  /** Whether this is the genuine package. */
  readonly isGenuine: boolean;
  /** A server whose options are the quiet ones, and these. */
  serve(options?: SessionOptions | Untyped, handler?: Handler | Serving): Promise<Served>;
}

const QUIET = { secret: SECRET, resave: false, saveUninitialized: false };

/** Tests that both packages have to pass on all kinds of servers. */
export function everywhere(title: string, define: (lab: Lab) => void): void {
  for (const { name, session } of packages)
    for (const kind of kinds) describe(`${title} (${name}, ${kind})`, () => define(lab(session, kind)));
}

/** Tests that both packages have to pass, where the server makes no difference. */
export function onBoth(title: string, define: (lab: Lab) => void): void {
  for (const { name, session } of packages) describe(`${title} (${name})`, () => define(lab(session, "Express 5")));
}

export function lab(session: SessionPackage, kind: Kind): Lab {
  return {
    session,
    kind,
    isGenuine: session === genuine,
    serve: (options = {}, handler = {}) =>
      serve(kind, session({ ...QUIET, ...options }) as Handler, typeof handler === "function" ? { handler } : handler),
  };
}

/** A promise that is settled from outside. */
export function deferred<T = void>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => {};
  const promise = new Promise<T>((yes) => {
    resolve = yes;
  });
  return { promise, resolve };
}
