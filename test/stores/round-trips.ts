import { seconds } from "coatcheck";
import type { SessionStore } from "coatcheck/stores";
import { describe, expect, it, onTestFinished } from "vitest";
import { startTcpProxy } from "../services/tcp-proxy.ts";
import { type Client, setUp, type VisitSession } from "../session/support.ts";

export interface CountedStore {
  /** Where the server is. */
  readonly url: string;
  readonly defaultPort: number;
  /** A store over one connection to this URL, always on the same data, and what ends both. */
  open(url: string): Promise<{ store: SessionStore; end(): Promise<unknown> }>;
}

const post = { method: "POST" };

const setN = (n: number) => (session: VisitSession) => {
  session.data.n = n;
};

/** How many round trips requests take, counted by a proxy before the server. */
export function countRoundTrips({ url, defaultPort, open }: CountedStore): void {
  describe("round trips", () => {
    /** An application whose connection stands, and a visitor who has been there. */
    async function counted() {
      const proxy = await startTcpProxy(url, defaultPort);
      const { store, end } = await open(proxy.url);
      onTestFinished(async () => {
        await end();
        await proxy.close();
      });
      const app = setUp({ store });
      const trips = async (work: () => Promise<unknown>) => {
        const before = proxy.roundTrips;
        await work();
        return proxy.roundTrips - before;
      };
      const visitor = app.client();
      // Each kind of request once: some drivers prepare a statement before its first use.
      await visitor.request(setN(0), post);
      await visitor.request((session) => session.login("ada"), post);
      await visitor.request(setN(1), post);
      await visitor.request((session) => session.login("ada"), post);
      await app.clock.advance(seconds(61));
      await visitor.request(() => {});
      return { ...app, visitor, proxy, trips };
    }

    it("none for a visitor without a cookie", async () => {
      const { client, trips } = await counted();
      expect(await trips(() => client().request((session) => session.data.n))).toBe(0);
      expect(await trips(() => client().request((session) => session.data.n, post))).toBe(0);
    });

    it("one for a request that changes nothing, and no write within the touch interval", async () => {
      const { visitor, clock, trips } = await counted();
      await clock.advance(seconds(59));
      expect(await trips(() => visitor.request((session) => session.data.n))).toBe(1);
      await clock.advance(seconds(2));
      expect(await trips(() => visitor.request((session) => session.data.n))).toBe(2);
    });

    it("two for a request that changes something", async () => {
      const { visitor, trips, stored } = await counted();
      const change = () => visitor.request((session) => setN((session.data.n ?? 0) + 1)(session), post);
      expect(await trips(change)).toBe(2);
      expect(await trips(change)).toBe(2);
      const { session } = await visitor.open();
      expect(session.data.n).toBe(3);
      expect((await stored(session.id))?.lease).toBeUndefined();
    });

    it("at most three for a login, of a stored session and of a new one", async () => {
      const { visitor, client, trips } = await counted();
      const login = (who: Client) => trips(() => who.request((session) => session.login("ada"), post));
      for (const count of [await login(visitor), await login(client())]) {
        expect(count).toBeGreaterThanOrEqual(1);
        expect(count).toBeLessThanOrEqual(3);
      }
    });

    it("only the keys that changed travel", async () => {
      const { visitor, proxy } = await counted();
      await visitor.request((session) => {
        session.data.theme = "x".repeat(20_000);
      }, post);
      const sent = proxy.sent.length;
      await visitor.request(setN(7), post);
      expect(proxy.sent.length - sent).toBeLessThan(1500);
    });
  });
}
