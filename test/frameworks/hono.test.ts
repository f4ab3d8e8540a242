import { createSessions, type Sessions } from "coatcheck";
import { type HonoOptions, type SessionEnv, sessionMiddleware, sessionOf } from "coatcheck/hono";
import { Hono } from "hono";
import { HTTPException } from "hono/http-exception";
import { streamText } from "hono/streaming";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { recorded, TestClock, type UnreliableStore, type Visit, watchedStore } from "./support.ts";

describe("Hono", () => {
  let store: UnreliableStore;
  let sessions: Sessions<Visit>;
  beforeEach(() => {
    vi.spyOn(console, "error").mockImplementation(() => {});
    store = watchedStore();
    sessions = createSessions<Visit>({ store, clock: new TestClock() });
  });
  afterEach(() => void vi.restoreAllMocks());

  const make = (options: HonoOptions = {}) => new Hono<SessionEnv<Visit>>().use(sessionMiddleware(sessions, options));
  const post = (app: { request: Hono["request"] }, path = "/", headers: Record<string, string> = {}) =>
    app.request(`https://shop.example${path}`, { method: "POST", headers });

  it("keeps the headers of the handler's answer, other cookies included, and the stream of its body", async () => {
    const app = make().post("/", (c) => {
      c.var.session.data.n = 1;
      c.header("Set-Cookie", "other=1");
      c.header("X-Own", "1");
      return streamText(c, async (stream) => {
        await stream.write("a");
        sessionOf(sessions, c).data.n = 2;
        await c.get("session").commit();
        await stream.write("b");
      });
    });
    const answer = await post(app);
    expect(await answer.text()).toBe("ab");
    expect(answer.headers.getSetCookie()).toEqual(["other=1", expect.stringMatching(/^__Host-/)]);
    expect([answer.headers.get("x-own"), store.calls("create"), store.calls("update")]).toEqual(["1", 1, 1]);
  });

  it("nothing is left of an answer that could not be saved", async () => {
    const app = make().post("/", (c) => {
      c.var.session.data.n = 1;
      c.header("Set-Cookie", "other=1");
      return c.redirect("/elsewhere");
    });
    store.fail("create");
    const answer = await post(app);
    expect([answer.status, answer.headers.get("retry-after")]).toEqual([503, "5"]);
    expect([answer.headers.get("location"), answer.headers.getSetCookie()]).toEqual([null, []]);
  });

  it("TR-05: what app.onError answers is kept, and errors that it does not know are answered here", async () => {
    const app = make()
      .post("/own", async (c) => {
        await c.var.session.login("ada");
        throw new HTTPException(402, { message: "pay" });
      })
      .post("/ours", (c) => {
        c.var.session.requireRecentAuth();
        return c.text("recent");
      });
    const paid = await post(app, "/own");
    expect([paid.status, await paid.text()]).toEqual([402, "pay"]);
    expect(paid.headers.getSetCookie()).toHaveLength(1);
    const refused = await post(app, "/ours");
    expect([refused.status, await refused.json()]).toEqual([401, { error: "Please sign in again to do this." }]);
    app.onError((_error, c) => c.text("mine", 403));
    expect(await (await post(app, "/ours")).text()).toBe("mine");
  });

  it("paths can have options of their own, in front of the general ones", async () => {
    const app = new Hono<SessionEnv<Visit>>();
    app.use("/hook", sessionMiddleware(sessions, { crossSite: "allow" }));
    app.use(sessionMiddleware(sessions)).post("/*", (c) => c.text("in"));
    const headers = { "sec-fetch-site": "cross-site" };
    expect((await post(app, "/hook", headers)).status).toBe(200);
    expect((await post(app, "/other", headers)).status).toBe(403);
    expect((await post(app, "/other")).status).toBe(200);
  });

  it("CK-19: trusts a proxy only when told to, and knows the client's address from connInfo", async () => {
    const events = recorded(sessions);
    const connInfo = () => ({ remote: { address: "10.0.0.1" } });
    const forwarded = {
      "x-forwarded-proto": "http, https",
      "x-forwarded-host": "shop.example",
      "x-forwarded-for": "198.51.100.1, 203.0.113.7, 10.0.0.2",
      origin: "https://shop.example",
    };
    for (const [options, status, ip] of [
      [{}, 403, undefined],
      [{ connInfo }, 403, undefined],
      [{ trustProxy: true }, 200, "10.0.0.0"],
      [{ connInfo, trustProxy: (address?: string) => address?.startsWith("10.") === true }, 200, "203.0.113.0"],
      [{ connInfo, trustProxy: (address?: string) => address === "10.0.0.9" }, 403, undefined],
    ] as const) {
      events.length = 0;
      const app = make(options).post("/", async (c) => {
        await c.var.session.login("ada");
        return c.text("ok");
      });
      const answer = await app.request("http://inner/", { method: "POST", headers: forwarded });
      expect(answer.status).toBe(status);
      if (ip !== undefined) expect(events.at(-1)).toMatchObject({ type: "login", device: { ip } });
    }
    const app = make({ connInfo }).post("/", async (c) => c.json(await c.var.session.login("ada")));
    await post(app);
    expect(events.at(-1)).toMatchObject({ device: { ip: "10.0.0.0" } });
  });
});
