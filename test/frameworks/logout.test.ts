import { createSessions } from "coatcheck";
import { afterEach, describe, expect, it, vi } from "vitest";
import { adapters, type Route } from "./adapters.ts";
import type { Sending, Served } from "./servers.ts";
import { TestClock, type UnreliableStore, type Visit, watchedStore } from "./support.ts";

for (const adapter of adapters)
  describe(`logout with ${adapter.name}`, () => {
    let store: UnreliableStore;
    let served: Served;
    afterEach(async () => {
      vi.restoreAllMocks();
      store.recover();
      await served.close();
    });

    const routes: readonly Route[] = [
      {
        path: "/login",
        async handle({ session }) {
          await session.login("ada");
          return {};
        },
      },
      {
        path: "/logout",
        async handle({ session, method }) {
          if (method !== "POST") return { status: 405, headers: [["Allow", "POST"]] };
          await session.logout();
          return { headers: [["Cache-Control", "public, max-age=60"]], body: "bye" };
        },
      },
      { path: "/me", handle: ({ session }) => ({ body: String(session.userId) }) },
    ];

    async function start() {
      vi.spyOn(console, "error").mockImplementation(() => {});
      store = watchedStore();
      const sessions = createSessions<Visit>({ store, clock: new TestClock() });
      served = await adapter.start(sessions, routes);
      const ask = (path: string, cookie = "", { headers, ...sending }: Sending = {}) =>
        served.send(path, { method: "POST", ...sending, headers: { cookie, ...headers } }).whole;
      const cookie = (await ask("/login")).cookies[0]?.split(";")[0] ?? "";
      expect((await ask("/me", cookie)).text).toBe("ada");
      return { ask, cookie, me: async () => (await ask("/me", cookie, { method: "GET" })).text };
    }
    const deletion = expect.stringMatching(
      new RegExp(`^${adapter.cookieName}=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/`),
    );

    it("LO-01: the record is gone before the answer leaves, and a copied cookie is useless", async () => {
      const { ask, cookie, me } = await start();
      const hold = store.hold("remove");
      const answer = served.send("/logout", { method: "POST", headers: { cookie } });
      let arrived = false;
      answer.head.then(() => {
        arrived = true;
      });
      await hold.reached;
      expect(await me()).toBe("ada");
      expect(arrived).toBe(false);
      hold.release();
      await answer.head;
      for await (const record of store.all()) expect(record.userId).toBeUndefined();
      expect(await me()).toBe("undefined");
      expect((await ask("/me", cookie)).text).toBe("undefined");
    });

    it("LO-01: when the store cannot delete, the answer is no success, the cookie stays and the session lives", async () => {
      const { ask, cookie, me } = await start();
      for (const fail of [() => store.failNext("remove"), () => store.failNext("remove", { error: "odd" })]) {
        fail();
        const answer = await ask("/logout", cookie);
        expect([answer.status, answer.cookies, answer.text.includes("bye")]).toEqual([503, [], false]);
        expect(await me()).toBe("ada");
      }
      expect((await ask("/logout", cookie)).text).toBe("bye");
      expect(await me()).toBe("undefined");
    });

    it("LO-03: the answer deletes the cookie and is no-store; again, or without a session, it is harmless", async () => {
      const { ask, cookie } = await start();
      for (const sent of [cookie, cookie, cookie, "", `${adapter.cookieName}=garbage`]) {
        const answer = await ask("/logout", sent);
        expect([answer.status, answer.text]).toEqual([200, "bye"]);
        expect(answer.cookies).toEqual([deletion]);
        expect(answer.headers["cache-control"]).toBe("no-store");
      }
      expect([store.calls("remove"), store.calls("create")]).toEqual([1, 1]);
    });

    it("LO-05: GET does not log out, and neither does another site", async () => {
      const { ask, cookie, me } = await start();
      expect((await ask("/logout", cookie, { method: "GET" })).status).toBe(405);
      for (const headers of [
        { "sec-fetch-site": "cross-site" },
        { "sec-fetch-site": "same-site" },
        { origin: "https://evil.example" },
        { origin: "null" },
      ]) {
        const answer = await ask("/logout", cookie, { headers });
        expect([answer.status, answer.cookies]).toEqual([403, []]);
      }
      expect(await me()).toBe("ada");
      expect(store.calls("remove")).toBe(0);
      expect((await ask("/logout", cookie, { headers: { "sec-fetch-site": "same-origin" } })).status).toBe(200);
      expect(await me()).toBe("undefined");
    });
  });
