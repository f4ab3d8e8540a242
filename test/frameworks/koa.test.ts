import { createSessions, type Sessions } from "coatcheck";
import { sessionMiddleware, sessionOf } from "coatcheck/koa";
import Koa from "koa";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { http1, type Listener, type Served } from "./servers.ts";
import { TestClock, type UnreliableStore, type Visit, watchedStore } from "./support.ts";

describe("Koa", () => {
  let app: Koa;
  let store: UnreliableStore;
  let sessions: Sessions<Visit>;
  let served: Served;
  beforeEach(() => {
    app = new Koa();
    app.silent = true;
    store = watchedStore();
    sessions = createSessions<Visit>({ store, clock: new TestClock() });
  });
  afterEach(() => served.close());

  const serve = async () => {
    served = await http1(app.callback() as Listener);
  };
  const post = (headers: Record<string, string> = {}) => served.send("/", { method: "POST", headers }).whole;

  it("the middleware in front sees the status of what could not be saved, and headers for every answer stay", async () => {
    const seen: number[] = [];
    app.use(async (ctx, next) => {
      ctx.set("Access-Control-Allow-Origin", "*");
      await next();
      seen.push(ctx.status);
    });
    app.use(sessionMiddleware(sessions)).use((ctx) => {
      ctx.session.data.n = 1;
      ctx.set("ETag", '"x"');
      ctx.redirect("/elsewhere");
    });
    await serve();
    store.fail("create");
    const { status, headers } = await post();
    expect([status, seen]).toEqual([503, [503]]);
    expect(headers).toMatchObject({ "access-control-allow-origin": "*", "retry-after": "5" });
    expect([headers.location, headers.etag]).toEqual([undefined, undefined]);
  });

  it("throws every error on when onError does", async () => {
    app.use(async (ctx, next) => {
      try {
        await next();
      } catch (error) {
        ctx.status = 418;
        ctx.body = (error as { code?: string }).code ?? "";
      }
    });
    const onError = (error: unknown) => {
      throw error;
    };
    app.use(sessionMiddleware(sessions, { onError })).use((ctx) => {
      ctx.session.data.n = 1;
      ctx.body = "fine";
    });
    await serve();
    expect(await post({ "sec-fetch-site": "cross-site" })).toMatchObject({ status: 418, text: "cross_site_request" });
    store.fail("create");
    expect(await post()).toMatchObject({ status: 418, text: "store_unavailable", cookies: [] });
  });

  it("TR-05: an error that goes through gets Retry-After from Koa, and a new token still arrives", async () => {
    app.use(sessionMiddleware(sessions)).use(async ({ session }) => {
      if (session.userId !== undefined) return session.logout();
      await session.login("ada");
      throw new Error("after the login");
    });
    await serve();
    const failed = await post();
    expect([failed.status, failed.text]).toEqual([500, "Internal Server Error"]);
    expect(failed.cookies).toHaveLength(1);
    store.fail("remove");
    const cookie = failed.cookies[0]?.split(";")[0] ?? "";
    const { status, headers, cookies } = await post({ cookie });
    expect([status, headers["retry-after"], cookies]).toEqual([503, "5", []]);
  });

  it("CK-19: trusts proxies when Koa does", async () => {
    for (const proxy of [false, true]) {
      app = new Koa({ proxy });
      app.silent = true;
      app.use(sessionMiddleware(sessions)).use(async (ctx) => {
        await sessionOf(sessions, ctx).login("ada");
        ctx.status = 204;
      });
      await serve();
      const forwarded = {
        "x-forwarded-proto": "https",
        "x-forwarded-host": "shop.example",
        origin: "https://shop.example",
      };
      const { status, cookies } = await post(forwarded);
      expect(status).toBe(proxy ? 204 : 403);
      if (proxy) expect(cookies[0]).toMatch(/^__Host-/);
      else await served.close();
    }
  });

  it("sessionOf says what is missing", async () => {
    await serve();
    expect(() => sessionOf(sessions, {})).toThrow("use sessionMiddleware(sessions)");
  });
});
