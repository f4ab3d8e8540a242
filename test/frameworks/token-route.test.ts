import { once } from "node:events";
import http, { type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { getRequestListener } from "@hono/node-server";
import { createSessions, InsecureTransportError } from "coatcheck";
import { tokenRoute as expressRoute } from "coatcheck/express";
import { tokenRoute as fastifyRoute } from "coatcheck/fastify";
import { tokenRoute as fetchRoute } from "coatcheck/fetch";
import { tokenRoute as honoRoute } from "coatcheck/hono";
import { tokenRoute as koaRoute } from "coatcheck/koa";
import { memoryStore } from "coatcheck/memory";
import { tokenRoute as nodeRoute } from "coatcheck/node";
import {
  createTokens,
  generateKey,
  type SessionTokens,
  type TokenEndpoint,
  type TokenRouteOptions,
} from "coatcheck/tokens";
import express5 from "express";
import express4 from "express4";
import Fastify from "fastify";
import { Hono } from "hono";
import Koa from "koa";
import { afterEach, describe, expect, it, test, vi } from "vitest";

type Handler = (endpoint: TokenEndpoint) => unknown;
/** Each handler under its path, `/cookie/…` or `/body/…`. */
type Routes = ReadonlyArray<readonly [path: string, handler: Handler, options: TokenRouteOptions]>;

/** What the body of the request in hand is. A test has one request at a time. */
let body: { readonly refreshToken?: unknown } = {};

const routes: Routes = (["cookie", "body"] as const).flatMap((refreshToken): Routes => {
  const given = () => (refreshToken === "body" ? { refreshToken: body.refreshToken } : {});
  return [
    [`/${refreshToken}/login`, (endpoint) => endpoint.login("ada", { scope: "read" }), { refreshToken }],
    [`/${refreshToken}/refresh`, (endpoint) => endpoint.refresh(given()), { refreshToken }],
    [`/${refreshToken}/logout`, (endpoint) => endpoint.logout(given()), { refreshToken }],
  ];
});

const closings: Array<() => unknown> = [];
afterEach(async () => {
  for (const close of closings.splice(0).reverse()) await close();
});

async function listen(listener: RequestListener): Promise<string> {
  const server = http.createServer(listener).listen(0, "127.0.0.1");
  await once(server, "listening");
  closings.push(() => server.close());
  return `http://localhost:${(server.address() as AddressInfo).port}`;
}

const express = (create: typeof express5) => (tokens: SessionTokens) => {
  const app = create();
  for (const [path, handler, options] of routes) app.post(path, expressRoute(tokens, handler, options));
  return listen(app);
};

const fetchHandlers = (tokens: SessionTokens) =>
  new Map(routes.map(([path, handler, options]) => [path, fetchRoute(tokens, handler, options)]));

const adapters: Readonly<Record<string, (tokens: SessionTokens) => Promise<string>>> = {
  "Express 5": express(express5),
  "Express 4": express(express4 as unknown as typeof express5),
  "node:http": (tokens) => {
    const listeners = new Map(routes.map(([path, handler, options]) => [path, nodeRoute(tokens, handler, options)]));
    return listen((request, response) => void listeners.get(request.url as string)?.(request, response));
  },
  Koa: (tokens) => {
    const app = new Koa();
    const middlewares = new Map(routes.map(([path, handler, options]) => [path, koaRoute(tokens, handler, options)]));
    app.use((ctx, next) => middlewares.get(ctx.path)?.(ctx, next));
    return listen(app.callback());
  },
  Fastify: async (tokens) => {
    const app = Fastify();
    for (const [path, handler, options] of routes) app.post(path, fastifyRoute(tokens, handler, options));
    await app.listen({ port: 0, host: "127.0.0.1" });
    closings.push(() => app.close());
    return `http://localhost:${(app.server.address() as AddressInfo).port}`;
  },
  Hono: (tokens) => {
    const app = new Hono();
    for (const [path, handler, options] of routes) app.post(path, honoRoute(tokens, handler, options));
    return listen(getRequestListener(app.fetch));
  },
  Fetch: (tokens) => {
    const handlers = fetchHandlers(tokens);
    return listen(
      getRequestListener((request) => handlers.get(new URL(request.url).pathname)?.(request) as Promise<Response>),
    );
  },
};

const failing = (): never => {
  throw new Error("onError failed");
};

function makeTokens(): SessionTokens {
  const sessions = createSessions({ store: memoryStore() });
  closings.push(() => sessions.close());
  return createTokens({
    sessions,
    keys: generateKey("HS256"),
    issuer: "https://shop.example",
    audience: "https://shop.example",
  });
}

describe.each(Object.keys(adapters))("token routes with %s", (name) => {
  const start = async () => {
    const tokens = makeTokens();
    const url = await (adapters[name] as (tokens: SessionTokens) => Promise<string>)(tokens);
    const post = async (path: string, headers: Record<string, string> = {}, sent: typeof body = {}) => {
      body = sent;
      const response = await fetch(url + path, { method: "POST", headers });
      const text = await response.text();
      return {
        status: response.status,
        text,
        json: text === "" ? undefined : JSON.parse(text),
        headers: response.headers,
        cookies: response.headers.getSetCookie(),
      };
    };
    return { tokens, url, post };
  };
  const cookieOf = ({ cookies }: { cookies: readonly string[] }) => ({ cookie: cookies[0]?.split(";")[0] ?? "" });

  it("RT-11: login, refresh and logout with a cookie that no script sees, never to be stored", async () => {
    const { tokens, post } = await start();
    const login = await post("/cookie/login");
    expect(login).toMatchObject({ status: 200, json: { accessToken: expect.any(String), expiresIn: 600 } });
    expect(Object.keys(login.json)).toEqual(["accessToken", "expiresIn"]);
    expect(login.cookies).toEqual([
      expect.stringMatching(/^rt=[\w.-]{89}; Max-Age=\d+; Path=\/; HttpOnly; SameSite=Strict$/),
    ]);
    const refresh = await post("/cookie/refresh", cookieOf(login));
    expect(refresh).toMatchObject({ status: 200, json: { accessToken: expect.any(String), expiresIn: 600 } });
    expect(cookieOf(refresh)).not.toEqual(cookieOf(login));
    expect((await tokens.verify(refresh.json.accessToken)).scope).toBe("read");
    const logout = await post("/cookie/logout", cookieOf(refresh));
    expect(logout).toMatchObject({ status: 204, text: "", cookies: [expect.stringMatching(/^rt=; Max-Age=0;/)] });
    const refused = await post("/cookie/refresh", cookieOf(refresh));
    expect(refused).toMatchObject({ status: 400, text: '{"error":"invalid_grant"}', cookies: [] });
    for (const { headers } of [login, refresh, logout, refused]) expect(headers.get("cache-control")).toBe("no-store");
    for (const { headers } of [login, refresh, refused])
      expect(headers.get("content-type")).toMatch(/^application\/json/);
  });

  it("RT-09: login, refresh and logout with the token in the body", async () => {
    const { post } = await start();
    const login = await post("/body/login");
    expect(login.cookies).toEqual([]);
    // It comes with nobody's cookie, so that other sites are no danger.
    const elsewhere = { "sec-fetch-site": "cross-site" };
    const refresh = await post("/body/refresh", elsewhere, { refreshToken: login.json.refreshToken });
    expect(refresh).toMatchObject({ status: 200, cookies: [], json: { refreshToken: expect.any(String) } });
    // A token in a cookie is not looked at.
    const { refreshToken } = refresh.json;
    expect((await post("/body/refresh", { cookie: `rt=${refreshToken}` })).status).toBe(400);
    expect((await post("/body/logout", {}, { refreshToken })).status).toBe(204);
    const refused = await post("/body/refresh", {}, { refreshToken });
    expect(refused).toMatchObject({ status: 400, text: '{"error":"invalid_grant"}' });
    for (const { headers } of [login, refresh, refused]) expect(headers.get("cache-control")).toBe("no-store");
  });

  it("CS-01: requests of other sites are refused before the handler runs", async () => {
    const { post } = await start();
    const login = await post("/cookie/login");
    for (const path of ["/cookie/login", "/cookie/refresh", "/cookie/logout"]) {
      const reply = await post(path, { ...cookieOf(login), "sec-fetch-site": "cross-site" });
      expect(reply).toMatchObject({ status: 403, cookies: [] });
    }
    expect((await post("/cookie/refresh", { ...cookieOf(login), "sec-fetch-site": "same-origin" })).status).toBe(200);
  });

  it("ID-09: of two cookies none counts, and both are forgotten", async () => {
    const { post } = await start();
    const { cookie } = cookieOf(await post("/cookie/login"));
    const reply = await post("/cookie/refresh", { cookie: `${cookie}; ${cookie}` });
    expect(reply).toMatchObject({ status: 400, cookies: [expect.stringMatching(/^rt=; Max-Age=0;/)] });
    expect((await post("/cookie/refresh", { cookie })).status).toBe(200);
  });
});

test.each([
  ["throws", () => failing()],
  ["rejects", async () => failing()],
])("TR-05: node:http: an onError that %s is a 500, and nobody waits for an answer", async (_, onError) => {
  const log = vi.spyOn(console, "error").mockImplementation(() => {});
  const url = await listen(nodeRoute(makeTokens(), (endpoint) => endpoint.refresh(), { onError }));
  expect((await fetch(url, { method: "POST" })).status).toBe(500);
  expect(log).toHaveBeenCalledOnce();
  log.mockRestore();
});

test("CK-19: no refresh token is handed out over plain HTTP", async () => {
  const tokens = makeTokens();
  const handle = fetchRoute(tokens, (endpoint) => endpoint.login("ada"), {
    onError: (error) => {
      expect(error).toBeInstanceOf(InsecureTransportError);
      return new Response(null, { status: 500 });
    },
  });
  expect((await handle(new Request("http://shop.example/login", { method: "POST" }))).status).toBe(500);
  const secure = await handle(new Request("https://shop.example/login", { method: "POST" }));
  expect(secure.headers.getSetCookie()[0]).toMatch(
    /^__Host-Http-rt=[\w.-]{89}; Max-Age=\d+; Path=\/; Secure; HttpOnly; SameSite=Strict$/,
  );
});
