import { createSessions, minutes, type SessionsOptions } from "coatcheck";
import { withSession } from "coatcheck/fetch";
import { memoryStore } from "coatcheck/memory";
import { TestClock } from "coatcheck/testing";
import { describe, expect, it } from "vitest";

describe("announceExpiry", () => {
  /** Answers with the `Session-Expires` header of a request to this path, with the cookie of the one before. */
  function asking(options: Partial<SessionsOptions<object>> = {}) {
    const clock = new TestClock();
    const sessions = createSessions({ store: memoryStore(), clock, announceExpiry: true, ...options });
    let cookie = "";
    const handle = withSession(sessions, async (request, session) => {
      if (request.url.endsWith("/login")) await session.login("ada");
      if (request.url.endsWith("/logout")) await session.logout();
      if (request.url.endsWith("/note")) Object.assign(session.data, { note: clock.now() });
      return new Response();
    });
    const ask = async (path: string) => {
      const response = await handle(new Request(`https://shop.test${path}`, { method: "POST", headers: { cookie } }));
      for (const line of response.headers.getSetCookie()) cookie = line.split(";")[0] as string;
      return response.headers.get("Session-Expires");
    };
    return { clock, ask };
  }

  it("says how many seconds a logged-in session has left, from its login on", async () => {
    const { clock, ask } = asking();
    expect(await ask("/note")).toBeNull();
    expect(await ask("/login")).toBe("idle=1800, absolute=43200");
    // Within a minute activity is not written down, so it does not put off the end either.
    await clock.advance(30_500);
    expect(await ask("/")).toBe("idle=1769, absolute=43169");
    await clock.advance(minutes(10));
    expect(await ask("/")).toBe("idle=1800, absolute=42569");
    await clock.advance(minutes(20));
    expect(await ask("/note")).toBe("idle=1800, absolute=41369");
    expect(await ask("/logout")).toBeNull();
    expect(await ask("/")).toBeNull();
  });

  it("names no idle limit that activity could not move", async () => {
    const { ask } = asking({ lifetime: "aal1" });
    expect(await ask("/login")).toBe("absolute=2592000");
  });

  it("is silent unless it is asked for", async () => {
    const { ask } = asking({ announceExpiry: false });
    expect(await ask("/login")).toBeNull();
  });
});
