import { createSessions, InsecureTransportError, type Session } from "coatcheck";
import { withSession } from "coatcheck/fetch";
import { afterEach, describe, expect, it, vi } from "vitest";
import { recorded, TestClock, type Visit, watchedStore } from "./support.ts";

type Handler = (request: Request, session: Session<Visit>) => Response | Promise<Response>;

function app(handler: Handler, options: Parameters<typeof withSession>[2] = {}) {
  const store = watchedStore();
  const sessions = createSessions<Visit>({ store, clock: new TestClock() });
  const serve = withSession(sessions, handler, options);
  const ask = (method = "GET", headers: Headers | Record<string, string> = {}, url = "https://shop.example/") =>
    serve(new Request(url, { method, headers }));
  return { store, sessions, serve, ask, events: recorded(sessions) };
}

const cookieOf = (response: Response): string => response.headers.getSetCookie()[0]?.split(";")[0] ?? "";
const login: Handler = async (request, session) => {
  if (request.method === "POST") await session.login("ada");
  return new Response(String(session.userId));
};

describe("Fetch", () => {
  afterEach(() => vi.restoreAllMocks());

  it("TR-05: a response that nothing was changed for is handed on as it is", async () => {
    const own = new Response("x");
    const { ask } = app(() => own);
    expect(await ask()).toBe(own);
  });

  it("TR-05: a response whose headers cannot be changed gets its cookie", async () => {
    const { ask } = app((_request, session) => {
      session.data.n = 1;
      return Response.redirect("https://shop.example/next", 303);
    });
    const response = await ask("POST");
    expect([response.status, response.headers.get("location")]).toEqual([303, "https://shop.example/next"]);
    expect(response.headers.getSetCookie()).toEqual([expect.stringContaining("__Host-Http-sid=")]);
  });

  it("CK-04: a response object that the application uses for everybody never carries one visitor's cookie to another", async () => {
    const shared = new Response(null, { status: 204, headers: { "X-A": "1" } });
    const { ask } = app(async (request, session) => {
      if (request.method === "POST") await session.login("ada");
      return shared;
    });
    expect((await ask("POST")).headers.getSetCookie()).toHaveLength(1);
    const visitor = await ask("GET");
    expect([visitor.headers.getSetCookie(), visitor.headers.get("cache-control")]).toEqual([[], null]);
    expect(shared.headers.getSetCookie()).toEqual([]);
  });

  it("TR-02: status and text survive when headers are added, and what cannot be made anew is left alone", async () => {
    const answers: Response[] = [];
    const { ask } = app(async (request, session) => {
      if (request.method === "POST") await session.login("ada");
      return answers.shift() ?? new Response();
    });
    const cookie = cookieOf(await ask("POST"));
    answers.push(new Response("x", { status: 404, statusText: "Gone Fishing" }));
    const made = await ask("GET", { cookie });
    expect([made.status, made.statusText, await made.text(), made.headers.get("cache-control")]).toEqual([
      404,
      "Gone Fishing",
      "x",
      "no-store",
    ]);
    // As Deno's and Workers' WebSocket responses, which Node cannot make.
    const upgrade = Object.defineProperty(new Response(null), "status", { value: 101 });
    for (const odd of [upgrade, Response.error()]) {
      answers.push(odd);
      expect(await ask("GET", { cookie })).toBe(odd);
    }
  });

  it("TR-05: what the handler throws is thrown on with nothing saved; an error of the session is answered", async () => {
    let failure: unknown;
    const { ask, store } = app(async (_request, session) => {
      session.data.n = 1;
      if (failure === "token") await session.requireCsrfToken("x");
      throw failure;
    });
    failure = new Error("mine");
    await expect(ask("POST")).rejects.toBe(failure);
    failure = "token";
    expect((await ask("POST")).status).toBe(403);
    expect(store.calls("create")).toBe(0);
  });

  it("TR-05: onError answers, at opening, at saving and for a handler that failed after a login", async () => {
    const seen: unknown[] = [];
    const { ask, store } = app(
      async (request, session) => {
        if (request.method === "PUT") {
          await session.login("ada");
          throw new Error("after login");
        }
        session.data.n = 1;
        return new Response("fine", { headers: { "Set-Cookie": "a=1" } });
      },
      {
        onError(error) {
          seen.push((error as { code?: string }).code ?? (error as Error).message);
          return new Response("mine", { status: 555 });
        },
      },
    );
    const refused = await ask("POST", { "sec-fetch-site": "cross-site" });
    store.failNext("create");
    const unsaved = await ask("POST");
    for (const response of [refused, unsaved]) {
      expect([response.status, await response.text(), response.headers.getSetCookie()]).toEqual([555, "mine", []]);
    }
    const failed = await ask("PUT");
    expect([failed.status, failed.headers.getSetCookie().length]).toEqual([555, 1]);
    expect(seen).toEqual(["cross_site_request", "store_unavailable", "after login"]);
  });

  it("TR-05: a body that will not be sent is cancelled", async () => {
    const cancel = vi.fn();
    const { ask, store } = app((_request, session) => {
      session.data.n = 1;
      return new Response(new ReadableStream({ cancel }));
    });
    store.failNext("create");
    expect((await ask("POST")).status).toBe(503);
    expect(cancel).toHaveBeenCalledOnce();
  });

  it("CK-19: TLS at a proxy counts when the platform's facts say so, and not by a header", async () => {
    const error = vi.spyOn(console, "error").mockImplementation(() => {});
    const url = "http://shop.example/";
    const plain = app(login);
    const refused = await plain.ask("POST", { "x-forwarded-proto": "https" }, url);
    expect([refused.status, refused.headers.getSetCookie()]).toEqual([500, []]);
    expect(error).toHaveBeenCalledWith(expect.any(InsecureTransportError));
    const told = app(login, { facts: () => ({ secure: true, ip: "198.51.100.7" }) });
    const answer = await told.ask("POST", {}, url);
    expect(answer.headers.getSetCookie()).toEqual([expect.stringMatching(/^__Host-Http-sid=.*; Secure;/)]);
    expect(told.events.find(({ type }) => type === "login")?.device).toEqual({ ip: "198.51.100.0" });
  });

  it("CS-01: methods and header shapes that only Fetch can make", async () => {
    const { ask } = app(login);
    for (const method of ["FOO", "QUERY", "post"])
      expect((await ask(method, { "sec-fetch-site": "cross-site" })).status, method).toBe(403);
    expect((await ask("get", { "sec-fetch-site": "cross-site" })).status).toBe(200);
    const twice = new Headers();
    twice.append("sec-fetch-site", "same-origin");
    twice.append("sec-fetch-site", "same-origin");
    expect((await ask("POST", twice)).status).toBe(403);
  });

  it("passes on what a platform gives its handlers besides the request", async () => {
    const sessions = createSessions<Visit>({ store: watchedStore(), clock: new TestClock() });
    const serve = withSession(
      sessions,
      (_request: Request, _session: Session<Visit>, env: { name: string }, n: number) => new Response(env.name + n),
    );
    const response = await serve(new Request("https://shop.example/"), { name: "x" }, 2);
    expect(await response.text()).toBe("x2");
  });
});
