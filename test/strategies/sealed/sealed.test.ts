import {
  CookieTooLargeError,
  createSessions,
  HeadersSentError,
  hours,
  InsecureTransportError,
  minutes,
  SessionEndedError,
  StoreUnavailableError,
  seconds,
} from "coatcheck";
import { memoryStore } from "coatcheck/memory";
import { sealed } from "coatcheck/sealed";
import { TestClock } from "coatcheck/testing";
import { describe, expect, it } from "vitest";
import { sets, visit } from "../../frameworks/support.ts";
import { Client, neverExpiring, outcomes, type Visit } from "../../session/support.ts";
import { KEYS, key, setUpRevocable, setUpSealed } from "./support.ts";

const userOf = (client: Client) => client.request((session) => session.userId, { passive: true });
const n = (client: Client) => client.request((session) => session.data.n, { passive: true });

describe("a sealed session", () => {
  it("CK-17: keeps everything in the client's token, readable to nobody", async () => {
    const { client, sessions } = setUpSealed();
    const ada = client();
    await ada.request((session) => {
      session.data.secret = "marzipan";
      session.flash("info", "welcome");
    });
    const { id } = await ada.request(async (session) => {
      await session.login("ada", { methods: ["pwd"] });
      return session;
    });
    const text = Buffer.from(ada.token ?? "", "base64url").toString("latin1");
    for (const word of ["marzipan", "welcome", "ada", "pwd", "secret"]) expect(text).not.toContain(word);
    // Another process with the same key.
    const elsewhere = new Client(setUpSealed({ clock: sessions.clock as TestClock }).sessions, ada.token);
    await elsewhere.request(async (session) => {
      expect([session.id, session.userId, session.data.secret]).toEqual([id, "ada", "marzipan"]);
      expect([session.isNew, session.methods]).toEqual([false, ["pwd"]]);
      expect(await session.takeFlash()).toEqual([{ kind: "info", message: "welcome" }]);
    });
    await elsewhere.request(async (session) => expect(await session.takeFlash()).toEqual([]));
  });

  it("CK-16: nothing is sent to a visitor who changes nothing, nor when nothing changed", async () => {
    const { client, events } = setUpSealed();
    const visitor = client();
    await visitor.request((session) => session.data.n);
    expect([visitor.changes, events]).toEqual([0, []]);
    await visitor.request(sets(1));
    await visitor.request((session) => session.data.n, { method: "POST" });
    expect(visitor.changes).toBe(1);
  });

  it("LT-01: an idle session ends, by the server's clock and whatever the client keeps", async () => {
    const { client, clock, told } = setUpSealed();
    const ada = client();
    await ada.request((session) => session.login("ada"));
    const copy = ada.copy();
    await clock.advance(minutes(30) - 1);
    expect(await userOf(copy)).toBe("ada");
    await clock.advance(1);
    told();
    expect(await userOf(ada)).toBeUndefined();
    expect(told()).toEqual(["expired: idle"]);
  });

  it("LT-02: activity moves the idle deadline, never the absolute one", async () => {
    const { client, clock, told } = setUpSealed();
    const ada = client();
    await ada.request((session) => session.login("ada"));
    for (let i = 0; i < 35; i++) {
      await clock.advance(minutes(20));
      expect(await ada.request((session) => session.userId)).toBe("ada");
    }
    await clock.advance(minutes(20));
    told();
    expect(await userOf(ada)).toBeUndefined();
    expect(told()).toEqual(["expired: absolute"]);
  });

  it("LT-06: activity is sealed anew at most once a minute", async () => {
    const { client, clock } = setUpSealed();
    const ada = client();
    await ada.request(sets(1));
    for (let second = 0; second < 180; second++) {
      await clock.advance(seconds(1));
      await ada.request(() => {});
    }
    expect(ada.changes).toBe(1 + 3);
    await clock.advance(minutes(5));
    await ada.request(() => {}, { passive: true });
    expect(ada.changes).toBe(4);
  });

  it("RN-01: login, elevate and renew give another secret, and what hangs on it dies", async () => {
    const { client } = setUpSealed();
    const ada = client();
    const before = await ada.request((session) => session.csrfToken());
    await ada.request((session) => session.requireCsrfToken(before));
    for (const change of ["login", "elevate", "renew"] as const) {
      const held = await ada.request((session) => session.csrfToken());
      await ada.request(async (session) => {
        if (change === "login") await session.login("ada");
        else await session[change]();
      });
      await expect(ada.request((session) => session.requireCsrfToken(held))).rejects.toThrow("CSRF");
      const fresh = await ada.request((session) => session.csrfToken());
      await ada.request((session) => session.requireCsrfToken(fresh));
    }
    await expect(ada.request((session) => session.requireCsrfToken(before))).rejects.toThrow("CSRF");
  });

  it("renewEvery changes the secret now and then, and a request under way with the old token is not refused", async () => {
    const { client, clock } = setUpRevocable({ lifetime: { renewEvery: minutes(5) } });
    const ada = client();
    await ada.request((session) => session.login("ada"));
    const old = ada.copy();
    const csrf = await ada.request((session) => session.csrfToken());
    await clock.advance(minutes(5));
    await ada.request(() => {});
    await expect(ada.request((session) => session.requireCsrfToken(csrf))).rejects.toThrow("CSRF");
    expect(await userOf(old)).toBe("ada");
  });

  it("CK-07: one that would not fit is an error that says how large it is and what to do, and nothing is lost", async () => {
    const { client } = setUpSealed();
    const ada = client();
    await ada.request(sets(1));
    const failure = await ada
      .request((session) => {
        session.data.anything = "x".repeat(4000);
      })
      .catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(CookieTooLargeError);
    expect(failure).toMatchObject({ code: "cookie_too_large", bytes: expect.any(Number), limit: 4096 });
    expect((failure as CookieTooLargeError).bytes).toBeGreaterThan(4096);
    expect((failure as Error).message).toMatch(/takes \d{4} bytes; browsers drop it above 4096\. Keep less .* spill/);
    expect(await n(ada)).toBe(1);
    await expect(client().request(({ data }) => Object.assign(data, { anything: "x".repeat(4000) }))).rejects.toThrow(
      "bytes",
    );
  });

  it("CK-07: one that just fits the cookie is kept, name and value together 4096 bytes", async () => {
    const sessions = createSessions<Visit>({ clock: new TestClock(), strategy: sealed({ keys: KEYS }) });
    let longest = 0;
    for (let length = 2800; length < 3000; length++) {
      const answer = await visit(sessions, {}, (session) => {
        session.data.anything = "x".repeat(length);
      }).catch((error: unknown) => error as Error);
      if (answer instanceof Error) {
        expect(answer).toBeInstanceOf(CookieTooLargeError);
        break;
      }
      longest = answer.cookie.length - 1;
      const again = await visit(sessions, { headers: { cookie: answer.cookie } });
      expect(again.session.data.anything).toHaveLength(length);
    }
    expect(longest).toBeGreaterThan(4090);
    expect(longest).toBeLessThanOrEqual(4096);
  });

  it("RN-09: what changes after the head has left is an error, since nothing could carry it", async () => {
    const { client, clock } = setUpSealed();
    const ada = client();
    await ada.request(sets(1));
    await clock.advance(minutes(2));
    const open = await ada.open();
    open.answer();
    // Only the activity is due, which is no reason to fail.
    await open.exchange.commit();
    open.session.data.n = 2;
    await expect(open.exchange.commit()).rejects.toBeInstanceOf(HeadersSentError);
    await expect(open.session.takeFlash()).resolves.toEqual([]);
    expect(await n(ada)).toBe(1);
  });

  it("CK-19: is not sent over plain HTTP", async () => {
    const sessions = createSessions<Visit>({ clock: new TestClock(), strategy: sealed({ keys: KEYS }) });
    const { cookie } = await visit(sessions, {}, sets(1));
    const plain = { secure: false, headers: { cookie } };
    await expect(visit(sessions, plain, sets(2))).rejects.toBeInstanceOf(InsecureTransportError);
  });

  it("takes no turns: unsafe requests at the same time do not wait for each other", async () => {
    const { client } = setUpSealed();
    const ada = client();
    await ada.request(sets(1));
    const [one, two] = [await ada.open({ method: "POST" }), await ada.open({ method: "POST" })];
    await two.finish();
    await one.finish();
  });

  it("is listed nowhere and ended by nobody but its client; what is asked for says what to do instead", async () => {
    const { client, sessions } = setUpSealed();
    const ada = client();
    await ada.request((session) => session.login("ada"));
    const id = await ada.request((session) => session.id);
    const ofAda = sessions.forUser("ada");
    for (const [asked, why] of [
      [ofAda.list(), /cannot be listed.*Keep the sessions in a store/],
      [ofAda.revoke(id), /cannot be ended one by one/],
      [ofAda.revokeAll(), /without a store that keeps revocations/],
      [sessions.revokeEveryone(), /without a store that keeps revocations/],
    ] as const) {
      const error = await asked.catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(TypeError);
      expect((error as Error).message).toMatch(why);
    }
    expect(await userOf(ada)).toBe("ada");
  });

  it("refuses configurations that would not do what they seem to", () => {
    const strategy = sealed({ keys: KEYS });
    const { revocations: _, ...silent } = { ...neverExpiring(memoryStore()), revocations: undefined };
    expect(() => createSessions({ strategy, sessionsPerUser: { max: 3, atLimit: "reject" } })).toThrow(TypeError);
    expect(() => createSessions({ strategy: sealed({ keys: KEYS, spill: true }) })).toThrow("spill needs a store");
    expect(() => createSessions({ strategy, store: silent })).toThrow("keeps no revocations");
    expect(() => createSessions({} as never)).toThrow("needs a store");
    expect(() => createSessions({ strategy, store: {} as never })).toThrow("needs a store");
  });

  it("needs nothing of a store: cleaning up and closing do nothing", async () => {
    const { sessions } = setUpSealed();
    expect(await sessions.cleanUp()).toBe(0);
    await sessions.close();
  });
});

describe("hostile cookies", () => {
  it("CK-17: with any bit flipped are an anonymous visitor and an event, never an error", async () => {
    const { client, told } = setUpSealed();
    const ada = client();
    await ada.request((session) => session.login("ada"));
    told();
    const bytes = Buffer.from(ada.token ?? "", "base64url");
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const changed = Buffer.from(bytes);
      changed[bit >> 3] = (changed[bit >> 3] as number) ^ (1 << (bit & 7));
      expect(await userOf(client(changed.toString("base64url")))).toBeUndefined();
      expect(told()).toEqual([bit < 8 ? "malformedToken" : "unknownToken: broken-seal"]);
    }
    expect(await userOf(ada)).toBe("ada");
  });

  it("CK-17: cut short, of an unknown version, or nonsense are the same", async () => {
    const { client, told } = setUpSealed();
    const ada = client();
    await ada.request((session) => session.login("ada"));
    told();
    const token = ada.token ?? "";
    for (let length = 1; length < token.length; length++)
      expect(await userOf(client(token.slice(0, length)))).toBeUndefined();
    expect(new Set(told())).toEqual(new Set(["malformedToken", "unknownToken: broken-seal"]));
    for (const text of [
      `B${token.slice(1)}`,
      "x",
      "A".repeat(70),
      `${"A".repeat(22)}.${"A".repeat(43)}`,
      "%00",
      "Q".repeat(5000),
    ])
      expect(await userOf(client(text))).toBeUndefined();
    expect(new Set(told())).toEqual(new Set(["malformedToken"]));
  });

  it("CK-17: values of two cookies swapped open nothing", async () => {
    const clock = new TestClock();
    const make = (name: string) => createSessions<Visit>({ clock, cookie: { name }, strategy: sealed({ keys: KEYS }) });
    const [shop, admin] = [make("__Host-shop"), make("__Host-admin")];
    const { token } = await visit(shop, {}, (session) => session.login("ada"));
    const events: unknown[] = [];
    admin.on("unknownToken", ({ reason }) => events.push(reason));
    expect((await visit(admin, { headers: { cookie: `__Host-admin=${token}` } })).session.userId).toBeUndefined();
    expect(events).toEqual(["broken-seal"]);
    expect((await visit(shop, { headers: { cookie: `__Host-shop=${token}` } })).session.userId).toBe("ada");
    // Nor does a cookie's value in a header.
    expect(await userOf(new Client(setUpSealed({ clock }).sessions, token))).toBeUndefined();
  });

  it("CK-17: an old key opens them and the new one seals them again; a retired key logs out", async () => {
    const clock = new TestClock();
    const before = setUpSealed({ clock, keys: [key(1)] }).client();
    await before.request((session) => session.login("ada"));
    const during = new Client(setUpSealed({ clock, keys: [key(2), key(1)] }).sessions, before.token);
    expect(await during.request((session) => session.userId)).toBe("ada");
    await clock.advance(minutes(1));
    await during.request(() => {});
    const after = setUpSealed({ clock, keys: [key(2)] });
    expect(await userOf(after.client(during.token))).toBe("ada");
    expect(await userOf(after.client(before.token))).toBeUndefined();
    expect(after.told()).toEqual(["unknownToken: broken-seal"]);
  });

  it("CK-17: a sealed record that cannot be understood is an anonymous visitor and an event", async () => {
    const { Envelopes } = await import("../../../src/strategies/sealed/envelope.ts");
    const { KeyRing } = await import("../../../src/strategies/sealed/key-ring.ts");
    const { client, told } = setUpSealed();
    const envelopes = new Envelopes(new KeyRing(KEYS), "session", "header authorization");
    for (const bytes of [new Uint8Array(0), new Uint8Array(100).fill(255)]) {
      expect(await userOf(client(await envelopes.seal(bytes)))).toBeUndefined();
      expect(told()).toEqual(["corruptRecord"]);
    }
  });
});

describe("without a store that keeps revocations", () => {
  it("LO-01, CK-17: logout makes the client forget its cookie, and a copy of it lives until its deadline: documented", async () => {
    const { client, clock } = setUpSealed();
    const ada = client();
    await ada.request((session) => session.login("ada"));
    const copy = ada.copy();
    await ada.request((session) => session.logout());
    expect(ada.token).toBeUndefined();
    expect(await userOf(copy)).toBe("ada");
    await clock.advance(minutes(30));
    expect(await userOf(copy)).toBeUndefined();
  });
});

describe("with a store that keeps revocations", () => {
  it("LO-01, CK-17: a copy taken before the logout is refused", async () => {
    const { client, told } = setUpRevocable();
    const ada = client();
    await ada.request((session) => session.login("ada"));
    const copy = ada.copy();
    await ada.request((session) => session.logout());
    told();
    expect(await userOf(copy)).toBeUndefined();
    expect(told()).toEqual(["unknownToken: revoked"]);
  });

  it("LO-01: in another process too, within a second, and at once when it asks the log", async () => {
    const clock = new TestClock();
    const store = memoryStore();
    const [here, there] = [setUpRevocable({ clock, store }), setUpRevocable({ clock, store })];
    const ada = here.client();
    await ada.request((session) => session.login("ada"));
    const copy = there.client(ada.token);
    expect(await userOf(copy)).toBe("ada");
    await ada.request((session) => session.logout());
    await clock.advance(seconds(1));
    expect(await userOf(copy)).toBeUndefined();
    await Promise.all([here.sessions.close(), there.sessions.close()]);
  });

  it("RN-01, CK-17: a copy taken before login, elevate or renew is refused", async () => {
    for (const change of ["login", "elevate", "renew"] as const) {
      const { client, clock } = setUpRevocable();
      const ada = client();
      await ada.request(async (session) => {
        session.data.n = 1;
        if (change !== "login") await session.login("ada");
      });
      const copy = ada.copy();
      await clock.advance(1);
      await ada.request(async (session) => {
        if (change === "login") await session.login("ada");
        else await session[change]();
      });
      expect(await copy.request((session) => session.isNew)).toBe(true);
      expect(await ada.request((session) => [session.userId, session.data.n])).toEqual(["ada", 1]);
    }
  });

  it("LO-06: revokeAll ends every session of the user but the one that is spared, and of nobody else", async () => {
    const { client, sessions, clock } = setUpRevocable();
    const [one, two, eve] = [client(), client(), client()];
    for (const [who, name] of [
      [one, "ada"],
      [two, "ada"],
      [eve, "eve"],
    ] as const)
      await who.request((session) => session.login(name));
    await clock.advance(1);
    await one.request((session) => sessions.forUser("ada").revokeAll({ by: session, except: session.id }));
    expect([await userOf(one), await userOf(two), await userOf(eve)]).toEqual(["ada", undefined, "eve"]);
    await sessions.forUser("ada").revokeAll();
    expect([await userOf(one), await userOf(eve)]).toEqual([undefined, "eve"]);
    await sessions.revokeEveryone();
    expect(await userOf(eve)).toBeUndefined();
    const again = client();
    await clock.advance(1);
    await again.request((session) => session.login("ada"));
    expect(await userOf(again)).toBe("ada");
  });

  it("LO-08: a renewal that began before revokeAll does not outlive it", async () => {
    const { client, sessions, clock } = setUpRevocable();
    const ada = client();
    await ada.request((session) => session.login("ada"));
    await clock.advance(1);
    const open = await ada.open({ method: "POST" });
    await sessions.forUser("ada").revokeAll();
    await clock.advance(1);
    await expect(open.session.renew()).rejects.toBeInstanceOf(SessionEndedError);
    open.answer();
    expect(await userOf(ada)).toBeUndefined();
  });

  it("a slow request that ends after the logout is refused and sends no cookie", async () => {
    const { client } = setUpRevocable();
    const ada = client();
    await ada.request((session) => session.login("ada"));
    const slow = ada.copy();
    const open = await slow.open({ method: "POST" });
    open.session.data.n = 1;
    await ada.request((session) => session.logout());
    await expect(open.finish()).rejects.toBeInstanceOf(SessionEndedError);
    expect(slow.changes).toBe(0);
  });

  it("reload sees that the session was ended", async () => {
    const { client, sessions, clock } = setUpRevocable();
    const ada = client();
    await ada.request((session) => session.login("ada"));
    const open = await ada.open();
    await open.session.reload();
    await clock.advance(1);
    await sessions.forUser("ada").revokeAll();
    await expect(open.session.reload()).rejects.toMatchObject({ reason: "gone" });
  });

  it("a log that cannot be read or written is a 503, never a logout", async () => {
    const { client, store, clock, sessions } = setUpRevocable();
    const ada = client();
    await ada.request((session) => session.login("ada"));
    expect(await userOf(ada)).toBe("ada");
    store.fail();
    await expect(ada.request((session) => session.logout())).rejects.toBeInstanceOf(StoreUnavailableError);
    expect(await userOf(ada)).toBe("ada");
    await clock.advance(seconds(10));
    await expect(userOf(ada)).rejects.toBeInstanceOf(StoreUnavailableError);
    store.recover();
    expect(await userOf(ada)).toBe("ada");
    await sessions.close();
  });

  it("costs no read of a record, ever", async () => {
    const { client, store } = setUpRevocable();
    const ada = client();
    await ada.request((session) => session.login("ada"));
    for (let i = 0; i < 10; i++) await ada.request(sets(i), { method: "POST" });
    expect(["read", "create", "update", "touch"].map((verb) => store.calls(verb as "read"))).toEqual([0, 0, 0, 0]);
  });
});

describe("spill", () => {
  const large = "x".repeat(5000);
  const grow = (session: { data: Visit }) => {
    session.data.anything = large;
  };
  const spilling = (settings = {}) => setUpRevocable({ spill: true, ...settings });

  it("a session that outgrows its cookie goes on in the store, with another token, for good", async () => {
    const { client, store } = spilling();
    const ada = client();
    await ada.request((session) => session.login("ada"));
    const id = await ada.request((session) => session.id);
    await ada.request(grow);
    expect(ada.token).toMatch(/^[\w-]{22}\.[\w-]{43}$/);
    expect(ada.token).toContain(id);
    expect(await ada.request((session) => [session.id, session.userId, session.data.anything])).toEqual([
      id,
      "ada",
      large,
    ]);
    await ada.request((session) => void delete session.data.anything);
    await ada.request(sets(3), { method: "POST" });
    expect(await n(ada)).toBe(3);
    expect(store.calls("create")).toBe(1);
    expect(ada.token).toContain(id);
  });

  it("a new session that is too large begins there", async () => {
    const { client } = spilling();
    const ada = client();
    await ada.request(grow);
    expect(await ada.request((session) => session.data.anything)).toBe(large);
    await ada.request((session) => session.login("ada"));
    expect(await ada.request((session) => [session.userId, session.data.anything])).toEqual(["ada", large]);
  });

  it("there requests take turns and nothing is lost", async () => {
    const { client } = spilling();
    const ada = client();
    await ada.request(grow);
    const add = () =>
      ada.copy().request(
        ({ data }) => {
          data.n = (data.n ?? 0) + 1;
        },
        { method: "POST" },
      );
    await Promise.all(Array.from({ length: 20 }, add));
    expect(await n(ada)).toBe(20);
  });

  it("of two requests that outgrow it at the same time, both are kept", async () => {
    const { client } = spilling();
    const ada = client();
    await ada.request(sets(1));
    const [one, two] = [await ada.open({ method: "POST" }), await ada.open({ method: "POST" })];
    one.session.data.anything = large;
    two.session.data.cart = [large];
    await one.finish();
    await two.finish();
    expect(await ada.request(({ data }) => [data.n, data.anything, data.cart])).toEqual([1, large, [large]]);
  });

  it("touches, expiry and logout work there", async () => {
    const { client, clock, store } = spilling();
    const ada = client();
    await ada.request(grow);
    await clock.advance(minutes(29));
    await ada.request(() => {});
    expect(store.calls("touch")).toBe(1);
    await clock.advance(minutes(29));
    const copy = ada.copy();
    expect(await copy.request((session) => session.isNew, { passive: true })).toBe(false);
    await ada.request((session) => session.logout());
    expect(await copy.request((session) => session.isNew)).toBe(true);
    await clock.advance(hours(1));
  });

  it("a logout with a copy from before it spilled ends it too", async () => {
    const { client } = spilling();
    const ada = client();
    await ada.request((session) => session.login("ada"));
    const before = ada.copy();
    await ada.request(grow);
    await before.request((session) => session.logout());
    expect(await userOf(ada)).toBeUndefined();
  });

  it("a store that fails while a session spills is a 503, and nothing is lost", async () => {
    const { client, store } = spilling();
    const ada = client();
    await ada.request(sets(1));
    store.fail("create");
    await expect(ada.request(grow)).rejects.toBeInstanceOf(StoreUnavailableError);
    store.recover();
    expect(await n(ada)).toBe(1);
    store.loseAnswer("create");
    const { errors } = await outcomes([ada.request(grow)]);
    expect(errors).toEqual([]);
    expect(await ada.request((session) => session.data.anything)).toBe(large);
  });
});
