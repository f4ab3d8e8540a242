import { createSessions, type Sessions } from "coatcheck";
import { sessionOf, sessionPlugin } from "coatcheck/fastify";
import Fastify, { type FastifyInstance } from "fastify";
import { beforeEach, describe, expect, it } from "vitest";
import { recorded, TestClock, type UnreliableStore, type Visit, watchedStore } from "./support.ts";

describe("Fastify", () => {
  let app: FastifyInstance;
  let store: UnreliableStore;
  let sessions: Sessions<Visit>;
  beforeEach(() => {
    app = Fastify();
    store = watchedStore();
    sessions = createSessions<Visit>({ store, clock: new TestClock() });
  });

  const call = (url: string, headers: Record<string, string> = {}, method: "GET" | "POST" = "POST") =>
    app.inject({ method, url, headers: { host: "localhost", ...headers } });
  const cookieOf = (answer: { headers: Record<string, unknown> }) =>
    String([answer.headers["set-cookie"]].flat()[0]).split(";")[0] ?? "";

  it("covers the routes of its scope, and no others", async () => {
    app.register(async (scope) => {
      scope.register(sessionPlugin, { sessions });
      scope.post("/in", async (request) => {
        sessionOf(sessions, request).data.n = 1;
        return String(request.session.isNew);
      });
      scope.register(async (inner) => {
        inner.post("/within", async (request) => String(sessionOf(sessions, request).isNew));
      });
    });
    app.post("/out", async (request) => {
      expect(request.session).toBeUndefined();
      return String(sessionOf(sessions, request));
    });
    const answer = await call("/in");
    expect(answer.body).toBe("true");
    expect((await call("/within", { cookie: cookieOf(answer) })).body).toBe("false");
    expect(await call("/out")).toMatchObject({
      statusCode: 500,
      body: expect.stringContaining("register sessionPlugin"),
    });
  });

  it("covers 404s and errors of validation on the root", async () => {
    app.register(sessionPlugin, { sessions });
    app.setNotFoundHandler(async (request, reply) => {
      sessionOf(sessions, request).data.text = request.url;
      return reply.code(404).send("nothing");
    });
    const answer = await call("/nowhere");
    expect([answer.statusCode, answer.body]).toEqual([404, "nothing"]);
    expect(cookieOf(answer)).toMatch(/^sid=/);
  });

  it("takes two kinds of sessions side by side, and neither of them twice", async () => {
    const others = createSessions<Visit>({ store: watchedStore(), clock: new TestClock(), cookie: { name: "other" } });
    app.register(sessionPlugin, { sessions });
    app.register(sessionPlugin, { sessions: others });
    app.post("/both", async (request) => {
      sessionOf(sessions, request).data.n = 1;
      sessionOf(others, request).data.n = 2;
      return "ok";
    });
    expect((await call("/both")).headers["set-cookie"]).toHaveLength(2);
    const again = Fastify();
    again.register(sessionPlugin, { sessions });
    again.register(async (scope) => void scope.register(sessionPlugin, { sessions }));
    await expect(again.ready()).rejects.toThrow("registered already");
  });

  it("a route's config wins over the plugin's options, key by key", async () => {
    app.register(sessionPlugin, { sessions, crossSite: "allow", storeDown: "anonymous" });
    app.post("/open", async () => "open");
    app.post("/closed", { config: { coatcheck: { crossSite: "refuse" } } }, async () => "closed");
    const headers = { "sec-fetch-site": "cross-site" };
    expect((await call("/open", headers)).body).toBe("open");
    expect((await call("/closed", headers)).statusCode).toBe(403);
    app = Fastify();
    app.register(sessionPlugin, { sessions });
    app.post("/login", async (request) => request.session.login("ada"));
    app.post("/down", { config: { coatcheck: { storeDown: "anonymous" } } }, async () => "calm");
    const cookie = cookieOf(await call("/login"));
    store.fail();
    expect((await call("/down", { cookie })).body).toBe("calm");
    expect((await call("/nowhere", { cookie })).statusCode).toBe(503);
  });

  it("keeps what was set for every answer when the session cannot be saved, and nothing of the one that failed", async () => {
    app.addHook("onRequest", async (_request, reply) => void reply.header("Access-Control-Allow-Origin", "*"));
    app.register(sessionPlugin, { sessions });
    app.register(async (scope) => {
      scope.post("/add", async (request, reply) => {
        sessionOf(sessions, request).data.n = 1;
        return reply.header("ETag", '"x"').type("text/html").redirect("/elsewhere");
      });
    });
    store.fail("create");
    const { statusCode, headers, body } = await call("/add");
    expect([statusCode, headers["retry-after"], headers["access-control-allow-origin"]]).toEqual([503, "5", "*"]);
    expect([headers.location, headers.etag, headers["content-type"]]).toEqual([
      undefined,
      undefined,
      "application/json; charset=utf-8",
    ]);
    expect(JSON.parse(body)).toEqual({ error: "Please try again in a moment." });
  });

  it("TR-05: hands every error to the error handler when onError says so", async () => {
    app.setErrorHandler((error, _request, reply) =>
      reply.code(418).send({ code: (error as { code?: string }).code ?? "none" }),
    );
    app.register(sessionPlugin, { sessions, onError: (error, _request, reply) => reply.send(error) });
    app.post("/add", async (request) => {
      sessionOf(sessions, request).data.n = 1;
      return "added";
    });
    expect((await call("/add", { "sec-fetch-site": "cross-site" })).json()).toEqual({ code: "cross_site_request" });
    store.fail("create");
    expect((await call("/add")).json()).toEqual({ code: "store_unavailable" });
  });

  it("an error of this library that a handler lets through has its status and Retry-After from Fastify itself", async () => {
    app.register(sessionPlugin, { sessions });
    app.register(async (scope) => {
      scope.post("/login", async (request) => request.session.login("ada"));
      scope.post("/recent", async (request) => request.session.requireRecentAuth());
      scope.post("/logout", async (request) => request.session.logout());
    });
    expect((await call("/recent")).statusCode).toBe(401);
    const cookie = cookieOf(await call("/login"));
    store.fail("remove");
    const answer = await call("/logout", { cookie });
    expect([answer.statusCode, answer.headers["retry-after"]]).toEqual([503, "5"]);
  });

  it("TR-05: an error handler saves nothing of the failed request unless it commits", async () => {
    let commits = false;
    app.setErrorHandler(async (_error, request, reply) => {
      request.session.flash("error", "try again");
      if (commits) await request.session.commit();
      return reply.redirect("/form", 303);
    });
    app.register(sessionPlugin, { sessions });
    app.post("/fail", async () => {
      throw new Error("bad");
    });
    app.get("/form", async (request) => request.session.takeFlash());
    expect((await call("/fail")).headers["set-cookie"]).toBeUndefined();
    commits = true;
    const answer = await call("/fail");
    expect(answer.statusCode).toBe(303);
    expect((await call("/form", { cookie: cookieOf(answer) }, "GET")).json()).toHaveLength(1);
  });

  it("CK-19: trusts the proxies that Fastify trusts", async () => {
    for (const trustProxy of [false, true]) {
      app = Fastify({ trustProxy });
      sessions = createSessions<Visit>({ store, clock: new TestClock() });
      const events = recorded(sessions);
      app.register(sessionPlugin, { sessions });
      app.register(async (scope) => void scope.post("/login", async (request) => request.session.login("ada")));
      const answer = await call("/login", {
        host: "inner",
        "x-forwarded-proto": "https",
        "x-forwarded-host": "shop.example",
        "x-forwarded-for": "203.0.113.7",
        origin: "https://shop.example",
      });
      expect(answer.statusCode).toBe(trustProxy ? 200 : 403);
      if (!trustProxy) continue;
      expect(cookieOf(answer)).toMatch(/^__Host-/);
      expect(events.at(-1)).toMatchObject({ type: "login", device: { ip: "203.0.113.0" } });
    }
  });
});
