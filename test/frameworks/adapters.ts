import type { IncomingMessage, ServerResponse } from "node:http";
import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { getRequestListener } from "@hono/node-server";
import type { RouteOptions, Session, Sessions } from "coatcheck";
import { sessionMiddleware, sessionOf } from "coatcheck/express";
import { sessionOf as fastifySession, sessionPlugin } from "coatcheck/fastify";
import { withSession as withFetchSession } from "coatcheck/fetch";
import { sessionMiddleware as honoSession, type SessionEnv } from "coatcheck/hono";
import { sessionMiddleware as koaSession } from "coatcheck/koa";
import { withSession } from "coatcheck/node";
import express5 from "express";
import express4 from "express4";
import Fastify from "fastify";
import { Hono } from "hono";
import Koa from "koa";
import {
  bridge,
  direct,
  drained,
  type FetchHandler,
  http1,
  http2Cleartext,
  http2Tls,
  type Listener,
  pathOf,
  type Serve,
  type Served,
} from "./servers.ts";
import type { Visit } from "./support.ts";

/** An answer that every adapter can give in its own way. */
export interface Reply {
  readonly status?: number;
  readonly headers?: ReadonlyArray<readonly [name: string, value: string]>;
  readonly body?: string | AsyncIterable<string> | null;
}

export interface Incoming {
  readonly session: Session<Visit>;
  readonly method: string;
  text(): Promise<string>;
}

export interface Route {
  readonly path: string;
  readonly options?: RouteOptions;
  readonly handle: (incoming: Incoming) => Reply | Promise<Reply>;
}

/** Fails. */
export type OnError = () => never | Promise<never>;

const given = (onError: OnError | undefined): { onError?: OnError } => (onError === undefined ? {} : { onError });

/** A way to serve: an adapter of this library together with a server. */
export interface Adapter {
  readonly name: string;
  readonly cookieName: string;
  /** Whether what a handler changes while its answer streams is saved without its asking. */
  readonly savesLateChanges: boolean;
  /** Whether what a handler changed before it failed is dropped. Express tells nobody that a handler failed. */
  readonly dropsChangesOfFailures: boolean;
  /** `onError`: what answers errors of this library, instead of the adapter's own answer. */
  start(sessions: Sessions<Visit>, routes: readonly Route[], onError?: OnError): Promise<Served>;
}

export type NodeHandler = (request: IncomingMessage, response: ServerResponse, session: Session<Visit>) => unknown;

/** A way to serve where the handler has Node's own request and response. */
export interface NodeAdapter {
  readonly name: string;
  readonly http2: boolean;
  serve(sessions: Sessions<Visit>, handler: NodeHandler): Promise<Served>;
}

async function render(response: ServerResponse, { status = 200, headers = [], body = null }: Reply): Promise<void> {
  response.statusCode = status;
  for (const [name, value] of headers) response.appendHeader(name, value);
  if (body === null || typeof body === "string") {
    response.end(body ?? undefined);
    return;
  }
  for await (const chunk of body) if (!response.write(chunk)) await drained(response);
  response.end();
}

const incoming = (request: IncomingMessage, session: Session<Visit>): Incoming => ({
  session,
  method: request.method ?? "",
  text: () => text(request),
});

function routed(routes: readonly Route[], listenerOf: (route: Route) => Listener): Listener {
  const listeners = new Map(routes.map((route) => [route.path, listenerOf(route)]));
  return (request, response) => {
    const listener = listeners.get(pathOf(request.url));
    if (listener === undefined) response.writeHead(404).end();
    else listener(request, response);
  };
}

const node = (name: string, serve: Serve, cookieName = "sid"): Adapter => ({
  name,
  cookieName,
  savesLateChanges: true,
  dropsChangesOfFailures: true,
  start: (sessions, routes, onError) =>
    serve(
      routed(routes, ({ handle, options }) =>
        withSession(
          sessions,
          async (request, response, session) => render(response, await handle(incoming(request, session))),
          { ...options, ...given(onError) },
        ),
      ),
    ),
});

type Express = typeof express5;

function expressApp(
  create: Express,
  sessions: Sessions<Visit>,
  routes: readonly Route[],
  onError: OnError | undefined,
): Listener {
  const app = create();
  // Not to write every error to the console.
  app.set("env", "test");
  for (const { path, options } of routes)
    if (options !== undefined) app.use(path, sessionMiddleware(sessions, options));
  app.use(sessionMiddleware(sessions, given(onError)));
  for (const { path, handle } of routes)
    app.all(path, (request, response, next) => {
      (async () => render(response, await handle(incoming(request, sessionOf(sessions, request)))))().catch(next);
    });
  return app as unknown as Listener;
}

const express = (name: string, create: Express): Adapter => ({
  name,
  cookieName: "sid",
  savesLateChanges: true,
  dropsChangesOfFailures: false,
  start: (sessions, routes, onError) => http1(expressApp(create, sessions, routes, onError)),
});

function bodyOf(body: NonNullable<Reply["body"]>): string | ReadableStream<Uint8Array> {
  if (typeof body === "string") return body;
  const iterator = body[Symbol.asyncIterator]();
  const encoder = new TextEncoder();
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = await iterator.next();
        if (done) controller.close();
        else controller.enqueue(encoder.encode(value));
      },
      async cancel() {
        await iterator.return?.();
      },
    },
    { highWaterMark: 0 },
  );
}

const fetching = (name: string, serve: (handler: FetchHandler) => Promise<Served>, cookieName: string): Adapter => ({
  name,
  cookieName,
  savesLateChanges: false,
  dropsChangesOfFailures: true,
  start(sessions, routes, onError) {
    const handlers = new Map(
      routes.map(({ path, options, handle }) => [
        path,
        withFetchSession(
          sessions,
          async (request, session) => {
            const asked: Incoming = { session, method: request.method, text: () => request.text() };
            const { status = 200, headers = [], body = null } = await handle(asked);
            return new Response(body === null ? null : bodyOf(body), {
              status,
              headers: headers as [string, string][],
            });
          },
          { ...options, ...given(onError) },
        ),
      ]),
    );
    return serve(async (request) => {
      const handler = handlers.get(pathOf(request.url));
      return handler === undefined ? new Response(null, { status: 404 }) : handler(request);
    });
  },
});

const fastify = (name: string, serve: Serve): Adapter => ({
  name,
  cookieName: "sid",
  savesLateChanges: true,
  dropsChangesOfFailures: true,
  async start(sessions, routes, onError) {
    const app = Fastify();
    app.register(sessionPlugin, { sessions, ...given(onError) });
    // Bodies are the handlers' to read.
    app.removeAllContentTypeParsers();
    app.addContentTypeParser("*", (_request, _payload, done) => done(null));
    app.register(async (scope) => {
      for (const { path, options = {}, handle } of routes)
        scope.all(path, { config: { coatcheck: options } }, async (request, reply) => {
          const session = fastifySession(sessions, request);
          const { status = 200, headers = [], body = null } = await handle(incoming(request.raw, session));
          reply.code(status);
          for (const [name, value] of headers) reply.header(name, value);
          return reply.send(body === null || typeof body === "string" ? (body ?? undefined) : Readable.from(body));
        });
    });
    await app.ready();
    return serve(app.routing as Listener);
  },
});

const koa = (name: string, serve: Serve): Adapter => ({
  name,
  cookieName: "sid",
  savesLateChanges: true,
  dropsChangesOfFailures: true,
  start(sessions, routes, onError) {
    const byPath = new Map(
      routes.map((route) => [
        route.path,
        { ...route, middleware: koaSession(sessions, { ...route.options, ...given(onError) }) },
      ]),
    );
    const general = koaSession(sessions, given(onError));
    const app = new Koa();
    // Not to write every error to the console.
    app.silent = true;
    app.use((ctx, next) => (byPath.get(ctx.path)?.middleware ?? general)(ctx as never, next));
    app.use(general).use(async (ctx) => {
      const route = byPath.get(ctx.path);
      if (route === undefined) return;
      const { status = 200, headers = [], body = null } = await route.handle(incoming(ctx.req, ctx.session));
      ctx.status = status;
      for (const [name, value] of headers) ctx.append(name, value);
      ctx.body = body === null || typeof body === "string" ? (body ?? "") : Readable.from(body);
      if (body === null) ctx.status = status;
    });
    return serve(app.callback() as Listener);
  },
});

const hono = (name: string, serve: (handler: FetchHandler) => Promise<Served>, cookieName: string): Adapter => ({
  name,
  cookieName,
  savesLateChanges: false,
  dropsChangesOfFailures: true,
  start(sessions, routes, onError) {
    const app = new Hono<SessionEnv<Visit>>();
    for (const { path, options } of routes) if (options !== undefined) app.use(path, honoSession(sessions, options));
    app.use(honoSession(sessions, given(onError)));
    for (const { path, handle } of routes)
      app.all(path, async (c) => {
        const asked: Incoming = { session: c.var.session, method: c.req.method, text: () => c.req.text() };
        const { status = 200, headers = [], body = null } = await handle(asked);
        return new Response(body === null ? null : bodyOf(body), { status, headers: headers as [string, string][] });
      });
    return serve(async (request) => app.fetch(request));
  },
});

export const adapters: readonly Adapter[] = [
  node("node:http", http1),
  node("node:http2 without TLS", http2Cleartext),
  node("node:http2 with TLS", http2Tls, "__Host-Http-sid"),
  express("Express 4", express4 as unknown as Express),
  express("Express 5", express5),
  fastify("Fastify 5", http1),
  fastify("Fastify 5 on HTTP/2", http2Cleartext),
  koa("Koa 3", http1),
  koa("Koa 3 on HTTP/2", http2Cleartext),
  hono("Hono behind @hono/node-server", (handler) => http1(getRequestListener(handler)), "sid"),
  hono("Hono called directly", direct, "__Host-Http-sid"),
  fetching("Fetch behind node:http", bridge, "sid"),
  fetching("Fetch called directly", direct, "__Host-Http-sid"),
];

const bare = (name: string, serve: Serve, isHttp2: boolean): NodeAdapter => ({
  name,
  http2: isHttp2,
  serve: (sessions, handler) => serve(withSession(sessions, handler)),
});

const bareExpress = (name: string, create: Express): NodeAdapter => ({
  name,
  http2: false,
  serve(sessions, handler) {
    const app = create();
    app.set("env", "test");
    app.disable("x-powered-by");
    app.use(sessionMiddleware(sessions));
    app.use((request, response, next) => {
      // Express 4 does not look at the promises of its handlers.
      Promise.resolve()
        .then(() => handler(request, response, sessionOf(sessions, request)))
        .catch(next);
    });
    return http1(app as unknown as Listener);
  },
});

/** Koa, told to leave the response alone. */
const bareKoa: NodeAdapter = {
  name: "Koa 3 with ctx.respond = false",
  http2: false,
  serve(sessions, handler) {
    const app = new Koa();
    app.use(koaSession(sessions)).use(async (ctx) => {
      ctx.respond = false;
      ctx.status = 200;
      await handler(ctx.req, ctx.res, ctx.session);
    });
    return http1(app.callback() as Listener);
  },
};

/** Fastify, told to leave the response alone: what fails then is the handler's to answer. */
const bareFastify: NodeAdapter = {
  name: "Fastify 5 with reply.hijack()",
  http2: false,
  async serve(sessions, handler) {
    const app = Fastify();
    app.register(sessionPlugin, { sessions });
    app.register(async (scope) => {
      scope.removeAllContentTypeParsers();
      scope.addContentTypeParser("*", (_request, _payload, done) => done(null));
      scope.all("*", async (request, reply) => {
        reply.hijack();
        try {
          await handler(request.raw, reply.raw, fastifySession(sessions, request));
        } catch {
          reply.raw.writeHead(500).end();
        }
      });
    });
    await app.ready();
    return http1(app.routing as Listener);
  },
};

export const nodeAdapters: readonly NodeAdapter[] = [
  bare("node:http", http1, false),
  bare("node:http2", http2Cleartext, true),
  bareExpress("Express 4", express4 as unknown as Express),
  bareExpress("Express 5", express5),
  bareKoa,
  bareFastify,
];
