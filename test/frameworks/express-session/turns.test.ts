import { expect, it, vi } from "vitest";
import { systemClock } from "../../../src/session/clock.ts";
import { deferred, type Handler, idIn, kinds, lab, packages, type Served, storedIn, type Untyped } from "./support.ts";

const [, { session }] = packages;

/** A cart as many applications have it: read, wait for something, write. */
const cart: Handler = (request, response) => {
  const added = [...(request.session.cart ?? []), request.url];
  setImmediate(() => {
    request.session.cart = added;
    response.end(String(added.length));
  });
};

const post = (served: Served, path: string, cookie: string | undefined) =>
  served.send(path, { method: "POST", cookie });

it.each(kinds)('concurrency: "turns" keeps 100 of 100 parallel additions to a cart (%s)', async (kind) => {
  const store = new session.MemoryStore();
  const served = await lab(session, kind).serve({ store, concurrency: "turns" }, cart);
  const first = await post(served, "/first", undefined);
  const paths = Array.from({ length: 100 }, (_, i) => `/${i}`);
  await Promise.all(paths.map((path) => post(served, path, first.cookie)));
  const { cart: kept } = await storedIn(store, idIn(first));
  expect(kept.toSorted()).toEqual(["/first", ...paths].toSorted());
});

it("without it, as in express-session, one of two additions at a time is lost", async () => {
  for (const { session: of } of packages) {
    const store = new of.MemoryStore();
    const both = deferred();
    let entered = 0;
    const served = await lab(of, "Express 5").serve({ store }, (request, response) => {
      const added = [...(request.session.cart ?? []), request.url];
      if (request.url !== "/first" && ++entered === 2) both.resolve();
      const wait = request.url === "/first" ? Promise.resolve() : both.promise;
      wait.then(() => {
        request.session.cart = added;
        response.end();
      });
    });
    const first = await post(served, "/first", undefined);
    await Promise.all(["/a", "/b"].map((path) => post(served, path, first.cookie)));
    expect((await storedIn(store, idIn(first))).cart).toHaveLength(2);
  }
});

it("requests with safe methods, and of other sessions, do not wait", async () => {
  const busy = deferred();
  const entered = deferred();
  const served = await lab(session, "Express 5").serve({ concurrency: "turns" }, (request, response) => {
    request.session.n = (request.session.n ?? 0) + 1;
    if (request.url !== "/slow") return response.end(`n=${request.session.n}`);
    entered.resolve();
    busy.promise.then(() => response.end("slow"));
  });
  const [one, other] = [await served.get(), await served.get()];
  const slow = post(served, "/slow", one.cookie);
  await entered.promise;
  for (const method of ["GET", "OPTIONS"])
    expect((await served.send("/", { method, cookie: one.cookie })).body).toMatch(/^n=/);
  expect((await post(served, "/", other.cookie)).body).toBe("n=2");
  expect((await post(served, "/", undefined)).body).toBe("n=1");
  busy.resolve();
  expect((await slow).body).toBe("slow");
});

it("a turn ends when the session is saved, and when the client goes away", async () => {
  const order: string[] = [];
  const entered = deferred();
  const served = await lab(session, "Express 5").serve({ concurrency: "turns" }, (request, response) => {
    order.push(request.url);
    if (request.url === "/never") return entered.resolve();
    request.session.n = (request.session.n ?? 0) + 1;
    response.end(`n=${request.session.n}`);
  });
  const { cookie } = await served.get("/get");
  const leaving = new AbortController();
  const gone = fetch(`${served.url}/never`, {
    method: "POST",
    headers: { cookie: String(cookie) },
    signal: leaving.signal,
  }).catch(() => "gone");
  await entered.promise;
  const waiting = post(served, "/next", cookie);
  leaving.abort();
  expect(await gone).toBe("gone");
  expect((await waiting).body).toBe("n=2");
  expect(order).toEqual(["/get", "/never", "/next"]);
});

it("two middlewares on one store take turns together", async () => {
  const store = new session.MemoryStore();
  const one = await lab(session, "Express 5").serve({ store, concurrency: "turns" }, cart);
  const two = await lab(session, "node:http").serve({ store, concurrency: "turns" }, cart);
  const first = await post(one, "/first", undefined);
  await Promise.all(Array.from({ length: 40 }, (_, i) => post(i % 2 === 0 ? one : two, `/${i}`, first.cookie)));
  expect((await storedIn(store, idIn(first))).cart).toHaveLength(41);
});

it("after five seconds a request goes ahead without its turn, with a warning", async () => {
  const waits: Array<() => void> = [];
  const schedule = vi.spyOn(systemClock, "schedule").mockImplementation((callback, delay) => {
    expect(delay).toBe(5000);
    waits.push(callback);
    return () => {};
  });
  try {
    const warned = new Promise<Untyped>((resolve) => process.once("warning", resolve));
    const entered = deferred();
    const busy = deferred();
    const served = await lab(session, "Express 5").serve({ concurrency: "turns" }, (request, response) => {
      request.session.n = (request.session.n ?? 0) + 1;
      if (request.url !== "/slow") return response.end("quick");
      entered.resolve();
      busy.promise.then(() => response.end("slow"));
    });
    const { cookie } = await served.get();
    const slow = post(served, "/slow", cookie);
    await entered.promise;
    const quick = post(served, "/quick", cookie);
    await vi.waitUntil(() => waits.length === 1);
    waits[0]?.();
    expect((await quick).body).toBe("quick");
    expect(await warned).toMatchObject({ code: "COATCHECK_TURN_TIMED_OUT" });
    busy.resolve();
    await slow;
  } finally {
    schedule.mockRestore();
  }
});

it("refuses other values of concurrency", () => {
  expect(() => session({ secret: "s", concurrency: "locks" } as Untyped)).toThrow(
    new TypeError('concurrency option must be "turns"'),
  );
});
