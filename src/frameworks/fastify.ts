/**
 * Sessions for Fastify 5.
 *
 * @module
 */
import type { FastifyPluginCallback, FastifyReply, FastifyRequest, onRequestAsyncHookHandler } from "fastify";
import type { Duration } from "../session/clock.ts";
import type { RouteOptions } from "../session/options.ts";
import type { Session, SessionDataShape } from "../session/session.ts";
import type { Sessions } from "../session/sessions.ts";
import type { RequestFacts, ResponseChanges } from "../session/transport.ts";
import { authorize, recentAuthCheck, scopeCheck, type TokenCheck, type TokenVerifier } from "../tokens/bearer.ts";
import type { AccessClaims } from "../tokens/claims.ts";
import type { SessionTokens } from "../tokens/session-tokens.ts";
import { TokenEndpoint, type TokenRouteOptions } from "../tokens/token-endpoint.ts";
import { errorAnswer, isFault } from "./error-answer.ts";
import { answerError, onClose } from "./node.ts";
import { headerOf } from "./node-request.ts";
import { gateResponse, isOfTheContent, type ResponseGate } from "./response-gate.ts";

export { accessTokenOf } from "../tokens/bearer.ts";

declare module "fastify" {
  interface FastifyRequest {
    /** The visitor's session. Declare its data by adding keys to `SessionDataShape`, or use `sessionOf` for types. */
    session: Session;
  }
  interface FastifyContextConfig {
    /** What this route wants otherwise than the rest: `config: { coatcheck: { passive: true } }`. */
    coatcheck?: RouteOptions;
  }
}

export interface FastifyOptions extends RouteOptions {
  // biome-ignore lint/suspicious/noExplicitAny: `register` does not infer the options of a plugin, so their data is unknown
  readonly sessions: Sessions<any>;
  /**
   * Answers errors of this library: cross-site requests, a store that is down, conflicts. Default: the error's status
   * and one sentence as JSON; faults of the application go to its error handler. `(error, request, reply) =>
   * reply.send(error)` sends all of them there.
   */
  readonly onError?: (error: unknown, request: FastifyRequest, reply: FastifyReply) => unknown;
}

type Visit = { readonly session: Session<never>; readonly gate: ResponseGate };
const visits = Symbol("coatcheck.visits");
const registered = Symbol("coatcheck.registered");
type WithVisits = { [visits]?: Map<unknown, Visit>; session?: unknown };
type WithRegistered = { [registered]?: ReadonlySet<unknown> };

/**
 * Sets `request.session`, and holds the response until what changed is saved: payloads, streams, redirects, and what
 * is written to `reply.raw` after `reply.hijack()`. When a handler or hook fails, nothing is saved; an error handler
 * that has something to keep calls `session.commit()`.
 *
 * Registered on the root it covers every route and the 404s; registered inside a plugin, the routes of that plugin.
 * Which proxies count is Fastify's `trustProxy`.
 *
 * Starting fails with a TypeError when the same sessions are registered already, here or in a context around this
 * one.
 */
export const sessionPlugin: FastifyPluginCallback<FastifyOptions> = (fastify, options, done) => {
  const { sessions, passive, turns, crossSite, storeDown } = options;
  const answer = answerWith(options);
  const general: RouteOptions = { passive, turns, crossSite, storeDown };
  const scope = fastify as WithRegistered;
  if (scope[registered]?.has(sessions))
    return done(
      new TypeError("sessionPlugin: these sessions are registered already. A route's options go into its config"),
    );
  // Contexts within this one inherit the property; those beside it do not.
  scope[registered] = new Set(scope[registered]).add(sessions);
  if (!fastify.hasRequestDecorator("session")) fastify.decorateRequest("session", null as never);

  fastify.addHook("onRequest", (request, reply, next) => {
    const own = request as WithVisits;
    const atClose = onClose(reply.raw);
    const fail = (error: unknown) => answer(error, request, reply);
    sessions
      .open(fastifyRequest(request), { ...general, ...request.routeOptions.config?.coatcheck })
      .then((exchange) => {
        atClose(() => exchange.end());
        const gate = gateResponse(reply.raw, exchange as never, fail);
        own[visits] = (own[visits] ?? new Map()).set(sessions, { session: exchange.session as never, gate });
        own.session = exchange.session;
        next();
      }, fail);
  });

  fastify.addHook("onError", (request, _reply, _error, next) => {
    (request as WithVisits)[visits]?.get(sessions)?.gate.abandon();
    next();
  });
  done();
};

// What fastify-plugin sets: the hooks and `request.session` belong to whoever registers the plugin.
Object.assign(sessionPlugin, {
  [Symbol.for("skip-override")]: true,
  [Symbol.for("fastify.display-name")]: "coatcheck",
  [Symbol.for("plugin-meta")]: { name: "coatcheck", fastify: "5.x" },
});

/**
 * The session of a request, typed by its `sessions`, without any declaration.
 *
 * @throws TypeError when `sessionPlugin` is not registered with these sessions for the request's route
 */
export function sessionOf<Data extends object = SessionDataShape>(
  sessions: Sessions<Data>,
  request: FastifyRequest,
): Session<Data> {
  const visit = (request as WithVisits)[visits]?.get(sessions);
  if (visit === undefined) throw new TypeError("sessionOf: register sessionPlugin with these sessions for this route");
  return visit.session as unknown as Session<Data>;
}

/**
 * A hook, for `onRequest` of a route or a context, that lets a request through that brings a valid access token;
 * `accessTokenOf(tokens, request)` is the token. Others are answered 401 (RFC 6750).
 */
export function requireAccessToken<Token extends AccessClaims>(
  tokens: TokenVerifier<Token>,
  { onError = answerOrPassOn }: Pick<FastifyOptions, "onError"> = {},
): onRequestAsyncHookHandler {
  return async function accessToken(request, reply) {
    try {
      await authorize(tokens, headerOf(request.raw, "authorization"), request);
    } catch (error) {
      return onError(error, request, reply);
    }
  };
}

/** A hook that lets a token through that has this scope, or these, with spaces between. Others are answered 403. */
export const requireScope = (scope: string, options: Pick<FastifyOptions, "onError"> = {}): onRequestAsyncHookHandler =>
  checked(scopeCheck(scope), options);

/**
 * A hook that lets a token through whose user authenticated less than `maxAge` ms ago. Others are answered 401, to step up
 * (RFC 9470).
 */
export const requireRecentAuth = (
  maxAge: Duration,
  options: Pick<FastifyOptions, "onError"> = {},
): onRequestAsyncHookHandler => checked(recentAuthCheck(maxAge), options);

/**
 * A route that hands out tokens: for logging in, refreshing or logging out. The handler's result is sent as JSON, nothing as
 * 204, never to be stored. The refresh token travels in an HttpOnly cookie, and requests of other sites are refused.
 */
export function tokenRoute<Own extends string, Req extends FastifyRequest = FastifyRequest>(
  tokens: SessionTokens<Own>,
  handler: (endpoint: TokenEndpoint<Own>, request: Req) => unknown,
  options: TokenRouteOptions & Pick<FastifyOptions, "onError"> = {},
): (request: Req, reply: FastifyReply) => Promise<unknown> {
  const { onError = answerOrPassOn } = options;

  return async function token(request, reply) {
    try {
      const endpoint = new TokenEndpoint(tokens, fastifyRequest(request), options);
      let answer: unknown;
      try {
        answer = await handler(endpoint, request);
      } finally {
        setChanges(reply, endpoint.responseChanges());
      }
      return answer === undefined ? reply.code(204).send() : reply.send(answer);
    } catch (error) {
      return onError(error, request, reply);
    }
  };
}

function setChanges(reply: FastifyReply, { headers, cookies }: ResponseChanges): void {
  for (const [name, value] of headers) reply.header(name, value);
  for (const { line } of cookies) reply.header("Set-Cookie", line);
}

function checked(
  check: TokenCheck,
  { onError = answerOrPassOn }: Pick<FastifyOptions, "onError">,
): onRequestAsyncHookHandler {
  return async function checkAccessToken(request, reply) {
    try {
      check(request);
    } catch (error) {
      return onError(error, request, reply);
    }
  };
}

/** Answers by `onError`. What that throws, at once or later, goes to the application's error handler. */
function answerWith({ onError = answerOrPassOn }: Pick<FastifyOptions, "onError">) {
  const answer = async (by: typeof onError, ...[error, request, reply]: Parameters<typeof onError>): Promise<void> => {
    if (reply.sent) answerError(error, request.raw, reply.raw);
    else await by(error, request, reply);
  };
  return (error: unknown, request: FastifyRequest, reply: FastifyReply): Promise<void> =>
    answer(onError, error, request, reply).catch((failure) => answer(answerOrPassOn, failure, request, reply));
}

function answerOrPassOn(error: unknown, _request: FastifyRequest, reply: FastifyReply): unknown {
  for (const name of Object.keys(reply.getHeaders())) if (isOfTheContent(name)) reply.removeHeader(name);
  if (isFault(error)) return reply.send(error);
  const { status, headers, body } = errorAnswer(error);
  // As bytes, which no serializer touches.
  return reply.code(status).headers(headers).send(new TextEncoder().encode(body));
}

function fastifyRequest(request: FastifyRequest): RequestFacts {
  return {
    method: request.method,
    header: (name) => headerOf(request.raw, name),
    // Fastify has judged the proxies.
    get secure() {
      return request.protocol.toLowerCase() === "https";
    },
    get host() {
      return request.host;
    },
    get ip() {
      return request.ip;
    },
  };
}
