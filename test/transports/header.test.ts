import { createServer, request as send } from "node:http";
import type { AddressInfo } from "node:net";
import { createSessions, headerTransport, InsecureTransportError } from "coatcheck";
import { withSession } from "coatcheck/node";
import { describe, expect, it } from "vitest";
import { facts, recorded, TestClock, type Visit, watchedStore } from "../frameworks/support.ts";

function api(options: Parameters<typeof headerTransport>[0] = {}) {
  const store = watchedStore();
  const sessions = createSessions<Visit>({ store, clock: new TestClock(), transport: headerTransport(options) });
  const ask = async (
    headers: Record<string, string | undefined>,
    handler: (session: Awaited<ReturnType<typeof sessions.open>>["session"]) => unknown = () => {},
    method = "POST",
  ) => {
    const exchange = await sessions.open(facts({ method, headers }));
    await handler(exchange.session);
    await exchange.commit();
    const changes = exchange.responseChanges();
    return { session: exchange.session, ...changes, sent: Object.fromEntries(changes.headers) };
  };
  return { store, sessions, ask, events: recorded(sessions) };
}

describe("headerTransport", () => {
  it("ID-06: with this transport the token is read from Authorization and handed over in Session-Token", async () => {
    const { ask } = api();
    const first = await ask({}, (session) => session.login("ada"));
    expect(first.cookies).toEqual([]);
    expect(first.sent).toEqual({
      "Session-Token": expect.stringMatching(/^[\w-]{22}\.[\w-]{43}$/),
      "Cache-Control": "no-store",
    });
    const token = first.sent["Session-Token"];
    expect((await ask({ authorization: `Bearer ${token}` })).session.userId).toBe("ada");
    expect((await ask({ authorization: `bEARER   ${token} ` })).session.userId).toBe("ada");
    expect((await ask({ cookie: `__Host-Http-sid=${token}; sid=${token}` })).session.userId).toBeUndefined();
    expect((await ask({ "session-token": token })).session.userId).toBeUndefined();

    const gone = await ask({ authorization: `Bearer ${token}` }, (session) => session.logout());
    expect(gone.sent).toEqual({ "Session-Token": "", "Cache-Control": "no-store" });
    expect((await ask({ authorization: `Bearer ${token}` })).session.userId).toBeUndefined();
  });

  it("ID-05: other schemes and malformed values are anonymous and never reach the store", async () => {
    const { ask, store, events } = api();
    for (const authorization of [
      "",
      "Bearer",
      "Bearer ",
      "Bearer\ttoken",
      "Basic YWRhOnB3",
      'Digest username="ada", realm="shop", nonce="x"',
      `Bearer ${"A".repeat(66)}`,
      `Bearer ${"A".repeat(22)}.${"B".repeat(43)} x`,
      `Bearer ${"A".repeat(22)}.${"B".repeat(44)}`,
      `Bearer eyJhbGciOiJIUzI1NiJ9.e30.x`,
      `Bearer ${"A".repeat(1_048_576)}`,
      `${"Bearer ".repeat(10_000)}`,
    ]) {
      const { session, headers } = await ask({ authorization });
      expect(session.isNew).toBe(true);
      expect(headers).toEqual([]);
    }
    expect(store.calls()).toBe(0);
    expect(new Set(events.map(({ type }) => type))).toEqual(new Set(["malformedToken"]));
  });

  it("ID-09: two tokens in one request are none", async () => {
    const { ask, events, store } = api();
    const token = (await ask({}, (session) => session.login("ada"))).sent["Session-Token"];
    const calls = store.calls();
    const { session } = await ask({ authorization: `Bearer ${token}, Bearer ${token}` });
    expect(session.userId).toBeUndefined();
    expect(store.calls()).toBe(calls);
    expect(events.at(-1)?.type).toBe("duplicateCookie");
  });

  it("ID-09: two Authorization headers on the wire are seen, though Node shows only the first", async () => {
    const { sessions, ask } = api();
    const token = (await ask({}, (session) => session.login("ada"))).sent["Session-Token"] ?? "";
    const local = withSession(sessions, (_request, response, session) => response.end(String(session.userId)));
    const server = createServer(local);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    const user = (...tokens: string[]) =>
      new Promise<string>((resolve, reject) => {
        const headers = ["Host", "localhost", ...tokens.flatMap((value) => ["Authorization", value])];
        send({ port, host: "127.0.0.1", headers, agent: false }, (response) => {
          response.setEncoding("utf8").on("data", resolve);
        })
          .on("error", reject)
          .end();
      });
    expect(await user(`Bearer ${token}`)).toBe("ada");
    expect(await user(`Bearer ${token}`, `Bearer ${token}`)).toBe("undefined");
    expect(await user(`Bearer ${token}`, "Bearer x")).toBe("undefined");
    server.close();
  });

  it("CS-12: such a token is never sent unasked, so a request of another site carries none and is not refused", async () => {
    const { sessions } = api();
    const headers = { "sec-fetch-site": "cross-site", origin: "https://evil.example" };
    const exchange = await sessions.open(facts({ method: "POST", headers }));
    expect(exchange.session.isNew).toBe(true);
  });

  it("CK-19: no token over plain HTTP either", async () => {
    const { sessions, store } = api();
    const exchange = await sessions.open(facts({ secure: false, host: "api.example" }));
    await expect(exchange.session.login("ada")).rejects.toBeInstanceOf(InsecureTransportError);
    expect(store.calls("create")).toBe(0);
  });

  it("TR-02: an authenticated answer varies by the header that carries the token", async () => {
    for (const [request, varyBy] of [
      [undefined, "Authorization"],
      ["X-Api-Session", "X-Api-Session"],
    ] as const) {
      const { ask } = api(request === undefined ? {} : { request });
      const token = (await ask({}, (session) => session.login("ada"))).sent["Session-Token"];
      const headers = request === undefined ? { authorization: `Bearer ${token}` } : { "x-api-session": token };
      expect(await ask(headers, undefined, "GET")).toMatchObject({ headers: [], varyBy });
      expect((await ask({}, undefined, "GET")).varyBy).toBeUndefined();
    }
  });

  it("uses the headers it is told to, and refuses what is no header name", async () => {
    const { ask } = api({ request: "X-Session", response: "X-New-Session" });
    const token = (await ask({}, (session) => session.login("ada"))).sent["X-New-Session"];
    expect((await ask({ "x-session": token })).session.userId).toBe("ada");
    expect((await ask({ authorization: `Bearer ${token}` })).session.userId).toBeUndefined();
    for (const name of ["", "a b", "a:b", "a\r\nSet-Cookie: x=1", "\u00e9"]) {
      expect(() => headerTransport({ request: name })).toThrow(TypeError);
      expect(() => headerTransport({ response: name })).toThrow(TypeError);
    }
  });
});
