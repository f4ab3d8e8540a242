import {
  days,
  headerTransport,
  hours,
  minutes,
  type Session,
  SessionConflictError,
  SessionEndedError,
  SessionLimitError,
  StoreUnavailableError,
  seconds,
} from "coatcheck";
import { memoryStore } from "coatcheck/memory";
import { InvalidScopeError } from "coatcheck/tokens";
import { describe, expect, it, test } from "vitest";
import { formatRefreshToken, parseRefreshToken } from "../../src/tokens/refresh-token.ts";
import { Client, neverExpiring, times } from "../session/support.ts";
import { accepted, idOf, refused, setUp } from "./session-support.ts";

describe("logging in", () => {
  it("gives an access token that tells of the session, and a refresh token", async () => {
    const { tokens, clock } = setUp();
    const answer = await tokens.login("ada", { methods: ["pwd"], scope: "cart:read cart:write" });
    expect(answer).toEqual({
      accessToken: expect.any(String),
      expiresIn: 600,
      refreshToken: expect.stringMatching(/^[\w-]{22}\.[\w-]{43}\.[\w-]{22}$/),
      refreshExpiresIn: 7 * 24 * 3600,
    });
    expect(await tokens.verify(answer.accessToken)).toMatchObject({
      sub: "ada",
      sid: idOf(answer.refreshToken),
      auth_time: clock.now() / 1000,
      amr: ["pwd"],
      scope: "cart:read cart:write",
      client_id: "https://api.shop.example",
    });
  });

  it("RT-01: the store holds neither the refresh token nor anything that opens it", async () => {
    const { tokens, inner } = setUp({ refreshGrace: seconds(10) });
    const first = await tokens.login("ada");
    const second = await tokens.refresh(first.refreshToken);
    const records = [];
    for await (const record of inner.all()) records.push(record);
    const dump = JSON.stringify(records);
    for (const { refreshToken } of [first, second])
      for (const part of refreshToken.split(".").slice(1)) expect(dump).not.toContain(part);
    // Nor does anything in it do as a part of a token.
    const [record] = records;
    const meta = record?.meta.refresh;
    for (const secret of [record?.secretHash, record?.meta.previousSecretHash, meta?.nonce])
      for (const family of [meta?.familyHash.slice(0, 22), meta?.nonce?.slice(0, 22)])
        await refused(tokens.refresh(`${record?.id}.${secret}.${family}`));
    expect(await accepted(tokens, second.accessToken)).toBe(true);
  });

  it("is listed with the user's devices and counts for the limit", async () => {
    const { tokens, sessions, clock } = setUp({
      sessions: { sessionsPerUser: { max: 2, atLimit: "evict-oldest" } },
    });
    const devices = [];
    for (const userAgent of ["Phone", "Tablet", "Watch"]) {
      await clock.advance(1000);
      devices.push(await tokens.login("ada", { device: { userAgent } }));
    }
    const listed = await sessions.forUser("ada").list();
    expect(listed.map(({ device }) => device.userAgent)).toEqual(["Watch", "Tablet"]);
    await refused(tokens.refresh(devices[0]?.refreshToken));
    expect(await accepted(tokens, devices[0]?.accessToken as string)).toBe(false);
    await tokens.refresh(devices[1]?.refreshToken);
  });

  it("is refused above the limit where that is the policy", async () => {
    const { tokens, events } = setUp({ sessions: { sessionsPerUser: { max: 1, atLimit: "reject" } } });
    await tokens.login("ada");
    await expect(tokens.login("ada")).rejects.toBeInstanceOf(SessionLimitError);
    expect(events.map(({ type }) => type)).toEqual(["created", "login", "limitReached"]);
  });

  test.each([
    ["a user id that is none", ["" as string]],
    ["a scope that is none", ["ada", { scope: "two  spaces" }]],
    ["a claim that was not declared", ["ada", { claims: { email: "ada@example.com" } }]],
  ])("%s is the programmer's mistake", async (_, [userId, options]) => {
    const { tokens } = setUp();
    await expect(tokens.login(userId as string, options as object)).rejects.toBeInstanceOf(TypeError);
  });
});

describe("refreshing", () => {
  it("RT-02: each use gives another token, and the used one is dead", async () => {
    const { tokens, reasons } = setUp();
    const first = await tokens.login("ada");
    const second = await tokens.refresh(first.refreshToken);
    expect(second.refreshToken).not.toBe(first.refreshToken);
    expect(idOf(second.refreshToken)).toBe(idOf(first.refreshToken));
    expect(await accepted(tokens, second.accessToken)).toBe(true);
    expect(await accepted(tokens, first.accessToken)).toBe(true);
    expect(reasons("refreshed")).toEqual(["used"]);
  });

  it("RT-02: reuse ends the family with its access tokens and says what kind of reuse it was", async () => {
    const { tokens, reasons, stored, events } = setUp();
    const first = await tokens.login("ada");
    const second = await tokens.refresh(first.refreshToken);
    await refused(tokens.refresh(first.refreshToken, { device: { userAgent: "Thief" } }));
    expect(reasons("refreshReused")).toEqual(["previous"]);
    expect(events.at(-1)).toMatchObject({
      userId: "ada",
      sessionId: idOf(first.refreshToken),
      device: { userAgent: "Thief" },
    });
    expect(await stored(first.refreshToken)).toBeUndefined();
    await refused(tokens.refresh(second.refreshToken));
    for (const { accessToken } of [first, second]) expect(await accepted(tokens, accessToken)).toBe(false);
  });

  it("keeps when and how the user authenticated", async () => {
    const { tokens, clock } = setUp();
    const at = clock.now() / 1000;
    const { refreshToken } = await tokens.login("ada", { methods: ["pwd", "otp"] });
    await clock.advance(hours(3));
    const { accessToken } = await tokens.refresh(refreshToken);
    expect(await tokens.verify(accessToken)).toMatchObject({ auth_time: at, amr: ["pwd", "otp"] });
  });

  it("RT-03: 50 parallel refreshes leave one live successor, and the rest are told to try again", async () => {
    const { tokens, reasons } = setUp();
    const { refreshToken } = await tokens.login("ada");
    const settled = await Promise.allSettled(times(50, () => tokens.refresh(refreshToken)));
    const [first, ...more] = settled.filter((outcome) => outcome.status === "fulfilled");
    expect(more).toEqual([]);
    for (const outcome of settled)
      if (outcome.status === "rejected") expect(outcome.reason).toBeInstanceOf(SessionConflictError);
    expect(reasons("refreshRefused")).toEqual(times(49, () => "overtaken"));
    expect(reasons("refreshReused")).toEqual([]);
    const successor = await tokens.refresh(first?.value.refreshToken);
    expect(await accepted(tokens, successor.accessToken)).toBe(true);
  });

  it("RT-02, RT-03: whoever was overtaken and tries again with the same token ends the family", async () => {
    const { tokens, reasons, stored } = setUp();
    const { refreshToken } = await tokens.login("ada");
    await Promise.allSettled(times(2, () => tokens.refresh(refreshToken)));
    expect(await stored(refreshToken)).toBeDefined();
    await refused(tokens.refresh(refreshToken));
    expect(reasons("refreshReused")).toEqual(["previous"]);
    expect(await stored(refreshToken)).toBeUndefined();
  });

  it("RT-03: whoever was overtaken is told so however often the winner has refreshed since", async () => {
    const one = setUp();
    const late = setUp({ sessions: { store: one.inner } });
    const { refreshToken } = await one.tokens.login("ada");
    const held = late.store.hold("update");
    const attempt = late.tokens.refresh(refreshToken);
    await held.reached;
    const winner = one.device(await one.tokens.refresh(refreshToken));
    await winner.refresh();
    held.release();
    await expect(attempt).rejects.toBeInstanceOf(SessionConflictError);
    expect(late.reasons("refreshReused")).toEqual([]);
    await winner.refresh();
  });

  it("RT-03: with a grace, 50 parallel refreshes leave exactly one live successor", async () => {
    const { tokens, reasons, sessions } = setUp({ refreshGrace: seconds(10) });
    const { refreshToken } = await tokens.login("ada");
    const answers = await Promise.all(times(50, () => tokens.refresh(refreshToken)));
    const successors = new Set(answers.map((answer) => answer.refreshToken));
    expect(successors.size).toBe(1);
    expect(reasons("refreshed").sort()).toEqual([...times(49, () => "repeated"), "used"]);
    expect(await sessions.forUser("ada").list()).toHaveLength(1);
    await tokens.refresh([...successors][0]);
  });

  it("RT-03: thief and owner in parallel never both go on", async () => {
    const { tokens } = setUp();
    const { refreshToken } = await tokens.login("ada");
    const settled = await Promise.allSettled([tokens.refresh(refreshToken), tokens.refresh(refreshToken)]);
    const tokensLeft = settled.flatMap((outcome) =>
      outcome.status === "fulfilled" ? [outcome.value.refreshToken] : [],
    );
    const again = await Promise.allSettled(tokensLeft.map((token) => tokens.refresh(token)));
    expect(again.filter(({ status }) => status === "fulfilled").length).toBeLessThanOrEqual(1);
  });

  it("RT-01: the scope can only shrink", async () => {
    const { tokens, reasons } = setUp();
    const first = await tokens.login("ada", { scope: "read write" });
    await expect(tokens.refresh(first.refreshToken, { scope: "read admin" })).rejects.toBeInstanceOf(InvalidScopeError);
    await expect(tokens.refresh(first.refreshToken, { scope: "read  write" })).rejects.toBeInstanceOf(
      InvalidScopeError,
    );
    await expect(tokens.refresh(first.refreshToken, { scope: 5 as never })).rejects.toBeInstanceOf(InvalidScopeError);
    const second = await tokens.refresh(first.refreshToken, { scope: "read" });
    expect((await tokens.verify(second.accessToken)).scope).toBe("read");
    await expect(tokens.refresh(second.refreshToken, { scope: "read write" })).rejects.toBeInstanceOf(
      InvalidScopeError,
    );
    const third = await tokens.refresh(second.refreshToken);
    expect((await tokens.verify(third.accessToken)).scope).toBe("read");
    expect(reasons("refreshRefused")).toEqual(["scope", "scope", "scope", "scope"]);
  });

  it("RT-01: a login without a scope never gets one", async () => {
    const { tokens } = setUp();
    const { refreshToken } = await tokens.login("ada");
    await expect(tokens.refresh(refreshToken, { scope: "read" })).rejects.toBeInstanceOf(InvalidScopeError);
    const { accessToken } = await tokens.refresh(refreshToken);
    expect((await tokens.verify(accessToken)).scope).toBeUndefined();
  });

  it("JW-12: claims of one's own cannot tell what the session has to tell, nor what it leaves open", async () => {
    const { tokens, device } = setUp();
    const owner = device(await tokens.login("ada"));
    const known = { sub: "eve", client_id: "c", sid: "s", sid_at: 9e12, scope: "admin", amr: ["otp"], auth_time: 1 };
    for (const [name, value] of Object.entries(known)) {
      const claims = { [name]: value } as never;
      await expect(tokens.login("ada", { claims }), name).rejects.toThrow(TypeError);
      const { refreshToken } = await tokens.login("ada");
      await expect(tokens.refresh(refreshToken, { claims }), name).rejects.toThrow(TypeError);
    }
    await owner.refresh();
  });

  it("RT-01: another client gets nothing, and the owner's goes on", async () => {
    const { tokens, reasons } = setUp();
    const { refreshToken } = await tokens.login("ada", { clientId: "phone" });
    await refused(tokens.refresh(refreshToken, { clientId: "desk" }));
    await refused(tokens.refresh(refreshToken));
    expect(reasons("refreshRefused")).toEqual(["client", "client"]);
    const { accessToken } = await tokens.refresh(refreshToken, { clientId: "phone" });
    expect((await tokens.verify(accessToken)).client_id).toBe("phone");
  });

  it("RT-07: a late replay after 10,000 rotations is recognised, and the record has not grown", {
    timeout: 60_000,
  }, async () => {
    const { tokens, device, reasons, stored } = setUp({ refreshGrace: seconds(10) });
    const first = await tokens.login("ada");
    const owner = device(first);
    await owner.refresh();
    await owner.refresh();
    const size = JSON.stringify(await stored(owner.token)).length;
    for (let i = 2; i < 10_000; i++) await owner.refresh();
    expect(JSON.stringify(await stored(owner.token)).length).toBeLessThan(size + 20);
    await refused(tokens.refresh(first.refreshToken));
    // At this clock, which stands still, all was in the grace; but what was two uses ago is forgotten.
    expect(reasons("refreshReused")).toEqual(["older"]);
    await refused(owner.refresh());
  });

  it("RT-07: who never held a token of the family cannot end it", async () => {
    const { tokens, reasons, device } = setUp();
    const owner = device(await tokens.login("ada"));
    const used = parseRefreshToken(owner.token);
    const other = parseRefreshToken((await tokens.login("eve")).refreshToken);
    await owner.refresh();
    if (used === undefined || other === undefined) throw new Error("no tokens");
    // The public id with a family of one's own; the old secret and all without the family; the family of another id.
    await refused(tokens.refresh(formatRefreshToken({ ...other, id: used.id })));
    await refused(tokens.refresh(formatRefreshToken({ ...used, family: other.family })));
    await refused(tokens.logout(formatRefreshToken({ ...used, family: other.family })).then(() => tokens.refresh("x")));
    expect(reasons("refreshReused")).toEqual([]);
    expect(reasons("unknownToken")).toEqual(["wrong-secret", "wrong-secret", "wrong-secret"]);
    await owner.refresh();
    // The right family proves that one has held a token, whatever the secret.
    await refused(tokens.refresh(formatRefreshToken({ ...other, id: used.id, family: used.family })));
    expect(reasons("refreshReused")).toEqual(["older"]);
  });

  test.each([
    ["nothing", undefined],
    ["a number", 7],
    ["an empty text", ""],
    ["text of the right length", "x".repeat(89)],
    ["a token that nobody was given", `${"A".repeat(22)}.${"A".repeat(43)}.${"A".repeat(22)}`],
  ])("RT-09: %s gets the one error", async (_, text) => {
    const { tokens } = setUp();
    await refused(tokens.refresh(text));
    await tokens.logout(text);
  });

  it("a store that is down is not a token that is dead", async () => {
    const { tokens, store } = setUp();
    const { refreshToken } = await tokens.login("ada");
    store.failNext("read");
    await expect(tokens.refresh(refreshToken)).rejects.toBeInstanceOf(StoreUnavailableError);
    store.failNext("remove");
    await expect(tokens.logout(refreshToken)).rejects.toBeInstanceOf(StoreUnavailableError);
    await tokens.refresh(refreshToken);
  });

  it("an answer of the store that was lost after the write is found out", async () => {
    const { tokens, store } = setUp();
    const { refreshToken } = await tokens.login("ada");
    store.loseAnswer("update");
    const second = await tokens.refresh(refreshToken);
    await tokens.refresh(second.refreshToken);
  });
});

describe("grace", () => {
  it("RT-04: off by default: the same token a second time ends the family", async () => {
    const { tokens } = setUp();
    const { refreshToken } = await tokens.login("ada");
    await tokens.refresh(refreshToken);
    await refused(tokens.refresh(refreshToken));
  });

  it("RT-04: within it, the same successor again, reported; after it, reuse", async () => {
    const { tokens, clock, reasons } = setUp({ refreshGrace: seconds(10) });
    const { refreshToken } = await tokens.login("ada");
    const second = await tokens.refresh(refreshToken);
    await clock.advance(9999);
    const again = await tokens.refresh(refreshToken);
    expect(again.refreshToken).toBe(second.refreshToken);
    expect(await accepted(tokens, again.accessToken)).toBe(true);
    expect(reasons("refreshed")).toEqual(["used", "repeated"]);
    await clock.advance(1);
    await refused(tokens.refresh(refreshToken));
    expect(reasons("refreshReused")).toEqual(["previous"]);
    await refused(tokens.refresh(second.refreshToken));
  });

  it("RT-04: ends with the first use of the successor", async () => {
    const { tokens, clock, reasons } = setUp({ refreshGrace: seconds(10) });
    const { refreshToken } = await tokens.login("ada");
    const second = await tokens.refresh(refreshToken);
    await clock.advance(1);
    const third = await tokens.refresh(second.refreshToken);
    await refused(tokens.refresh(refreshToken));
    expect(reasons("refreshReused")).toEqual(["in-grace"]);
    await refused(tokens.refresh(third.refreshToken));
  });

  it("RT-04: the chain of successors goes on through repeats", async () => {
    const { tokens, device } = setUp({ refreshGrace: seconds(5) });
    const owner = device(await tokens.login("ada"));
    for (let i = 0; i < 10; i++) {
      const before = owner.token;
      const { refreshToken } = await owner.refresh();
      expect((await tokens.refresh(before)).refreshToken).toBe(refreshToken);
    }
  });

  it("RT-04: a process without grace gives none for what one with grace has made", async () => {
    const { sessions, keys, tokens } = setUp({ refreshGrace: seconds(5) });
    const { createTokens } = await import("coatcheck/tokens");
    const strict = createTokens({
      sessions,
      keys,
      issuer: "https://shop.example",
      audience: "https://api.shop.example",
    });
    const { refreshToken } = await tokens.login("ada");
    await tokens.refresh(refreshToken);
    await refused(strict.refresh(refreshToken));
  });

  it("RT-04: at most 10 seconds", () => {
    expect(() => setUp({ refreshGrace: 10_001 })).toThrow(TypeError);
    expect(() => setUp({ refreshGrace: -1 })).toThrow(TypeError);
  });
});

describe("the end", () => {
  it("RT-05: refreshed hourly, it dies 30 days after the login", async () => {
    const { tokens, device, clock, reasons, sessions, stored } = setUp();
    const owner = device(await tokens.login("ada"));
    for (let hour = 1; hour < 30 * 24; hour++) {
      await clock.advance(hours(1));
      await owner.refresh();
    }
    await clock.advance(hours(1) - 1);
    // An access token never outlives its session.
    expect((await owner.refresh()).expiresIn).toBe(1);
    await clock.advance(1);
    await refused(owner.refresh());
    expect(reasons("expired")).toEqual(["absolute"]);
    expect(await sessions.forUser("ada").list()).toEqual([]);
    await sessions.cleanUp();
    expect(await stored(owner.token)).toBeUndefined();
  });

  it("RT-05: unused, it dies after 7 days, and the clean-up takes it", async () => {
    const { tokens, clock, reasons, sessions } = setUp();
    const { refreshToken } = await tokens.login("ada");
    await clock.advance(days(7) - 1);
    await sessions.cleanUp();
    expect(await sessions.forUser("ada").list()).toHaveLength(1);
    await clock.advance(1);
    await refused(tokens.refresh(refreshToken));
    expect(reasons("expired")).toEqual(["idle"]);
    expect(await sessions.cleanUp()).toBe(1);
  });

  it("RT-05: its limits can be set, and a preset is a ceiling", async () => {
    for (const [lifetime, life] of [
      [{ refresh: { idle: hours(1) } }, hours(1)],
      ["aal3", minutes(15)],
    ] as const) {
      const { tokens, clock } = setUp({ sessions: { lifetime } });
      const { refreshToken } = await tokens.login("ada");
      await clock.advance(life - 1);
      const { refreshToken: next } = await tokens.refresh(refreshToken);
      await clock.advance(life);
      await refused(tokens.refresh(next));
    }
    expect(() => setUp({ sessions: { lifetime: { refresh: { idle: 1 } } } })).toThrow(TypeError);
  });

  it("LO-10: logout ends the family with its access tokens, and is harmless a second time", async () => {
    const { tokens, events, stored } = setUp();
    const answer = await tokens.login("ada");
    await tokens.logout(answer.refreshToken);
    await tokens.logout(answer.refreshToken);
    expect(events.map(({ type }) => type)).toEqual(["created", "login", "logout", "unknownToken"]);
    expect(await stored(answer.refreshToken)).toBeUndefined();
    await refused(tokens.refresh(answer.refreshToken));
    expect(await accepted(tokens, answer.accessToken)).toBe(false);
  });

  it("LO-10: logout with a token that was used ends the family too", async () => {
    const { tokens, reasons } = setUp();
    const first = await tokens.login("ada");
    const second = await tokens.refresh(first.refreshToken);
    await tokens.logout(first.refreshToken);
    expect(reasons("refreshReused")).toEqual(["previous"]);
    await refused(tokens.refresh(second.refreshToken));
  });

  it("LO-10: revoking one device ends its refresh and access tokens and no others", async () => {
    const { tokens, sessions } = setUp();
    const [phone, desk] = [await tokens.login("ada"), await tokens.login("ada")];
    expect(await sessions.forUser("eve").revoke(idOf(phone.refreshToken))).toBe(false);
    expect(await sessions.forUser("ada").revoke(idOf(phone.refreshToken))).toBe(true);
    await refused(tokens.refresh(phone.refreshToken));
    expect(await accepted(tokens, phone.accessToken)).toBe(false);
    expect(await accepted(tokens, desk.accessToken)).toBe(true);
    await tokens.refresh(desk.refreshToken);
  });

  it("LO-10: revoking all, as for a new password, ends refresh and access tokens of the user", async () => {
    const { tokens, sessions, clock } = setUp();
    const answers = [await tokens.login("ada"), await tokens.login("ada")];
    const eve = await tokens.login("eve");
    await clock.advance(1);
    await sessions.forUser("ada").revokeAll();
    for (const { refreshToken, accessToken } of answers) {
      await refused(tokens.refresh(refreshToken));
      expect(await accepted(tokens, accessToken)).toBe(false);
    }
    await tokens.refresh(eve.refreshToken);
    expect(await accepted(tokens, (await tokens.login("ada")).accessToken)).toBe(true);
  });

  it("LO-08: revoking all beats refreshes that are under way", async () => {
    for (const step of ["read", "update"] as const) {
      const { tokens, sessions, store, clock } = setUp();
      const { refreshToken } = await tokens.login("ada");
      const held = store.hold(step);
      const refreshing = tokens.refresh(refreshToken).then(
        (answer) => answer,
        () => undefined,
      );
      await held.reached;
      await clock.advance(1);
      await sessions.forUser("ada").revokeAll();
      held.release();
      expect(await refreshing).toBeUndefined();
      expect(await sessions.forUser("ada").list()).toEqual([]);
    }
  });

  it("LO-08: an access token that was being made while all was revoked is dead", async () => {
    const store = memoryStore();
    const { tokens, sessions, clock } = setUp({ sessions: { store } });
    const { refreshToken } = await tokens.login("ada");
    const update = store.update.bind(store);
    store.update = async (...args) => {
      const outcome = await update(...args);
      await clock.advance(1);
      await sessions.forUser("ada").revokeAll();
      await clock.advance(1);
      return outcome;
    };
    const late = await tokens.refresh(refreshToken);
    expect(await accepted(tokens, late.accessToken)).toBe(false);
    await refused(tokens.refresh(late.refreshToken));
  });
});

describe("two kinds of tokens", () => {
  it("a session's token is no refresh token, and a refresh token opens no session", async () => {
    const { tokens, sessions, reasons, device } = setUp({ sessions: { transport: headerTransport() } });
    const client = new Client(sessions as never);
    await client.request((session) => session.login("ada"));
    const owner = device(await tokens.login("ada"));
    const [id, secret, family] = owner.token.split(".");

    await refused(tokens.refresh(client.token));
    await refused(tokens.refresh(`${client.token}.${family}`));
    expect(reasons("unknownToken")).toEqual(["session-token"]);
    expect(await client.request((session) => session.userId)).toBe("ada");

    for (const method of ["GET", "POST"]) {
      const whole = new Client(sessions as never, owner.token);
      expect(await whole.request((session) => session.userId, { method })).toBeUndefined();
      const cut = new Client(sessions as never, `${id}.${secret}`);
      expect(await cut.request((session) => session.isNew, { method })).toBe(true);
    }
    expect(reasons("unknownToken")).toEqual(["session-token", "refresh-token", "refresh-token"]);
    await owner.refresh();
  });

  it("JW-11: neither kind is an access token, and an access token is neither", async () => {
    const { tokens } = setUp();
    const { accessToken, refreshToken } = await tokens.login("ada");
    expect(await accepted(tokens, refreshToken)).toBe(false);
    expect(await accepted(tokens, refreshToken.slice(0, 66))).toBe(false);
    await refused(tokens.refresh(accessToken));
  });
});

describe("an access token for a session with a cookie", () => {
  const loggedIn = async (settings: Parameters<typeof setUp>[0] = {}) => {
    const setting = setUp({ ...settings, sessions: { transport: headerTransport(), ...settings.sessions } });
    const client = new Client(setting.sessions as never);
    await client.request((session) => session.login("ada", { methods: ["pwd"] }));
    const issue = (options?: object) =>
      client.request((session) => setting.tokens.issue(session as Session<never>, options));
    return { ...setting, client, issue };
  };

  it("LO-09: carries the session's id and dies with it", async () => {
    const { tokens, client, issue, clock } = await loggedIn();
    const { accessToken, expiresIn } = await issue({ scope: "read" });
    expect(expiresIn).toBe(600);
    const claims = await tokens.verify(accessToken);
    expect(claims).toMatchObject({ sub: "ada", amr: ["pwd"], scope: "read", auth_time: clock.now() / 1000 });
    expect(claims.sid).toBe(await client.request((session) => session.id));
    await clock.advance(1);
    await client.request((session) => session.logout());
    expect(await accepted(tokens, accessToken)).toBe(false);
  });

  it("LO-09: is not made by a handler that is still at work when the session has ended", async () => {
    for (const end of ["logout", "revokeAll"] as const) {
      const { sessions, tokens, client, clock } = await loggedIn();
      const copy = client.copy();
      await copy.request(async (session) => {
        if (end === "logout") await client.request((other) => other.logout());
        else await sessions.forUser("ada").revokeAll();
        await clock.advance(minutes(2));
        expect(() => tokens.issue(session)).toThrow(SessionEndedError);
      });
    }
  });

  it("does not outlive the session", async () => {
    const { issue } = await loggedIn({ sessions: { lifetime: { idle: minutes(2) } } });
    expect((await issue()).expiresIn).toBe(120);
  });

  it("is not for visitors who are not logged in, nor for a token that was rotated out", async () => {
    const { sessions, tokens, client, clock } = await loggedIn({ sessions: { lifetime: { renewEvery: minutes(1) } } });
    await new Client(sessions as never).request((session) => expect(() => tokens.issue(session)).toThrow(TypeError));
    const copy = client.copy();
    await clock.advance(minutes(1));
    await client.request(() => {});
    await copy.request((session) => {
      expect(session.userId).toBe("ada");
      expect(() => tokens.issue(session)).toThrow(SessionEndedError);
    });
  });
});

describe("which revocations are known", () => {
  it("LO-09: by the feed: no read of the store for a token, and none is accepted once its session has ended", async () => {
    const { tokens, store } = setUp();
    const { accessToken, refreshToken } = await tokens.login("ada");
    await tokens.verify(accessToken);
    const reads = store.calls("read");
    for (let i = 0; i < 100; i++) await tokens.verify(accessToken);
    expect(store.calls("read")).toBe(reads);
    await tokens.logout(refreshToken);
    expect(await accepted(tokens, accessToken)).toBe(false);
  });

  it("LO-09: a session that could not be revoked is not removed either", async () => {
    const { tokens, store, stored } = setUp();
    const { refreshToken } = await tokens.login("ada");
    store.failNext("revocations.append");
    await expect(tokens.logout(refreshToken)).rejects.toBeInstanceOf(StoreUnavailableError);
    expect(await stored(refreshToken)).toBeDefined();
    await tokens.logout(refreshToken);
    expect(await stored(refreshToken)).toBeUndefined();
  });

  it("LO-09: by asking the store, where it keeps no revocations", async () => {
    const { tokens, store, sessions } = setUp({ sessions: { store: neverExpiring(memoryStore()) } });
    const { accessToken, refreshToken } = await tokens.login("ada");
    expect(await accepted(tokens, accessToken)).toBe(true);
    store.failNext("read");
    await expect(tokens.verify(accessToken)).rejects.toBeInstanceOf(StoreUnavailableError);
    await tokens.logout(refreshToken);
    expect(await accepted(tokens, accessToken)).toBe(false);
    const other = await tokens.login("ada");
    await sessions.forUser("ada").revokeAll();
    expect(await accepted(tokens, other.accessToken)).toBe(false);
    // What was signed without a session has none to die with.
    expect(await accepted(tokens, tokens.sign({ sub: "ada" }))).toBe(true);
    expect(await accepted(tokens, tokens.sign({ sub: "ada", sid: "no id" }))).toBe(false);
  });
});
