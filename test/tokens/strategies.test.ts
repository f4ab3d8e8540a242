import { createSessions, type Session, type Sessions, seconds } from "coatcheck";
import { memoryStore } from "coatcheck/memory";
import { sealed, snapshotCookie } from "coatcheck/sealed";
import { TestClock } from "coatcheck/testing";
import { createTokens, generateKey, type SessionTokens } from "coatcheck/tokens";
import { describe, expect, it } from "vitest";
import { facts } from "../frameworks/support.ts";
import { neverExpiring } from "../session/support.ts";
import { KEYS } from "../strategies/sealed/support.ts";
import { accepted, refused } from "./session-support.ts";
import { AUDIENCE, ISSUER } from "./support.ts";

const STRATEGIES = [
  { name: "sealed sessions", keeping: () => ({ strategy: sealed({ keys: KEYS }) }) },
  { name: "sealed sessions that spill", keeping: () => ({ strategy: sealed({ keys: KEYS, spill: true }) }) },
  { name: "hybrid sessions", keeping: () => ({ cache: snapshotCookie({ keys: KEYS }) }) },
];

describe.each(STRATEGIES)("access tokens over $name", ({ keeping }) => {
  /** Two processes on one store, ada's browser at the first one, and an access token of hers. */
  async function setUp() {
    const clock = new TestClock();
    const store = memoryStore();
    const keys = generateKey("HS256");
    const [one, other] = [0, 1].map(() => {
      const sessions = createSessions({ clock, store, ...keeping() });
      return { sessions, tokens: createTokens({ sessions, keys, issuer: ISSUER, audience: AUDIENCE }) };
    }) as [Process, Process];
    const browser = browserOf(one.sessions);
    await browser((session) => session.login("ada"), "POST");
    const issue = () => browser((session) => one.tokens.issue(session).accessToken);
    const accessToken = await issue();
    for (const { tokens } of [one, other]) expect(await accepted(tokens, accessToken)).toBe(true);
    /** Whether any of the processes accepts a token, a second later. */
    const good = async (token: string) => {
      await clock.advance(seconds(1));
      return (await accepted(one.tokens, token)) || (await accepted(other.tokens, token));
    };
    return { clock, one, other, browser, issue, accessToken, good };
  }

  it("LO-09: tell of the session, also when that was not read from the store", async () => {
    const { one, browser, issue, clock } = await setUp();
    const id = await browser((session) => session.id);
    await clock.advance(seconds(30));
    expect(await one.tokens.verify(await issue())).toMatchObject({ sub: "ada", sid: id });
  });

  it("LO-09: die everywhere with a logout, and so do those that a copied cookie would get", async () => {
    const { browser, one, accessToken, good } = await setUp();
    const thief = browserOf(one.sessions, browser.jar);
    await browser((session) => session.logout(), "POST");
    expect(await good(accessToken)).toBe(false);
    await thief((session) => expect(() => one.tokens.issue(session)).toThrow(TypeError));
  });

  it("LO-10: die everywhere when all of the user's sessions are ended, with the refresh tokens", async () => {
    const { browser, one, other, accessToken, good, issue } = await setUp();
    const app = await other.tokens.login("ada");
    const eve = await other.tokens.login("eve");
    await other.sessions.forUser("ada").revokeAll();
    for (const token of [accessToken, app.accessToken]) expect(await good(token)).toBe(false);
    await refused(one.tokens.refresh(app.refreshToken));
    expect(await good((await one.tokens.refresh(eve.refreshToken)).accessToken)).toBe(true);
    await browser((session) => session.login("ada"), "POST");
    expect(await good(await issue())).toBe(true);
  });

  it("LO-10: of the session that is spared go on", async () => {
    const { browser, one, other, accessToken, good } = await setUp();
    const app = await other.tokens.login("ada");
    const except = await browser((session) => session.id);
    await one.sessions.forUser("ada").revokeAll({ except });
    expect(await good(app.accessToken)).toBe(false);
    expect(await good(accessToken)).toBe(true);
  });

  it("RN-01: die when the user logs in again, and the next ones live, in the same millisecond too", async () => {
    const { browser, accessToken, issue, good } = await setUp();
    await browser((session) => session.login("ada"), "POST");
    const next = await issue();
    expect(await good(accessToken)).toBe(false);
    expect(await good(next)).toBe(true);
  });
});

describe("access tokens over sealed sessions that spill into a store without revocations", () => {
  const setUp = (settings: object = {}) => {
    const store = { ...neverExpiring(memoryStore()), revocations: undefined } as never;
    const sessions = createSessions({ clock: new TestClock(), store, strategy: sealed({ keys: KEYS, spill: true }) });
    const keys = generateKey("HS256");
    return { sessions, tokens: createTokens({ sessions, keys, issuer: ISSUER, audience: AUDIENCE, ...settings }) };
  };

  it("LO-09: are not issued, since nobody could tell when the session has ended; those of refresh tokens are", async () => {
    const { sessions, tokens } = setUp();
    const browser = browserOf(sessions);
    await browser((session) => session.login("ada"), "POST");
    await browser((session) => expect(() => tokens.issue(session)).toThrow(/revocations/));
    const app = await tokens.login("ada");
    expect(await accepted(tokens, app.accessToken)).toBe(true);
    await tokens.logout(app.refreshToken);
    expect(await accepted(tokens, app.accessToken)).toBe(false);
  });

  it("are issued where the application knows itself what was revoked", async () => {
    const revoked = new Set<string>();
    const { sessions, tokens } = setUp({ revocation: { isRevoked: ({ sub }: { sub: string }) => revoked.has(sub) } });
    const browser = browserOf(sessions);
    await browser((session) => session.login("ada"), "POST");
    const { accessToken } = await browser((session) => tokens.issue(session));
    expect(await accepted(tokens, accessToken)).toBe(true);
    revoked.add("ada");
    expect(await accepted(tokens, accessToken)).toBe(false);
  });
});

describe("access tokens beside a store without revocations", () => {
  function setUp() {
    const clock = new TestClock();
    const store = { ...neverExpiring(memoryStore()), revocations: undefined } as never;
    const sessions = createSessions({ clock, store, lifetime: { refresh: { idle: 60_000, absolute: 60_000 } } });
    const tokens = createTokens({ sessions, keys: generateKey("HS256"), issuer: ISSUER, audience: AUDIENCE });
    return { clock, tokens };
  }

  it("LO-09: are refused once the session has expired, although its record is still there and the leeway runs", async () => {
    const { clock, tokens } = setUp();
    const { accessToken } = await tokens.login("ada");
    await clock.advance(seconds(60) - 1);
    expect(await accepted(tokens, accessToken)).toBe(true);
    await clock.advance(1);
    expect(await accepted(tokens, accessToken)).toBe(false);
  });

  it("LO-09: are refused when the session is another user's", async () => {
    const { tokens } = setUp();
    const { sid = "" } = await tokens.verify((await tokens.login("ada")).accessToken);
    expect(await accepted(tokens, tokens.sign({ sub: "ada", sid }))).toBe(true);
    expect(await accepted(tokens, tokens.sign({ sub: "eve", sid }))).toBe(false);
  });
});

interface Process {
  readonly sessions: Sessions;
  readonly tokens: SessionTokens;
}

/** A browser, with the cookies of another one at first. */
function browserOf(sessions: Sessions, others: ReadonlyMap<string, string> = new Map()) {
  const jar = new Map(others);
  async function request<Result>(handle: (session: Session) => Result | Promise<Result>, method = "GET") {
    const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join("; ");
    const exchange = await sessions.open(facts({ method, headers: cookie === "" ? {} : { cookie } }));
    const result = await handle(exchange.session);
    await exchange.commit();
    for (const { line } of exchange.responseChanges().cookies) {
      const [, name = "", value = ""] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
      if (/Max-Age=0/.test(line)) jar.delete(name);
      else jar.set(name, value);
    }
    exchange.end();
    return result;
  }
  return Object.assign(request, { jar });
}
