import { channel } from "node:diagnostics_channel";
import { inspect } from "node:util";
import { minutes, type SessionEvent, type SessionEventType } from "coatcheck";
import { describe, expect, it } from "vitest";
import { printable, SessionEvents } from "../../src/session/events.ts";
import { hashSecret, parseToken } from "../../src/session/token.ts";
import { idOf, setUp, times } from "./support.ts";

const event = (type: "logout" | "login" = "logout") => ({ type, at: 1 }) as SessionEvent;

describe("listeners", () => {
  it("hear the events of their type until they are taken away", () => {
    const events = new SessionEvents();
    const heard: string[] = [];
    const stop = events.on("logout", ({ type }) => void heard.push(`a ${type}`));
    events.on("logout", ({ type }) => void heard.push(`b ${type}`));
    expect([events.heard("logout"), events.heard("login")]).toEqual([true, false]);
    events.emit(event());
    events.emit(event("login"));
    stop();
    stop();
    events.emit(event());
    expect(heard).toEqual(["a logout", "b logout", "b logout"]);
  });

  it("LG-03: that throw or reject change nothing, for nobody", async () => {
    const { sessions, client, events } = setUp();
    for (const type of ["created", "login", "logout"] as const) {
      sessions.on(type, () => {
        throw new Error("listener");
      });
      sessions.on(type, (async () => {
        throw new Error("asynchronous listener");
      }) as () => void);
    }
    const browser = client();
    await browser.request((session) => session.login("alice"));
    await browser.request((session) => expect(session.userId).toBe("alice"));
    await browser.request((session) => session.logout());
    expect(events.map(({ type }) => type)).toEqual(["created", "login", "logout"]);
  });

  it("cannot change an event for the others", () => {
    const events = new SessionEvents();
    const seen: SessionEvent[] = [];
    events.on("logout", (given) => {
      (given as { at: number }).at = 2;
    });
    events.on("logout", (given) => void seen.push(given));
    events.emit(event());
    expect(seen).toEqual([{ type: "logout", at: 1 }]);
  });

  it("also listen to diagnostics_channel", async () => {
    const seen: unknown[] = [];
    const listener = (message: unknown) => void seen.push(message);
    const { client } = setUp();
    channel("coatcheck:login").subscribe(listener);
    const browser = client();
    await browser.request((session) => session.login("alice"));
    channel("coatcheck:login").unsubscribe(listener);
    await browser.request((session) => session.login("alice"));
    expect(seen).toMatchObject([{ type: "login", userId: "alice", sessionId: idOf(browser.token) }]);
  });
});

describe("text of a client", () => {
  it("LG-03: is capped, and free of control characters", async () => {
    expect(printable("a\r\nb\u001b[31mc\u0085\u2028\u0000d", 100)).toBe("ab[31mcd");
    expect(printable("x".repeat(1_000_000), 256)).toHaveLength(256);
    const { client, events } = setUp();
    const browser = client();
    const userAgent = `Evil\r\nSet-Cookie: x\u001b[31m${"y".repeat(1_000_000)}`;
    await browser.request((session) => session.login("alice"), { userAgent, ip: "203.0.113.77" });
    for (const { device } of events) {
      expect(device?.userAgent).toMatch(/^EvilSet-Cookie: x\[31my+$/);
      expect(device?.userAgent?.length).toBeLessThanOrEqual(256);
    }
  });

  it.each([
    ["203.0.113.77", "203.0.113.0"],
    ["::ffff:203.0.113.77", "203.0.113.0"],
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1::"],
    ["2001:DB8::6", "2001:db8:0::"],
    ["::1", "0:0:0::"],
    ["fe80::1%eth0", undefined],
    ["not an address", undefined],
    ["1:2:3", undefined],
    ["", undefined],
  ])("CC-06: of the address %s only the network is kept", async (ip, network) => {
    const { client, stored } = setUp();
    const browser = client();
    await browser.request((session) => session.login("alice"), { ip });
    expect((await stored(idOf(browser.token)))?.meta.device).toEqual(network === undefined ? {} : { ip: network });
  });
});

describe("what is reported", () => {
  it("LG-02: each path gives exactly one event of its kind, with time, id and user", async () => {
    const { client, clock, sessions, store, events } = setUp({
      lifetime: { renewEvery: minutes(10) },
      sessionsPerUser: { max: 2, atLimit: "reject" },
    });
    const browser = client();
    let seen = 0;
    const next = () => {
      const fresh = events.slice(seen);
      seen = events.length;
      return fresh.map(({ type, ...rest }) => ("reason" in rest ? `${type} ${String(rest.reason)}` : type));
    };
    const say = (handler: Parameters<typeof browser.request>[0]) => browser.request(handler).catch(() => {});
    const path = async (expected: string[], act: () => unknown) => {
      await act();
      expect(next()).toEqual(expected);
    };

    await path([], () => say(() => {}));
    await path(["created"], () => say((session) => Object.assign(session.data, { n: 1 })));
    await path([], () => say((session) => Object.assign(session.data, { n: 2 })));
    const anonymous = browser.token;
    await path(["login"], () => say((session) => session.login("alice")));
    await path(["secretReused in-flight"], () => client(anonymous).request(() => {}));
    await path(["elevated"], () => say((session) => session.elevate()));
    const elevated = browser.token;
    await path(["renewed requested"], () => say((session) => session.renew()));
    await path(["secretReused in-flight", "lateWrite rotated"], async () => {
      const late = client(elevated).request((session) => Object.assign(session.data, { n: 3 }));
      await expect(late).rejects.toThrow();
    });
    await clock.advance(minutes(10));
    await path(["renewed periodic"], () => say(() => {}));
    await clock.advance(minutes(1));
    await path(["unknownToken wrong-secret"], () => client(elevated).request(() => {}));
    await path(["csrfRejected token"], () => say((session) => session.requireCsrfToken("x")));
    await path(["unknownToken no-session"], () => client(`${"A".repeat(22)}.${"A".repeat(43)}`).request(() => {}));
    await path(["malformedToken"], () => client("x").request(() => {}));
    await path(["duplicateCookie"], () => client("x, Bearer y").request(() => {}));
    await path(["created", "login"], () => client().request((session) => session.login("alice")));
    await path(["limitReached"], () =>
      client()
        .request((session) => session.login("alice"))
        .catch(() => {}),
    );
    await path(["revoked one"], async () => {
      const [other] = (await sessions.forUser("alice").list()).filter(({ id }) => id !== idOf(browser.token));
      await sessions.forUser("alice").revoke(other?.id ?? "");
    });
    await path(["storeUnavailable"], () => {
      store.failNext("read");
      return say(() => {});
    });
    await path(["logout"], () => say((session) => session.logout()));
    await path(["created", "login"], () => say((session) => session.login("alice")));
    await path(["destroyed"], () => say((session) => session.destroy()));
    await path(["created"], () => say((session) => Object.assign(session.data, { n: 1 })));
    await clock.advance(minutes(30));
    await path(["expired idle"], () => say(() => {}));
    await path(["cleanedUp"], () => sessions.cleanUp());
    await path(["revoked everyone"], () => sessions.revokeEveryone());
    for (const { at } of events) expect(at).toBeLessThanOrEqual(clock.now());
    expect(events.filter(({ type }) => type === "login").every(({ userId, sessionId }) => userId && sessionId)).toBe(
      true,
    );
  });

  it("RN-08: the use of a rotated-out secret after its grace is told, with the session's id and user", async () => {
    const { client, clock, events } = setUp();
    const browser = client();
    await browser.request((session) => session.login("alice"));
    const old = browser.token;
    await browser.request((session) => session.renew());
    await clock.advance(10_000);
    await client(old).request(() => {});
    expect(events.at(-1)).toMatchObject({
      type: "secretReused",
      reason: "replayed",
      sessionId: idOf(old),
      userId: "alice",
    });
  });

  it("LG-04: a thousand bad ids are a thousand events", async () => {
    const { client, types } = setUp();
    await Promise.all(
      times(1000, (index) => client(`${String(index).padStart(22, "A")}.${"A".repeat(43)}`).request(() => {})),
    );
    expect(types().filter((type: SessionEventType) => type === "unknownToken")).toHaveLength(1000);
  });

  it("ID-08: no event, list, JSON or inspection holds a token, a secret or its hash", async () => {
    const { client, sessions, store, events, clock } = setUp();
    const tokens = new Set<string>();
    const shown: unknown[] = [];
    const browser = client();
    const say = async (handler: Parameters<typeof browser.request>[0]) => {
      await browser.request(handler).catch((error: unknown) => shown.push(error));
      if (browser.token !== undefined) tokens.add(browser.token);
    };
    await say((session) => {
      session.data.n = 1;
      shown.push(session, JSON.stringify(session), String(session), inspect(session, { depth: 9 }));
    });
    await say((session) => session.login("alice"));
    await say((session) => {
      shown.push(session, JSON.stringify(session), inspect(session, { depth: 9, showHidden: true }));
    });
    await say((session) => session.elevate());
    await client([...tokens][0]).request(() => {});
    store.failNext("update");
    await say((session) => Object.assign(session.data, { n: 2 }));
    await say((session) => Object.assign(session.data, { n: () => 1 }));
    shown.push(await sessions.forUser("alice").list(), inspect(sessions, { depth: 9, showHidden: true }), events);
    await clock.advance(minutes(31));
    await say(() => {});
    const text = shown.map((value) => `${inspect(value, { depth: 9 })}${JSON.stringify(value)}`).join("\n");
    expect(tokens.size).toBe(3);
    for (const token of tokens) {
      const secret = parseToken(token)?.secret as NonNullable<ReturnType<typeof parseToken>>["secret"];
      expect(text).toContain(idOf(token));
      expect(text).not.toContain(secret);
      expect(text).not.toContain(await hashSecret(secret));
    }
  });

  it("ID-08: the public id is no credential", async () => {
    const { client, sessions } = setUp();
    const browser = client();
    await browser.request((session) => session.login("alice"));
    const [info] = await sessions.forUser("alice").list();
    for (const text of [info?.id, `${info?.id}.`, `${info?.id}.${info?.id}${info?.id}`.slice(0, 66)])
      await client(text).request((session) => expect(session.isNew).toBe(true));
  });
});
