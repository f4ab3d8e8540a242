import { createSessions, type Session, type Sessions } from "coatcheck";
import { memoryStore } from "coatcheck/memory";
import { sealed, snapshotCookie } from "coatcheck/sealed";
import { TestClock } from "coatcheck/testing";
import { createTokens, generateKey } from "coatcheck/tokens";
import { expect, it } from "vitest";
import { checkCsrfToken } from "../../src/csrf/token.ts";
import type { SessionId, SessionSecret } from "../../src/session/token.ts";
import { facts } from "../frameworks/support.ts";
import { KEYS } from "../strategies/sealed/support.ts";
import { AUDIENCE, ISSUER } from "./support.ts";

const SESSION = "__Host-Http-sid";

it("JW-11, CK-17: whatever one user holds, each is good in its own place and nowhere else", async () => {
  const clock = new TestClock();
  // One store, and the same keys wherever the configuration lets one do so.
  const store = memoryStore();
  const hybrid = createSessions({ clock, store, cache: snapshotCookie({ keys: KEYS }) });
  const inClient = createSessions({ clock, store, strategy: sealed({ keys: KEYS, spill: true }) });
  const tokens = createTokens({ sessions: hybrid, keys: generateKey("HS256"), issuer: ISSUER, audience: AUDIENCE });

  const stored = await visit(hybrid, {}, (session) => session.login("ada"), "POST");
  const session = stored.get(SESSION) ?? "";
  let access = "";
  let csrf = "";
  const copied = await visit(hybrid, { [SESSION]: session }, async (of) => {
    access = tokens.issue(of).accessToken;
    csrf = await of.csrfToken();
  });
  const [snapshotName = "", snapshot = ""] = [...copied].find(([name]) => name.includes("snapshot")) ?? [];
  const sealedSession = (await visit(inClient, {}, (of) => of.login("ada"), "POST")).get(SESSION) ?? "";
  const { refreshToken: refresh } = await tokens.login("ada");
  const [id = "", secret = ""] = session.split(".");

  const held: Record<string, string> = {
    access,
    csrf,
    refresh,
    "refresh without its family": refresh.slice(0, 66),
    sealed: sealedSession,
    session,
    snapshot,
  };
  const isUser = async (sessions: Sessions, cookies: Record<string, string>) => {
    let userId: string | undefined;
    await visit(sessions, cookies, (of) => {
      userId = of.userId;
    });
    return userId === "ada";
  };
  const places: Record<string, (text: string) => Promise<boolean>> = {
    access: (text) => settles(tokens.verify(text)),
    csrf: (text) => checkCsrfToken(id as SessionId, secret as SessionSecret, text),
    // Beside another secret, so that only the snapshot could tell who it is.
    "a snapshot alone": (text) => isUser(hybrid, { [SESSION]: `${id}.${"A".repeat(43)}`, [snapshotName]: text }),
    "sealed session cookie": (text) => isUser(inClient, { [SESSION]: text }),
    "session cookie": (text) => isUser(hybrid, { [SESSION]: text }),
    // Last, because a refresh token is used up by it.
    refresh: (text) => settles(tokens.refresh(text)),
  };
  const good: string[] = [];
  for (const [place, accepts] of Object.entries(places))
    for (const [kind, text] of Object.entries(held)) {
      expect(text, kind).not.toBe("");
      if (await accepts(text)) good.push(`${kind} -> ${place}`);
    }
  expect(good).toEqual([
    "access -> access",
    "csrf -> csrf",
    "sealed -> sealed session cookie",
    // The store that sealed sessions spill into is that of the others here, and their token the same.
    "session -> sealed session cookie",
    "session -> session cookie",
    "refresh -> refresh",
  ]);
});

/** A request with these cookies; the cookies of its response. */
async function visit(
  sessions: Sessions,
  cookies: Record<string, string>,
  handle: (session: Session) => unknown,
  method = "GET",
): Promise<Map<string, string>> {
  const cookie = Object.entries(cookies)
    .map(([name, value]) => `${name}=${value}`)
    .join("; ");
  const exchange = await sessions.open(facts({ method, headers: cookie === "" ? {} : { cookie } }));
  await handle(exchange.session);
  if (exchange.needsCommit) await exchange.commit();
  const set = new Map<string, string>();
  for (const { line } of exchange.responseChanges().cookies) {
    const [, name = "", value = ""] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
    set.set(name, value);
  }
  exchange.end();
  return set;
}

const settles = (attempt: Promise<unknown>): Promise<boolean> =>
  attempt.then(
    () => true,
    () => false,
  );
