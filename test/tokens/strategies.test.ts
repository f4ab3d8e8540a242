import { createSessions, type Session, type Sessions, seconds } from "coatcheck";
import { memoryStore } from "coatcheck/memory";
import { sealed, snapshotCookie } from "coatcheck/sealed";
import { TestClock } from "coatcheck/testing";
import { createTokens, generateKey, type SessionTokens } from "coatcheck/tokens";
import { describe, expect, it } from "vitest";
import { facts } from "../frameworks/support.ts";
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
