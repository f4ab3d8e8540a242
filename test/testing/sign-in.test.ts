import { createSessions, headerTransport, type RequestFacts } from "coatcheck";
import { memoryStore } from "coatcheck/memory";
import { signedInCookie } from "coatcheck/testing";
import { describe, expect, it } from "vitest";

/** A request with these headers. */
function request(url: string, headers: Record<string, string>): RequestFacts {
  const { protocol, host } = new URL(url);
  const values = new Map(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
  return { method: "GET", header: (name) => values.get(name), secure: protocol === "https:", host, ip: undefined };
}

describe("signedInCookie", () => {
  it("gives the cookie of a new session of the user", async () => {
    const sessions = createSessions({ store: memoryStore() });
    const { headers, sessionId } = await signedInCookie(sessions, "ada");
    expect(Object.keys(headers)).toEqual(["Cookie"]);
    expect(headers.Cookie).toMatch(/^__Host-Http-sid=[\w-]{22}\.[\w-]{43}$/);
    const { session } = await sessions.open(request("https://shop.example", headers));
    expect([session.id, session.userId, session.isNew]).toEqual([sessionId, "ada", false]);
    await sessions.close();
  });

  it("gives the cookie's other name for a server without TLS on this machine", async () => {
    const sessions = createSessions({ store: memoryStore() });
    const url = "http://127.0.0.1:3000";
    const { headers } = await signedInCookie(sessions, "ada", { url });
    const { session } = await sessions.open(request(url, headers));
    expect(session.userId).toBe("ada");
    await sessions.close();
  });

  it("fills the session with data and says how the user logged in", async () => {
    const sessions = createSessions<{ cart: string[]; theme?: string }>({
      store: memoryStore(),
      initial: { cart: [] },
      keepAtLogin: false,
    });
    const { headers } = await signedInCookie(sessions, "ada", {
      data: { cart: ["p1"] },
      methods: ["pwd", "otp"],
      remember: true,
    });
    const { session } = await sessions.open(request("https://shop.example", headers));
    expect(session.data.cart).toEqual(["p1"]);
    expect(session.methods).toEqual(["pwd", "otp"]);
    await sessions.close();
  });

  it("gives the header when the token travels in one", async () => {
    const bearer = createSessions({ store: memoryStore(), transport: headerTransport() });
    const first = await signedInCookie(bearer, "ada");
    expect(first.headers).toEqual({ Authorization: expect.stringMatching(/^Bearer [\w-]{22}\.[\w-]{43}$/) });
    expect((await bearer.open(request("https://api.example", first.headers))).session.id).toBe(first.sessionId);

    const named = createSessions({ store: memoryStore(), transport: headerTransport({ request: "X-Session" }) });
    const second = await signedInCookie(named, "ada", { header: "X-Session" });
    expect((await named.open(request("https://api.example", second.headers))).session.id).toBe(second.sessionId);
    await Promise.all([bearer.close(), named.close()]);
  });

  it("makes a session of its own each time", async () => {
    const sessions = createSessions({ store: memoryStore() });
    await Promise.all([signedInCookie(sessions, "ada"), signedInCookie(sessions, "ada")]);
    expect(await sessions.forUser("ada").list()).toHaveLength(2);
    await sessions.close();
  });

  it("rejects when the login is refused", async () => {
    const sessions = createSessions({ store: memoryStore(), sessionsPerUser: { max: 1, atLimit: "reject" } });
    await signedInCookie(sessions, "ada");
    await expect(signedInCookie(sessions, "ada")).rejects.toMatchObject({ code: "session_limit_reached" });
    await sessions.close();
  });
});
