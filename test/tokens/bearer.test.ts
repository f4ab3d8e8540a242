import { getRequestListener } from "@hono/node-server";
import { minutes, StoreUnavailableError, seconds } from "coatcheck";
import * as onExpress from "coatcheck/express";
import * as onFastify from "coatcheck/fastify";
import * as onFetch from "coatcheck/fetch";
import * as onHono from "coatcheck/hono";
import * as onKoa from "coatcheck/koa";
import * as onNode from "coatcheck/node";
import { createTokens } from "coatcheck/tokens";
import express5 from "express";
import express4 from "express4";
import Fastify from "fastify";
import { Hono } from "hono";
import Koa from "koa";
import { afterEach, describe, expect, expectTypeOf, it } from "vitest";
import { http1, type Listener, pathOf, type Served } from "../frameworks/servers.ts";
import { AUDIENCE, ISSUER, issuer, START } from "./support.ts";

type Tokens = ReturnType<typeof shopTokens>;

/** Paths: /plain asks for a token, /scope for two scopes, /recent for a sign-in within five minutes. */
interface Framework {
  readonly name: string;
  listener(tokens: Tokens): Listener | Promise<Listener>;
}

function shopTokens(options: object = {}) {
  const { key, clock } = issuer("ES256");
  return createTokens({ keys: key, issuer: ISSUER, audience: AUDIENCE, clock, claims: ["plan"], ...options });
}

const SCOPE = "cart:read cart:write";
const FRESH = minutes(5);

const expressApp = (create: typeof express5) => (tokens: Tokens) => {
  const app = create();
  app.set("env", "test");
  app.use(onExpress.requireAccessToken(tokens));
  app.get("/plain", (req, res) => {
    const token = onExpress.accessTokenOf(tokens, req);
    expectTypeOf(token.sub).toEqualTypeOf<string>();
    expectTypeOf(token.plan).toEqualTypeOf<unknown>();
    res.json(token);
  });
  app.get("/scope", onExpress.requireScope(SCOPE), (req, res) => {
    res.json(onExpress.accessTokenOf(tokens, req));
  });
  app.get("/recent", onExpress.requireRecentAuth(FRESH), (req, res) => {
    res.json(onExpress.accessTokenOf(tokens, req));
  });
  return app as unknown as Listener;
};

const FRAMEWORKS: readonly Framework[] = [
  { name: "Express 5", listener: expressApp(express5) },
  { name: "Express 4", listener: expressApp(express4 as unknown as typeof express5) },
  {
    name: "node:http",
    listener(tokens) {
      const answer: onNode.TokenHandler<Awaited<ReturnType<Tokens["verify"]>>> = (request, response, token) => {
        expect(onNode.accessTokenOf(tokens, request)).toBe(token);
        response.setHeader("Content-Type", "application/json").end(JSON.stringify(token));
      };
      const routes: Record<string, Listener> = {
        "/plain": onNode.requireAccessToken(tokens, answer),
        "/scope": onNode.requireAccessToken(tokens, onNode.requireScope(SCOPE, answer)),
        "/recent": onNode.requireAccessToken(tokens, onNode.requireRecentAuth(FRESH, answer)),
      };
      return (request, response) => routes[pathOf(request.url)]?.(request, response);
    },
  },
  {
    name: "Fetch",
    listener(tokens) {
      const answer = (request: Request, token: Awaited<ReturnType<Tokens["verify"]>>) => {
        expect(onFetch.accessTokenOf(tokens, request)).toBe(token);
        return Response.json(token);
      };
      const routes: Record<string, (request: Request) => Promise<Response>> = {
        "/plain": onFetch.requireAccessToken(tokens, answer),
        "/scope": onFetch.requireAccessToken(tokens, onFetch.requireScope(SCOPE, answer)),
        "/recent": onFetch.requireAccessToken(tokens, onFetch.requireRecentAuth(FRESH, answer)),
      };
      return getRequestListener(
        (request) => routes[pathOf(request.url)]?.(request) ?? new Response(null, { status: 404 }),
        {
          overrideGlobalObjects: false,
        },
      ) as unknown as Listener;
    },
  },
  {
    name: "Fastify",
    async listener(tokens) {
      const app = Fastify();
      app.addHook("onRequest", onFastify.requireAccessToken(tokens));
      app.get("/plain", async (request) => onFastify.accessTokenOf(tokens, request));
      app.get("/scope", { onRequest: onFastify.requireScope(SCOPE) }, async (request) =>
        onFastify.accessTokenOf(tokens, request),
      );
      app.get("/recent", { onRequest: onFastify.requireRecentAuth(FRESH) }, async (request) =>
        onFastify.accessTokenOf(tokens, request),
      );
      await app.ready();
      return app.routing as unknown as Listener;
    },
  },
  {
    name: "Koa",
    listener(tokens) {
      const app = new Koa();
      app.silent = true;
      const checks: Record<string, Koa.Middleware> = {
        "/scope": onKoa.requireScope(SCOPE),
        "/recent": onKoa.requireRecentAuth(FRESH),
      };
      app.use(onKoa.requireAccessToken(tokens));
      app.use((ctx, next) => checks[ctx.path]?.(ctx, next) ?? next());
      app.use((ctx) => {
        ctx.body = onKoa.accessTokenOf(tokens, ctx);
      });
      return app.callback();
    },
  },
  {
    name: "Hono",
    listener(tokens) {
      const app = new Hono();
      app.use(onHono.requireAccessToken(tokens));
      app.get("/plain", (c) => c.json(onHono.accessTokenOf(tokens, c)));
      app.get("/scope", onHono.requireScope(SCOPE), (c) => c.json(onHono.accessTokenOf(tokens, c)));
      app.get("/recent", onHono.requireRecentAuth(FRESH), (c) => c.json(onHono.accessTokenOf(tokens, c)));
      return getRequestListener(app.fetch, { overrideGlobalObjects: false }) as unknown as Listener;
    },
  },
];

let served: Served | undefined;
afterEach(async () => {
  await served?.close();
  served = undefined;
});

describe.each(FRAMEWORKS)("$name", ({ listener }) => {
  async function shop(options: object = {}) {
    const tokens = shopTokens(options);
    served = await http1(await listener(tokens));
    const ask = (path: string, authorization?: string | readonly string[]) =>
      (served as Served).send(path, { headers: { authorization } }).whole;
    return { tokens, ask };
  }

  it("JW-19: a valid token opens the door, and the handler has its claims", async () => {
    const { tokens, ask } = await shop();
    const token = tokens.sign({ sub: "ada", plan: "free" });
    for (const scheme of ["Bearer", "bearer", "BEARER"]) {
      const answer = await ask("/plain", `${scheme} ${token}`);
      expect([answer.status, JSON.parse(answer.text)]).toMatchObject([200, { sub: "ada", plan: "free" }]);
    }
  });

  it("JW-19: without a token the challenge names no error, with a wrong one it is invalid_token", async () => {
    const { tokens, ask } = await shop();
    const token = tokens.sign({ sub: "ada" });
    for (const none of [undefined, "Basic YTpi", "Bearerx", `DPoP ${token}`, token]) {
      const answer = await ask("/plain", none);
      expect([answer.status, answer.headers["www-authenticate"]], String(none)).toEqual([401, "Bearer"]);
    }
    for (const wrong of [
      "Bearer",
      "Bearer x",
      `Bearer ${token}x`,
      `Bearer ${token} ${token}`,
      `Bearer ${token}, Bearer ${token}`,
      [`Bearer ${token}`, `Bearer ${token}`],
    ]) {
      const answer = await ask("/plain", wrong);
      expect(answer.status, String(wrong)).toBe(401);
      expect(answer.headers["www-authenticate"]).toBe('Bearer error="invalid_token"');
      expect(answer.headers["cache-control"]).toBe("no-store");
      expect(JSON.parse(answer.text)).toEqual({ error: "The access token is not valid." });
    }
  });

  it("JW-19: a token in the query, a cookie or another header is not looked at", async () => {
    const { tokens } = await shop();
    const token = tokens.sign({ sub: "ada" });
    for (const [path, headers] of [
      [`/plain?access_token=${token}`, {}],
      ["/plain", { cookie: `access_token=${token}; token=${token}` }],
      ["/plain", { "x-access-token": token, "proxy-authorization": `Bearer ${token}` }],
    ] as const) {
      const answer = await (served as Served).send(path, { headers }).whole;
      expect([answer.status, answer.headers["www-authenticate"]]).toEqual([401, "Bearer"]);
    }
  });

  it("requireScope: a token that lacks one of them is answered 403, and told which are needed", async () => {
    const { tokens, ask } = await shop();
    const bearer = (scope?: string) =>
      `Bearer ${tokens.sign({ sub: "ada", ...(scope === undefined ? {} : { scope }) })}`;
    for (const scope of [SCOPE, "cart:write cart:read", `admin ${SCOPE}`])
      expect((await ask("/scope", bearer(scope))).status).toBe(200);
    for (const scope of [undefined, "cart:read", "cart:read cart", "cart:read cart:writes", "CART:READ CART:WRITE"]) {
      const answer = await ask("/scope", bearer(scope));
      expect(answer.status, scope).toBe(403);
      expect(answer.headers["www-authenticate"]).toBe(`Bearer error="insufficient_scope", scope="${SCOPE}"`);
    }
  });

  it("requireRecentAuth: an older sign-in is answered with the step-up challenge of RFC 9470", async () => {
    const { tokens, ask } = await shop();
    const bearer = (auth_time?: number) =>
      `Bearer ${tokens.sign({ sub: "ada", ...(auth_time === undefined ? {} : { auth_time }) })}`;
    expect((await ask("/recent", bearer(START - 299))).status).toBe(200);
    for (const auth_time of [undefined, START - 300, 0]) {
      const answer = await ask("/recent", bearer(auth_time));
      expect(answer.status).toBe(401);
      expect(answer.headers["www-authenticate"]).toBe('Bearer error="insufficient_user_authentication", max_age="300"');
    }
  });

  it("SC-06: while the revocations cannot be asked the answer is 503, not 401", async () => {
    const isRevoked = () => Promise.reject(new StoreUnavailableError("read", { cause: new Error("down") }));
    const { tokens, ask } = await shop({ revocation: { isRevoked } });
    const answer = await ask("/plain", `Bearer ${tokens.sign({ sub: "ada" })}`);
    expect([answer.status, answer.headers["retry-after"]]).toEqual([503, "5"]);
    expect(answer.headers["www-authenticate"]).toBeUndefined();
  });
});

describe("misuse is a TypeError", () => {
  it("a scope that is none, a maximum age below a second", () => {
    for (const scope of ["", " ", "a  b", 'a"', "a\r\nb", undefined as never])
      expect(() => onExpress.requireScope(scope)).toThrow(TypeError);
    for (const maxAge of [0, -1, 999, Number.NaN, undefined as never])
      expect(() => onExpress.requireRecentAuth(maxAge)).toThrow(TypeError);
    onExpress.requireRecentAuth(seconds(1));
  });

  it("a token that was not asked for, or was verified by somebody else", async () => {
    const tokens = shopTokens();
    const request = new Request(ISSUER, { headers: { authorization: `Bearer ${tokens.sign({ sub: "ada" })}` } });
    expect(() => onFetch.accessTokenOf(tokens, request)).toThrow(TypeError);
    const check = onFetch.requireScope("a", () => new Response());
    expect(() => check(request, {} as never)).toThrow(TypeError);
    await onFetch.requireAccessToken(tokens, () => new Response())(request);
    expect(onFetch.accessTokenOf(tokens, request).sub).toBe("ada");
    expect(() => onFetch.accessTokenOf(shopTokens(), request)).toThrow(TypeError);
  });
});
