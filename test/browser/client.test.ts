import type { Page } from "playwright-core";
import { expect, it } from "vitest";
import { describeWithService } from "../services/services.ts";
import { clientServer } from "./client-server.ts";
import { until, useBrowser } from "./support.ts";

const TOKEN_ROUTES = {
  login: "/token/login",
  logout: "/token/logout",
  profile: "/token/profile",
  refresh: "/token/refresh",
};

describeWithService("chromium", async ({ url: program }) => {
  const browser = useBrowser(program);
  const server = await clientServer();

  /** In a page: a client, and what became of its session. */
  const makeClient = (page: Page | undefined, routes: object = {}) =>
    page?.evaluate((routes) => {
      const client = window.coatcheck.createClient({ routes });
      window.kept = { client, history: [] };
      client.session.subscribe(() => window.kept.history.push(client.session.get().status));
    }, routes);
  const login = (page: Page | undefined, user = "ada", password = "right") =>
    page?.evaluate(
      ([user, password]) => window.kept.client.login({ user, password }).then((r: Response) => r.status),
      [user, password],
    );
  const send = (page: Page | undefined, path: string, init: RequestInit = {}) =>
    page?.evaluate(
      async ([path, init]) => {
        const response: Response = await window.kept.client.fetch(path, init);
        return [response.status, await response.text()];
      },
      [path, init] as const,
    );
  const status = (page: Page | undefined) => page?.evaluate(() => window.kept.client.session.get());

  it("says who is logged in, sends the CSRF token, and tells the other tabs of login and logout", async () => {
    const [one, two] = await browser.tabs(2, server.url);
    for (const page of [one, two]) await makeClient(page);
    expect(await status(one)).toEqual({ status: "unknown" });
    await one?.evaluate(() => window.kept.client.check());
    await until(two as Page, () => window.kept.client.session.get().status === "anonymous");

    expect(await login(one, "ada", "wrong")).toBe(401);
    expect(await status(one)).toMatchObject({ status: "anonymous" });
    expect(await login(one)).toBe(200);
    expect(await status(one)).toMatchObject({ status: "signed-in", userId: "ada" });
    await until(two as Page, () => window.kept.client.session.get().userId === "ada");
    server.takeAsked();
    expect(await send(one, "/things", { method: "POST", body: "x" })).toEqual([200, '{"userId":"ada","body":"x"}']);
    expect(server.takeAsked()).toEqual(["POST /things"]);
    // The second tab has no CSRF token yet: the 403 brings one, and the request is sent once more.
    expect(await send(two, "/things", { method: "POST", body: "y" })).toEqual([200, '{"userId":"ada","body":"y"}']);
    expect(server.takeAsked()).toEqual(["POST /things", "POST /things"]);

    expect(await two?.evaluate(() => window.kept.client.logout())).toBe(true);
    await until(one as Page, () => window.kept.client.session.get().status === "anonymous");
    expect(await send(one, "/things")).toEqual([401, "{}"]);
    expect(await one?.evaluate(() => window.kept.history)).toEqual(["anonymous", "signed-in", "anonymous"]);
  });

  it("a session that ended elsewhere is expired, not anonymous, and a client never asks forever", async () => {
    const [page] = await browser.tabs(1, server.url);
    await makeClient(page);
    await login(page);
    await server.endAll();
    server.takeAsked();
    expect(await send(page, "/things")).toEqual([401, "{}"]);
    expect(server.takeAsked()).toEqual(["GET /things", "GET /profile"]);
    expect(await status(page)).toMatchObject({ status: "expired", userId: "ada" });
    await login(page);
    // 403 that brings a token each time, 401 each time: once more, and no further.
    for (const [code, times] of [
      [403, 2],
      [401, 1],
    ] as const) {
      let count = 0;
      server.interruptWith((request, response) => {
        if (request.url !== "/things") return false;
        response.writeHead(code, { "X-CSRF-Token": `token-${++count}` }).end();
        return true;
      });
      expect(await send(page, "/things", { method: "POST" })).toEqual([code, ""]);
      expect(count).toBe(times);
    }
    server.interruptWith(undefined);
    expect(await status(page)).toMatchObject({ status: "signed-in" });
  });

  it("409 and 503 are tried again for what may be done twice, after the time asked for, and not for long", async () => {
    const [page] = await browser.tabs(1, server.url);
    await page?.evaluate(() => {
      // A clock that does not wait, but says for how long it was asked to.
      const clock = {
        now: () => Date.now(),
        schedule(callback: () => void, delay: number) {
          window.kept.waits.push(delay);
          queueMicrotask(callback);
          return () => {};
        },
      };
      window.kept = { waits: [], client: window.coatcheck.createClient({ clock }) };
    });
    const tries = async (code: number, headers: Record<string, string>, init: RequestInit) => {
      let count = 0;
      server.interruptWith((_request, response) => {
        count++;
        response.writeHead(code, headers).end();
        return true;
      });
      await page?.evaluate(() => {
        window.kept.waits = [];
      });
      const [answer] = (await send(page, "/things", init)) ?? [];
      server.interruptWith(undefined);
      expect(answer).toBe(code);
      return [count, await page?.evaluate(() => window.kept.waits)];
    };
    const key = { "Idempotency-Key": "k" };
    expect(await tries(409, {}, { method: "PUT", body: "x" })).toEqual([3, [100, 400]]);
    expect(await tries(409, {}, { method: "POST", body: "x" })).toEqual([1, []]);
    expect(await tries(409, {}, { method: "POST", body: "x", headers: key })).toEqual([3, [100, 400]]);
    expect(await tries(503, { "Retry-After": "5" }, {})).toEqual([3, [5000, 5000]]);
    expect(await tries(503, { "Retry-After": "5" }, { method: "POST" })).toEqual([1, []]);
    for (const after of ["3600", "Wed, 21 Oct 2026 07:28:00 GMT"])
      expect(await tries(503, { "Retry-After": after }, {})).toEqual([1, []]);
    expect(await tries(503, {}, {})).toEqual([1, []]);
    expect(await tries(500, { "Retry-After": "1" }, {})).toEqual([1, []]);
  });

  it("speaks to its own server only", async () => {
    const [page] = await browser.tabs(1, server.url);
    await makeClient(page);
    const refused = await page?.evaluate(() =>
      window.kept.client.fetch("https://example.org/").then(
        () => "sent",
        (error: Error) => error.name,
      ),
    );
    expect(refused).toBe("TypeError");
  });

  it("warns before the idle and the absolute timeout by the server's word, whatever the machine's clock shows", async () => {
    const profile = await browser.profile();
    // Three hours fast.
    await profile.clock.install({ time: Date.now() + 3 * 3_600_000 });
    const page = await browser.tab(profile, server.url);
    await makeClient(page);
    await login(page);
    const ending = async () => (await status(page))?.ending?.reason;
    expect([(await status(page))?.status, await ending()]).toEqual(["signed-in", undefined]);
    await page.clock.runFor(server.idle - 125_000);
    expect(await ending()).toBeUndefined();
    await page.clock.runFor(10_000);
    expect(await ending()).toBe("idle");
    // Activity, in whatever tab, puts the end off.
    await server.clock.advance(server.idle - 115_000);
    const other = await browser.tab(profile, server.url);
    await makeClient(other);
    await other.evaluate(() => window.kept.client.check());
    await until(page, () => window.kept.client.session.get().ending === undefined);
    // Without more of it, the session is over when the time is up.
    await page.clock.runFor(server.idle + 2000);
    expect(await status(page)).toMatchObject({ status: "expired", userId: "ada" });
    await server.clock.advance(server.idle);
    // Near the absolute end, activity does not help.
    await login(page);
    for (let left = server.absolute; left > 1_200_000; left -= 1_200_000) {
      await server.clock.advance(1_200_000);
      await page.evaluate(() => window.kept.client.check());
    }
    await page.clock.runFor(1_200_000 - 119_000);
    expect(await status(page)).toMatchObject({ status: "signed-in", ending: { reason: "absolute" } });
  });

  it("ST-03: five tabs whose access token has expired refresh once, and repeat their requests once", async () => {
    const pages = await browser.tabs(5, server.url);
    for (const page of pages) await makeClient(page, TOKEN_ROUTES);
    expect(await login(pages[0])).toBe(200);
    for (const page of pages) await until(page, () => window.kept.client.session.get().status === "signed-in");
    server.expireAccessTokens();
    server.takeAsked();
    const answers = await Promise.all(
      pages.flatMap((page) => [send(page, "/token/profile"), send(page, "/token/profile")]),
    );
    expect(answers).toEqual(Array(10).fill([200, '{"userId":"ada"}']));
    const asked = server.takeAsked();
    expect(asked.filter((path) => path === "POST /token/refresh")).toHaveLength(1);
    expect(asked.filter((path) => path === "GET /token/profile").length).toBeLessThanOrEqual(20);
  });

  it("ST-02: after a reload the access token is gone, and a silent refresh brings another", async () => {
    const [page] = await browser.tabs(1, server.url);
    await makeClient(page, TOKEN_ROUTES);
    await login(page);
    const stored = await page?.evaluate(() =>
      JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, location.href, history.state]),
    );
    expect(stored).not.toContain("access-");
    await page?.reload();
    await makeClient(page, TOKEN_ROUTES);
    server.takeAsked();
    await page?.evaluate(() => window.kept.client.check());
    expect(server.takeAsked()).toEqual(["POST /token/refresh", "GET /token/profile"]);
    expect(await status(page)).toMatchObject({ status: "signed-in", userId: "ada" });
    // A server that is down is no logout.
    server.expireAccessTokens();
    server.interruptWith((request, response) => {
      if (request.url !== "/token/refresh") return false;
      response.writeHead(503).end();
      return true;
    });
    expect(await send(page, "/token/profile")).toEqual([503, ""]);
    server.interruptWith(undefined);
    expect(await status(page)).toMatchObject({ status: "signed-in", userId: "ada" });
    await server.endAll();
    expect((await send(page, "/token/profile"))?.[0]).toBe(401);
    expect(await status(page)).toMatchObject({ status: "expired" });
  });

  it("a refresh that is refused with OAuth's 400 ends the session; another 400 does not", async () => {
    const [page] = await browser.tabs(1, server.url);
    await makeClient(page, TOKEN_ROUTES);
    const refuse = (body: object) =>
      server.interruptWith((request, response) => {
        if (request.url !== "/token/refresh") return false;
        response.writeHead(400, { "Content-Type": "application/json" }).end(JSON.stringify(body));
        return true;
      });
    refuse({ error: "invalid_grant" });
    await page?.evaluate(() => window.kept.client.check());
    expect(await status(page)).toEqual({ status: "anonymous" });
    await login(page);
    server.expireAccessTokens();
    refuse({ error: "too large" });
    expect((await send(page, "/token/profile"))?.[0]).toBe(400);
    expect(await status(page)).toMatchObject({ status: "signed-in" });
    refuse({ error: "invalid_grant" });
    expect((await send(page, "/token/profile"))?.[0]).toBe(401);
    expect(await status(page)).toMatchObject({ status: "expired", userId: "ada" });
    server.interruptWith(undefined);
  });

  it("two sessions in one browser know nothing of each other: no token, no logout, no state", async () => {
    const [one, two] = await browser.tabs(2, server.url);
    await makeClient(one);
    await login(one);
    await one?.evaluate((routes) => {
      const isText = (value: unknown): value is string => typeof value === "string";
      window.coatcheck.localState<string>("draft", { initial: "", schema: isText }).set("private");
      window.kept.other = window.coatcheck.createClient({ routes, ownsState: false });
    }, TOKEN_ROUTES);
    await two?.evaluate((routes) => {
      window.kept = { client: window.coatcheck.createClient({ routes, ownsState: false }) };
    }, TOKEN_ROUTES);
    const credentials = { user: "ada", password: "right" };
    await one?.evaluate((credentials) => window.kept.other.login(credentials), credentials);
    await until(two as Page, () => window.kept.client.session.get().status === "signed-in");
    server.takeAsked();
    expect((await send(one, "/things"))?.[0]).toBe(200);
    expect(await one?.evaluate(() => window.kept.history)).toEqual(["signed-in"]);
    await one?.context().setOffline(true);
    await one?.evaluate(() => window.kept.other.logout());
    await until(two as Page, () => window.kept.client.session.get().status === "anonymous");
    await one?.context().setOffline(false);
    // The logout that was due has not taken the first session along.
    expect((await send(one, "/things"))?.[0]).toBe(200);
    expect(await one?.evaluate(() => localStorage.getItem("coatcheck|ada|draft"))).toContain("private");
    expect(await one?.evaluate(() => window.kept.history)).toEqual(["signed-in"]);
  });

  /** Holds the server's answers to a path back, until they are let go. */
  const holdBack = (path: string) => {
    const held: (() => void)[] = [];
    server.interruptWith((request, response) => {
      if (request.url !== path) return false;
      const end = response.end.bind(response);
      response.end = ((...all: []) => {
        held.push(() => end(...all));
        return response;
      }) as typeof response.end;
      return false;
    });
    return {
      arrived: () => expect.poll(() => held.length).toBe(1),
      letGo() {
        server.interruptWith(undefined);
        for (const end of held.splice(0)) end();
      },
    };
  };

  it("an answer that was on its way at the logout, in this tab or in another, does not bring the user back", async () => {
    const [one, two] = await browser.tabs(2, server.url);
    for (const page of [one, two]) await makeClient(page);
    await login(one);
    await until(two as Page, () => window.kept.client.session.get().status === "signed-in");
    for (const page of [one, two]) {
      const profile = holdBack("/profile");
      const checking = page?.evaluate(() => window.kept.client.check());
      await profile.arrived();
      expect(await one?.evaluate(() => window.kept.client.logout())).toBe(true);
      await until(two as Page, () => window.kept.client.session.get().status === "anonymous");
      profile.letGo();
      await checking;
      for (const page of [one, two]) {
        expect(await status(page)).toEqual({ status: "anonymous" });
        expect(await page?.evaluate(() => window.kept.history.splice(0))).toEqual(["signed-in", "anonymous"]);
      }
      expect(await one?.evaluate(() => localStorage.getItem("coatcheck"))).toMatch(/\|$/);
      await login(one);
      await until(two as Page, () => window.kept.client.session.get().status === "signed-in");
    }
  });

  it("the answer to one user's refresh that comes after another user's login, in another tab, is not used", async () => {
    const [one, two] = await browser.tabs(2, server.url);
    for (const page of [one, two]) await makeClient(page, TOKEN_ROUTES);
    await login(one, "ada");
    await until(two as Page, () => window.kept.client.session.get().status === "signed-in");
    server.expireAccessTokens();
    const refresh = holdBack("/token/refresh");
    const asking = send(two, "/token/profile");
    await refresh.arrived();
    await login(one, "grace");
    await until(two as Page, () => window.kept.client.session.get().userId === "grace");
    refresh.letGo();
    expect(await asking).toEqual([200, '{"userId":"grace"}']);
    for (const page of [one, two]) expect(await send(page, "/token/profile")).toEqual([200, '{"userId":"grace"}']);
  });

  it("news from before a logout are not believed, and one user's token is not kept for the next", async () => {
    const [page] = await browser.tabs(1, server.url);
    await makeClient(page, TOKEN_ROUTES);
    await login(page);
    const sent: (string | undefined)[] = [];
    server.interruptWith((request) => {
      sent.push(request.headers.authorization);
      return false;
    });
    /** As another tab tells; resolves when the client has heard. */
    const tell = (news: unknown) =>
      page?.evaluate(async (news) => {
        const name = `coatcheck session ${location.origin}/token/profile`;
        const heard = new BroadcastChannel(name);
        const hearing = new Promise((done) => {
          heard.onmessage = done;
        });
        new BroadcastChannel(name).postMessage(news);
        await hearing;
        heard.close();
      }, news);
    const token = (text: string, issuedAt: number) => ({ text, expiresAt: Date.now() + 600_000, issuedAt });

    // Its login was asked for before this user's token, and answered after it.
    await tell(["signed-in", "grace", undefined, Date.now() + 1, token("of-grace", 1)]);
    expect(await status(page)).toMatchObject({ userId: "grace" });
    await send(page, "/token/profile");
    expect(sent[0]).toBe("Bearer of-grace");

    await page?.evaluate(() => window.kept.client.logout());
    sent.length = 0;
    const before = Date.now() - 60_000;
    await tell(["signed-in", "ada", undefined, before, token("of-ada", before)]);
    await tell({ token: token("of-ada", before) });
    expect(await status(page)).toEqual({ status: "anonymous" });
    await send(page, "/token/profile");
    expect(new Set(sent)).toEqual(new Set([undefined]));
    server.interruptWith(undefined);
  });

  it("a subscriber that throws keeps neither the others from hearing nor a logout from being done", async () => {
    const [one, two] = await browser.tabs(2, server.url);
    for (const page of [one, two]) await makeClient(page);
    await login(one);
    await until(two as Page, () => window.kept.client.session.get().status === "signed-in");
    await one?.evaluate(() => {
      const isText = (value: unknown): value is string => typeof value === "string";
      const { client } = window.kept;
      const state = window.coatcheck.localState<string>("draft", { initial: "", schema: isText });
      window.kept = { ...window.kept, heard: 0, errors: [] };
      addEventListener("unhandledrejection", (event) => {
        event.preventDefault();
        window.kept.errors.push(event.reason);
      });
      for (const { subscribe } of [state, client.session]) {
        subscribe(() => {
          throw "of the subscriber";
        });
        subscribe(() => window.kept.heard++);
      }
      window.coatcheck.onTrouble(() => {
        throw "of the listener";
      });
      state.set("x".repeat(6_000_000));
    });
    expect(await one?.evaluate(() => window.kept.client.logout())).toBe(true);
    await until(two as Page, () => window.kept.client.session.get().status === "anonymous");
    const [heard, errors] = (await one?.evaluate(() => [window.kept.heard, window.kept.errors])) ?? [];
    expect(heard).toBeGreaterThanOrEqual(3);
    expect(new Set(errors)).toEqual(new Set(["of the subscriber", "of the listener"]));
  });

  it("news of a logout that overtake the wipe of storage do not keep a tab from hearing of the wipe", async () => {
    const [one, two] = await browser.tabs(2, server.url);
    for (const page of [one, two]) await makeClient(page);
    await login(one);
    await until(two as Page, () => localStorage.getItem("coatcheck") === "|ada");
    await until(two as Page, () => window.kept.client.session.get().status === "signed-in");
    await one?.evaluate(() => {
      const news = ["anonymous", undefined, undefined, Date.now() + 1];
      new BroadcastChannel(`coatcheck session ${location.origin}/profile`).postMessage(news);
    });
    await until(two as Page, () => window.kept.client.session.get().status === "anonymous");
    // Whoever tells has written, or is about to: another write here would stand against it.
    expect(await two?.evaluate(() => localStorage.getItem("coatcheck"))).toBe("|ada");
  });

  it("a client that is disposed of while the server answers ends quietly", async () => {
    const [page] = await browser.tabs(1, server.url);
    await makeClient(page);
    const profile = holdBack("/profile");
    const checking = page?.evaluate(() => window.kept.client.check());
    await profile.arrived();
    await page?.evaluate(() => window.kept.client[Symbol.dispose]());
    profile.letGo();
    await checking;
    expect(await page?.evaluate(() => window.kept.history)).toEqual([]);
  });

  it("ST-04: a logout without network empties two tabs at once, and reaches the server later", async () => {
    const [one, two] = await browser.tabs(2, server.url);
    for (const page of [one, two]) {
      await makeClient(page);
      await page?.evaluate(() => {
        const isText = (value: unknown): value is string => typeof value === "string";
        for (const make of [window.coatcheck.localState, window.coatcheck.tabState])
          make<string>("draft", { initial: "", schema: isText }).set("private");
      });
    }
    await login(one);
    await until(two as Page, () => localStorage.getItem("coatcheck|ada|draft") !== null);
    await one?.context().setOffline(true);
    expect(await one?.evaluate(() => window.kept.client.logout())).toBe(false);
    const dump = () => JSON.stringify([{ ...localStorage }, { ...sessionStorage }]);
    for (const page of [one, two]) {
      await until(page as Page, () => window.kept.client.session.get().status === "anonymous");
      await until(
        page as Page,
        () => !JSON.stringify([{ ...localStorage }, { ...sessionStorage }]).includes("private"),
      );
      expect(await page?.evaluate(dump)).not.toContain("ada");
    }
    server.takeAsked();
    await one?.context().setOffline(false);
    await until(one as Page, () => !Object.keys(localStorage).some((key) => key.startsWith("coatcheck|@|")));
    expect(server.takeAsked()).toContain("POST /logout");
    await two?.evaluate(() => window.kept.client.check());
    expect(await status(two)).toMatchObject({ status: "anonymous" });
  });

  it("LO-01: until the server knows of a logout, no request carries the session", async () => {
    const [page] = await browser.tabs(1, server.url);
    await makeClient(page);
    await login(page);
    const cookies: unknown[] = [];
    server.interruptWith((request, response) => {
      if (request.url === "/things") cookies.push(request.headers.cookie);
      if (request.url !== "/logout") return false;
      response.writeHead(503).end();
      return true;
    });
    await send(page, "/things");
    expect(await page?.evaluate(() => window.kept.client.logout())).toBe(false);
    expect((await send(page, "/things"))?.[0]).toBe(401);
    expect(cookies).toEqual([expect.stringContaining("sid="), undefined]);
    server.interruptWith(undefined);
    expect((await send(page, "/things"))?.[0]).toBe(401);
    await until(page as Page, () => !Object.keys(localStorage).some((key) => key.startsWith("coatcheck|@|")));
  });

  it("LO-01: a refresh that is answered after the logout brings no token back", async () => {
    const [page] = await browser.tabs(1, server.url);
    await makeClient(page, TOKEN_ROUTES);
    await login(page);
    server.expireAccessTokens();
    const authorizations: unknown[] = [];
    let answer: (() => void) | undefined;
    const refreshing = new Promise<void>((arrived) => {
      server.interruptWith((request, response) => {
        if (request.url === "/token/things") authorizations.push(request.headers.authorization);
        if (request.url !== "/token/refresh" || answer !== undefined) return false;
        answer = () => response.end('{"accessToken":"access-late","expiresIn":600}');
        arrived();
        return true;
      });
    });
    const sent = send(page, "/token/things");
    await refreshing;
    expect(await page?.evaluate(() => window.kept.client.logout())).toBe(true);
    answer?.();
    expect((await sent)?.[0]).toBe(401);
    expect((await send(page, "/token/things"))?.[0]).toBe(401);
    expect(authorizations).toEqual([expect.stringMatching(/^Bearer access-\d+$/), undefined]);
    server.interruptWith(undefined);
  });

  it("a refresh that is never answered is given up after eight seconds, as a broken network, and the next one goes through", async () => {
    const [page] = await browser.tabs(1, server.url);
    await page?.evaluate((routes) => {
      const fast = (callback: () => void, delay: number) => {
        const timer = setTimeout(callback, delay / 40);
        return () => clearTimeout(timer);
      };
      const client = window.coatcheck.createClient({ routes, clock: { now: () => Date.now(), schedule: fast } });
      window.kept = { client };
    }, TOKEN_ROUTES);
    await login(page);
    server.expireAccessTokens();
    server.interruptWith((request) => request.url === "/token/refresh");
    await expect(send(page, "/token/things")).rejects.toThrow("TypeError: no answer");
    expect(await status(page)).toMatchObject({ status: "signed-in" });
    server.interruptWith(undefined);
    expect(await send(page, "/token/things")).toEqual([200, '{"userId":"ada"}']);
  });

  it("ST-09: a page that comes back from the back/forward cache after a logout is checked again", async () => {
    const [one] = await browser.tabs(1, server.url);
    await makeClient(one);
    await login(one);
    await one?.evaluate(() => {
      window.kept.came = "";
      addEventListener("pageshow", (event) => {
        window.kept.came = `${event.persisted} ${window.kept.client.session.get().status}`;
      });
    });
    await one?.goto(`${server.url}/elsewhere`);
    // On another device: the news of a tab would have put the page out of the cache.
    await server.endAll();
    await one?.goBack({ waitUntil: "commit" });
    await until(one as Page, () => window.kept.client.session.get().status === "anonymous");
    expect(await one?.evaluate(() => window.kept.came)).toBe("true unknown");
  });
});
