import { randomBytes } from "node:crypto";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import type { AddressInfo } from "node:net";
import express5 from "express";
import express4 from "express4";
import { createClient } from "redis";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { describeWithService } from "../../services/services.ts";
import { genuine, packages, type SessionPackage, type Untyped } from "./support.ts";

const require = createRequire(import.meta.url);
const createApp: (given: Untyped) => Untyped = require("./existing-app/app.cjs");
const supertest: Untyped = require("supertest");
const [, { session }] = packages;

/** A browser at one instance of the application: it keeps its cookies, follows redirects and fills forms. */
class Browser {
  readonly #agent: Untyped;
  constructor(agent: Untyped) {
    this.#agent = agent;
  }

  get cookies(): Untyped[] {
    return this.#agent.jar.getCookies({ path: "/", domain: "127.0.0.1", secure: false, script: false });
  }

  set cookies(cookies: Untyped[]) {
    for (const cookie of cookies) this.#agent.jar.setCookie(cookie);
  }

  async open(path: string): Promise<{ status: number; text: string; cookies: string[] }> {
    const { status, text, headers } = await this.#agent.get(path).redirects(3);
    return { status, text, cookies: headers["set-cookie"] ?? [] };
  }

  /** The hidden field of the form on a page. */
  async token(page = "/login"): Promise<string> {
    return /name="_csrf" value="([^"]*)"/.exec((await this.open(page)).text)?.[1] ?? "";
  }

  async submit(
    path: string,
    fields: Record<string, string>,
  ): Promise<{ status: number; text: string; location?: string }> {
    const { status, text, headers } = await this.#agent
      .post(path)
      .type("form")
      .send(fields)
      .redirects(0)
      .ok(() => true);
    return { status, text, location: headers.location };
  }

  async login(username: string, password: string, more: Record<string, string> = {}) {
    return this.submit("/login", { username, password, ...more, _csrf: await this.token() });
  }
}

const servers = new Set<ReturnType<typeof createServer>>();
afterEach(() => {
  for (const server of servers) {
    server.closeAllConnections();
    server.close();
  }
  servers.clear();
});

/** Starts the application with one package. Each call of the result is another browser. */
async function start(of: SessionPackage, store: Untyped, express: Untyped = express5): Promise<() => Browser> {
  const server = createServer(createApp({ express, session: of, store }));
  servers.add(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return () => new Browser(supertest.agent(url));
}

/** The application's own tests. */
function ownTests(startIt: () => Promise<() => Browser>): void {
  it("counts the views of each visitor", async () => {
    const browser = await startIt();
    const [one, other] = [browser(), browser()];
    expect((await one.open("/")).text).toContain("views: 1");
    expect((await one.open("/")).text).toContain("views: 2");
    expect((await other.open("/")).text).toContain("views: 1");
  });

  it("sends strangers to the login, and tells them why, once", async () => {
    const one = (await startIt())();
    expect((await one.open("/profile")).text).toContain("<p>Please log in.</p><p>login</p>");
    expect((await one.open("/login")).text).not.toContain("Please log in.");
  });

  it("logs in with the right password only, under a new id, and keeps the session's data", async () => {
    const one = (await startIt())();
    await one.open("/");
    expect(await one.login("ada", "wrong")).toMatchObject({ status: 302, location: "/login" });
    expect((await one.open("/login")).text).toContain("Wrong name or password.");
    const [before] = one.cookies;
    expect(await one.login("ada", "countess")).toMatchObject({ status: 302, location: "/profile" });
    expect(one.cookies[0].value).not.toBe(before.value);
    expect((await one.open("/profile")).text).toContain("<p>Welcome, ada.</p><p>ada, views: 1</p>");
    expect((await one.open("/profile")).text).toContain("<p>ada, views: 1</p>");
  });

  it("does not leave the old id logged in", async () => {
    const browser = await startIt();
    const [one, thief] = [browser(), browser()];
    await one.open("/");
    thief.cookies = one.cookies;
    await one.login("ada", "countess");
    expect((await thief.open("/profile")).text).toContain("Please log in.");
  });

  it("remembers for 30 days, if asked to", async () => {
    const one = (await startIt())();
    await one.login("bob", "builder", { remember: "yes" });
    const days = (one.cookies[0].expiration_date - Date.now()) / 86_400_000;
    expect(Math.round(days)).toBe(30);
  });

  it("refuses forms of other sites", async () => {
    const one = (await startIt())();
    await one.token();
    expect(await one.submit("/cart", { product: "lamp", quantity: "1" })).toMatchObject({ status: 403 });
    expect(await one.submit("/cart", { product: "lamp", quantity: "1", _csrf: "x" })).toMatchObject({ status: 403 });
  });

  it("keeps a cart, which is there when the browser follows the redirect", async () => {
    const one = (await startIt())();
    for (const [product, quantity] of [
      ["lamp", "1"],
      ["chair", "4"],
    ] as const) {
      const put = await one.submit("/cart", { product, quantity, _csrf: await one.token() });
      expect(put).toMatchObject({ status: 303, location: "/cart" });
      expect((await one.open("/cart")).text).toContain(product);
    }
    expect(JSON.parse((await one.open("/cart")).text)).toEqual([
      { product: "lamp", quantity: 1 },
      { product: "chair", quantity: 4 },
    ]);
    await one.login("ada", "countess");
    expect((await one.open("/export")).text).toBe("lamp,1\nchair,4\n");
  });

  it("logs out", async () => {
    const browser = await startIt();
    const one = browser();
    await one.login("ada", "countess");
    const stolen = browser();
    stolen.cookies = one.cookies;
    expect(await one.submit("/logout", { _csrf: await one.token("/profile") })).toMatchObject({ location: "/login" });
    expect((await one.open("/login")).text).toContain("Good bye.");
    for (const who of [one, stolen]) expect((await who.open("/profile")).text).toContain("Please log in.");
  });

  it("forgets", async () => {
    const one = (await startIt())();
    await one.login("ada", "countess");
    await one.submit("/forget", { _csrf: await one.token("/profile") });
    expect((await one.open("/")).text).toContain("views: 1");
  });
}

/** Sessions that live through a change of the package. */
function changeTests(makeStore: () => Untyped): void {
  it("live sessions are still logged in after the change, and after changing back", async () => {
    const store = makeStore();
    const before = await start(genuine, store);
    const ada = before();
    await ada.open("/");
    await ada.login("ada", "countess");
    const token = await ada.token("/profile");
    await ada.submit("/cart", { product: "lamp", quantity: "1", _csrf: token });

    const changed = await start(session, store);
    const there = changed();
    there.cookies = ada.cookies;
    expect((await there.open("/profile")).text).toContain("ada, views: 1");
    expect((await there.open("/")).text).toContain("views: 2");
    // A form that was open during the change.
    expect(await there.submit("/cart", { product: "chair", quantity: "2", _csrf: token })).toMatchObject({
      status: 303,
    });
    const bob = changed();
    await bob.login("bob", "builder");

    const back = await start(genuine, store);
    const again = back();
    again.cookies = there.cookies;
    expect((await again.open("/profile")).text).toContain("ada, views: 2");
    expect(JSON.parse((await again.open("/cart")).text)).toHaveLength(2);
    const bobAgain = back();
    bobAgain.cookies = bob.cookies;
    expect((await bobAgain.open("/profile")).text).toContain("bob, views: 0");
  });

  it("who has logged out with one is logged out with the other", async () => {
    for (const [one, other] of [
      [genuine, session],
      [session, genuine],
    ] as const) {
      const store = makeStore();
      const ada = (await start(one, store))();
      await ada.login("ada", "countess");
      const stale = (await start(other, store))();
      stale.cookies = ada.cookies;
      expect((await stale.open("/profile")).text).toContain("ada");
      await ada.submit("/logout", { _csrf: await ada.token("/profile") });
      expect((await stale.open("/profile")).text).toContain("Please log in.");
    }
  });
}

describe("an existing application", () => {
  describe.each(packages)("with $name", ({ session: of }) => {
    for (const [name, express] of Object.entries({ "Express 5": express5, "Express 4": express4 }))
      describe(`MemoryStore, ${name}`, () => ownTests(() => start(of, new of.MemoryStore(), express)));
  });

  describe("when its package is changed, with one MemoryStore", () => {
    // The change is one of processes, so the store is that of the package which began.
    changeTests(() => new genuine.MemoryStore());
  });

  describeWithService("redis", ({ url }) => {
    const { RedisStore } = require("connect-redis");
    const prefix = `coatcheck_app_${process.pid}_${randomBytes(3).toString("hex")}:`;
    const client = createClient({ url });
    beforeAll(async () => {
      await client.connect();
    });
    afterAll(async () => {
      await new RedisStore({ client, prefix }).clear();
      client.destroy();
    });

    describe.each(packages)("with $name and connect-redis", ({ session: of }) => {
      ownTests(() => start(of, new RedisStore({ client, prefix })));
    });

    describe("when its package is changed, with connect-redis", () => {
      changeTests(() => new RedisStore({ client, prefix }));
    });
  });
});
