import { minutes } from "coatcheck";
import { sqliteStore } from "coatcheck/sqlite";
import { expressSession } from "coatcheck/upgrade";
import { describe, expect, it } from "vitest";
import { describeRealStores, type MakeStore } from "../frameworks/express-session/real-store-kinds.ts";
import {
  genuine,
  type Handler,
  packages,
  SECRET,
  type Served,
  type SessionPackage,
  serve,
  type Untyped,
} from "../frameworks/express-session/support.ts";
import { Browser, native, POST } from "./support.ts";

const GRACE = minutes(5);

/** The old application, with data as passport keeps it. */
const shop: Handler = (request, response, next) => {
  const { session } = request;
  const done = (error?: unknown) => (error ? next(error) : response.json({ data: request.session ?? null }));
  if (request.path === "/login")
    return session.regenerate((error: unknown) => {
      if (error) return next(error);
      Object.assign(request.session, { passport: { user: "ada" }, cart: ["lamp"], flash: { info: ["hello"] } });
      done();
    });
  if (request.path === "/logout") return session.destroy(done);
  done();
};

const oldShop = (of: SessionPackage, store: Untyped, more = {}): Promise<Served> =>
  serve("Express 5", of({ secret: SECRET, resave: false, saveUninitialized: false, store, ...more }) as Handler, {
    handler: shop,
  });

const ADA = {
  user: "ada",
  isNew: false,
  data: { passport: { user: "ada" }, cart: ["lamp"], flash: { info: ["hello"] } },
};
const STRANGER = { isNew: true, data: {} };

function upgradeSuite(makeStore: MakeStore): void {
  it.each(packages)("visitors of $name go on with their data, logged in, once for parallel requests", async (one) => {
    const store = makeStore(one.session);
    const old = await oldShop(one.session, store, { cookie: { maxAge: 3_600_000 } });
    const ada = new Browser();
    await ada.get(old, "/login");
    const { served, sessions } = await native(expressSession({ store: makeStore(genuine), secret: SECRET }));
    const tabs = Array.from({ length: 6 }, () => ada.copy());
    const seen = await Promise.all(tabs.map((tab, i) => tab.get(served, `/add?item=${i}`, POST)));
    expect(seen.map(({ user }) => user)).toEqual(tabs.map(() => "ada"));
    expect(new Set(tabs.map(({ jar }) => jar.get("sid"))).size).toBe(1);
    const { data } = await (tabs[0] as Browser).get(served, "/me");
    expect((data.cart as string[]).toSorted()).toEqual(["0", "1", "2", "3", "4", "5", "lamp"]);
    expect(data).not.toHaveProperty("cookie");
    expect(await sessions.forUser("ada").list()).toHaveLength(1);
  });

  it("the old session lives through the grace, and is then gone from its store", async () => {
    const store = makeStore(genuine);
    const old = await oldShop(genuine, store);
    const ada = new Browser();
    await ada.get(old, "/login");
    const { served, clock } = await native(expressSession({ store, secret: SECRET }));
    // session-file-store adds a key of its own.
    expect(await ada.get(served, "/me")).toMatchObject(ADA);
    expect(await ada.get(old, "/me")).toMatchObject({ data: { passport: { user: "ada" } } });
    const copy = ada.copy();
    await clock.advance(GRACE);
    expect(await ada.get(served, "/me")).toMatchObject(ADA);
    expect([...ada.jar.keys()]).toEqual(["sid"]);
    expect((await copy.get<Untyped>(old, "/me")).data.passport).toBeUndefined();
    expect(await ada.get(served, "/me")).toMatchObject(ADA);
  });

  it("a logout ends both, with either cookie", async () => {
    const store = makeStore(genuine);
    const old = await oldShop(genuine, store);
    const ada = new Browser();
    await ada.get(old, "/login");
    const { served } = await native(expressSession({ store, secret: SECRET }));
    await ada.get(served, "/me");
    const copy = ada.copy();
    expect(await ada.get(served, "/logout", POST)).toMatchObject({ data: {} });
    expect(ada.jar.size).toBe(0);
    expect((await copy.get<Untyped>(old, "/me")).data.passport).toBeUndefined();
    expect(await copy.get(served, "/me")).toEqual(STRANGER);
    expect(copy.jar.has("connect.sid")).toBe(false);
  });
}

describeRealStores(upgradeSuite);

describe("MemoryStore", () => {
  upgradeSuite(() => memory);
});
const memory = new genuine.MemoryStore();

describe("cookies of express-session", () => {
  async function loggedIn(options: Untyped = {}, cookie: Untyped = {}) {
    const store = new genuine.MemoryStore();
    const asked: string[] = [];
    const { get } = store;
    store.get = (sid: string, callback: Untyped) => {
      asked.push(sid);
      return get.call(store, sid, callback);
    };
    const old = await oldShop(genuine, store, { ...options, cookie });
    const ada = new Browser();
    await ada.get(old, "/login");
    asked.length = 0;
    return { store, ada, asked };
  }

  it("are found by the same name, and with any secret of a list", async () => {
    const { store, ada } = await loggedIn({ name: "shop" });
    const source = expressSession({ store, secret: ["another secret of the shop", SECRET], name: "shop" });
    const { served } = await native(source, { store: sqliteStore(":memory:") });
    expect(await ada.get(served, "/me")).toEqual(ADA);
  });

  it("whose signature is forged or missing never reach the store", async () => {
    const { store, ada, asked } = await loggedIn();
    const { served } = await native(expressSession({ store, secret: SECRET }));
    const value = decodeURIComponent(ada.jar.get("connect.sid") ?? "");
    const id = value.slice(2, value.indexOf("."));
    const forged = [
      `s:${id}.${"A".repeat(43)}`,
      `s:${id}`,
      id,
      value.slice(2),
      value.slice(0, -1),
      `${value}A`,
      `j:${JSON.stringify({ id })}`,
      "",
    ];
    for (const text of forged) {
      const thief = new Browser();
      thief.jar.set("connect.sid", encodeURIComponent(text));
      expect(await thief.get(served, "/me")).toEqual(STRANGER);
      expect(thief.jar.has("sid")).toBe(false);
    }
    expect(asked).toEqual([]);
  });

  it("of a session that has expired give none, and are cleared", async () => {
    const { store, ada } = await loggedIn({}, { maxAge: 60_000 });
    // A store that does not know that.
    store.get = (sid: string, callback: Untyped) => callback(null, JSON.parse(store.sessions[sid] ?? "null"));
    const { served, clock } = await native(expressSession({ store, secret: SECRET }));
    await clock.advance(61_000);
    expect(await ada.get(served, "/me")).toEqual(STRANGER);
    expect(ada.jar.size).toBe(0);
  });

  it("are cleared with the path and the domain that they were set with", async () => {
    const { store, ada } = await loggedIn();
    const cookie = { path: "/shop", domain: "example.com", partitioned: true };
    const { served } = await native(expressSession({ store, secret: SECRET, cookie }));
    await ada.get(served, "/me");
    const { setCookies } = await ada.send(served, "/logout", POST);
    const cleared = setCookies.find(({ name }) => name === "connect.sid");
    expect(cleared).toMatchObject({
      value: "",
      attributes: { path: "/shop", domain: "example.com", partitioned: true, expires: new Date(0).toUTCString() },
    });
  });

  it("answers 503 while the old store is down, with all cookies left as they are", async () => {
    const { store, ada } = await loggedIn();
    const { get } = store;
    for (const fail of [
      (_sid: string, callback: Untyped) => callback(new Error("down")),
      () => {
        throw new Error("down");
      },
    ]) {
      store.get = fail;
      const { served } = await native(expressSession({ store, secret: SECRET }));
      expect(await ada.send(served, "/me")).toMatchObject({ status: 503, setCookies: [] });
      store.get = get;
      expect(await ada.copy().get(served, "/me")).toEqual(ADA);
    }
  });

  it("the application says who the user is", async () => {
    const { store, ada } = await loggedIn();
    const userId = (data: Untyped) => `user of ${data.cart[0]}`;
    const { served } = await native(expressSession({ store, secret: SECRET, userId }));
    expect((await ada.get(served, "/me")).user).toBe("user of lamp");
  });
});

describe("without userId, the user is", () => {
  it.each([
    [{ passport: { user: "ada" }, userId: "other" }, "ada"],
    [{ passport: { user: 7 } }, "7"],
    [{ passport: {}, userId: "ada" }, "ada"],
    [{ passport: null, userId: 7 }, "7"],
    [{ passport: { user: { id: 1 } } }, undefined],
    [{ cart: [] }, undefined],
  ])("of %j: %s", async (data, user) => {
    const { userId } = expressSession({ store: new genuine.MemoryStore(), secret: SECRET });
    expect(userId(data)?.toString()).toBe(user);
  });
});

it.each([
  ["no store", { secret: SECRET }],
  ["a store without destroy", { store: { get: () => {} }, secret: SECRET }],
  ["no secret", { store: new genuine.MemoryStore() }],
  ["an empty list of secrets", { store: new genuine.MemoryStore(), secret: [] }],
  ["an empty secret in a list", { store: new genuine.MemoryStore(), secret: [SECRET, ""] }],
  ["a grace that is no time", { store: new genuine.MemoryStore(), secret: SECRET, grace: -1 }],
  ["a name that no cookie has", { store: new genuine.MemoryStore(), secret: SECRET, name: "a b" }],
  ["a domain that no cookie has", { store: new genuine.MemoryStore(), secret: SECRET, cookie: { domain: ";" } }],
])("refuses %s", (_name, options) => {
  expect(() => expressSession(options as never)).toThrow(TypeError);
});
