import { createRequire } from "node:module";
import { minutes } from "coatcheck";
import { expressSession, fastifySession } from "coatcheck/upgrade";
import Fastify, { type FastifyInstance } from "fastify";
import { afterEach, describe, expect, it } from "vitest";
import { genuine, SECRET, send, type Untyped } from "../frameworks/express-session/support.ts";
import { Browser, native, POST } from "./support.ts";

// Their types would declare `request.session` otherwise than `coatcheck/fastify` does.
const require = createRequire(import.meta.url);
const fastifyCookie: Untyped = require("@fastify/cookie");
const fastifySessionPlugin: Untyped = require("@fastify/session");

const open = new Set<FastifyInstance>();
afterEach(async () => {
  for (const app of open) await app.close();
  open.clear();
});

/** The old application, on Fastify. */
async function oldShop(options: Untyped) {
  const app = Fastify();
  open.add(app);
  await app.register(fastifyCookie);
  await app.register(fastifySessionPlugin, {
    secret: SECRET,
    cookie: { secure: false },
    saveUninitialized: false,
    ...options,
  });
  app.get("/login", async (request) => {
    const session = request.session as Untyped;
    await session.regenerate();
    Object.assign(request.session, { userId: "ada", cart: ["lamp"] });
    return {};
  });
  app.get("/me", async (request) => ({ user: (request.session as Untyped).userId }));
  const url = await app.listen({ host: "127.0.0.1", port: 0 });
  return { send: (path: string, sending: Untyped) => send(`${url}${path}`, sending) };
}

const ADA = { user: "ada", isNew: false, data: { userId: "ada", cart: ["lamp"] } };
const STRANGER = { isNew: true, data: {} };

describe.each([
  ["its own MemoryStore", () => new fastifySessionPlugin.MemoryStore(new Map())],
  ["that of express-session", () => new genuine.MemoryStore()],
])("visitors of @fastify/session with %s", (_name, makeStore) => {
  it("go on with their data, logged in, once for parallel requests, until a logout ends both", async () => {
    const store = makeStore();
    const old = await oldShop({ store });
    const ada = new Browser();
    await ada.send(old, "/login");
    expect(await ada.get(old, "/me")).toEqual({ user: "ada" });
    const { served, sessions } = await native(fastifySession({ store, secret: SECRET }));
    const tabs = Array.from({ length: 6 }, () => ada.copy());
    for (const seen of await Promise.all(tabs.map((tab) => tab.get(served, "/me")))) expect(seen).toEqual(ADA);
    expect(await sessions.forUser("ada").list()).toHaveLength(1);
    const [one, other] = tabs as [Browser, Browser];
    await one.get(served, "/logout", POST);
    expect(one.jar.size).toBe(0);
    expect(await other.get(old, "/me")).toEqual({});
    other.jar.delete("sid");
    expect(await other.get(served, "/me")).toEqual(STRANGER);
  });

  it("and the old session is gone after the grace", async () => {
    const store = makeStore();
    const old = await oldShop({ store, cookie: { secure: false, maxAge: 3_600_000 } });
    const ada = new Browser();
    await ada.send(old, "/login");
    const { served, clock } = await native(fastifySession({ store, secret: SECRET }));
    await ada.get(served, "/me");
    const copy = ada.copy();
    await clock.advance(minutes(5));
    expect(await ada.get(served, "/me")).toEqual(ADA);
    expect([...ada.jar.keys()]).toEqual(["sid"]);
    expect(await copy.get(old, "/me")).toEqual({});
  });

  it("that has expired is not taken over", async () => {
    const store = makeStore();
    const old = await oldShop({ store, cookie: { secure: false, maxAge: 60_000 } });
    const ada = new Browser();
    await ada.send(old, "/login");
    const { served, clock } = await native(fastifySession({ store, secret: SECRET }));
    await clock.advance(61_000);
    expect(await ada.get(served, "/me")).toEqual(STRANGER);
  });
});

it("a name, a prefix and a list of secrets are those of the old application", async () => {
  const store = new genuine.MemoryStore();
  const secrets = [SECRET, "another secret, of at least 32 characters"];
  const options = { store, cookieName: "shop", cookiePrefix: "s:" };
  const old = await oldShop({ ...options, secret: secrets });
  const ada = new Browser();
  await ada.send(old, "/login");
  const { served } = await native(fastifySession({ ...options, secret: secrets.toReversed() }));
  expect(await ada.copy().get(served, "/me")).toEqual(ADA);
  // With this prefix the cookie is one of express-session.
  const same = await native(expressSession({ store, secret: SECRET, name: "shop" }));
  expect(await ada.copy().get(same.served, "/me")).toEqual(ADA);
});

it("a forged signature gives no session", async () => {
  const store = new genuine.MemoryStore();
  const old = await oldShop({ store });
  const ada = new Browser();
  await ada.send(old, "/login");
  ada.jar.set("sessionId", `${ada.jar.get("sessionId")?.split(".")[0]}.${"A".repeat(43)}`);
  const { served } = await native(fastifySession({ store, secret: SECRET }));
  expect(await ada.get(served, "/me")).toEqual(STRANGER);
});
