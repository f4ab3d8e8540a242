import { createSessions } from "coatcheck";
import { memoryStore } from "coatcheck/memory";
import { withSession } from "coatcheck/node";
import { sealed, snapshotCookie } from "coatcheck/sealed";
import { TestClock, UnreliableStore } from "coatcheck/testing";
import { afterEach, expect, it } from "vitest";
import { http1, pathOf, type Served } from "../../frameworks/servers.ts";
import { KEYS } from "./support.ts";

type Jar = Readonly<Record<string, string>>;

const served: Served[] = [];
afterEach(async () => void (await Promise.all(served.splice(0).map((server) => server.close()))));

/** A small shop over HTTP. Each request answers who is logged in and with which role, with the cookies afterwards. */
async function shop(how: "sealed" | "hybrid") {
  const clock = new TestClock();
  const store = new UnreliableStore(memoryStore());
  const sessions = createSessions<{ role?: string }>({
    clock,
    store,
    ...(how === "sealed" ? { strategy: sealed({ keys: KEYS }) } : { cache: snapshotCookie({ keys: KEYS }) }),
  });
  const server = await http1(
    withSession(sessions, async (request, response, session) => {
      const [, action, user = ""] = pathOf(request.url).split("/");
      if (action === "login") await session.login(user);
      if (action === "role" && session.userId !== undefined) {
        session.data.role = user;
        await session.elevate();
      }
      if (action === "logout") await session.logout();
      if (action === "password") await sessions.forUser(user).revokeAll();
      response.end(JSON.stringify([session.userId, session.data.role]));
    }),
  );
  served.push(server);
  async function go(path: string, jar: Jar = {}): Promise<{ status: number; user?: string; role?: string; jar: Jar }> {
    const cookie = Object.entries(jar).map((pair) => pair.join("="));
    const headers = cookie.length === 0 ? {} : { cookie: cookie.join("; ") };
    const method = path === "/" ? "GET" : "POST";
    const { status, text, cookies } = await server.send(path, { method, headers }).whole;
    const after: Record<string, string> = { ...jar };
    for (const line of cookies) {
      const [, name = "", value = ""] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
      if (/Max-Age=0/.test(line)) delete after[name];
      else after[name] = value;
    }
    const [user, role] = status === 200 ? JSON.parse(text) : [];
    return { status, user: user ?? undefined, role: role ?? undefined, jar: after };
  }
  /** Logged in, and with a snapshot where there are any. */
  const login = async (user: string, jar?: Jar) => (await go("/", (await go(`/login/${user}`, jar)).jar)).jar;
  return { clock, store, go, login };
}

const isSnapshot = (name: string) => name.endsWith("snapshot");
const only = (jar: Jar, wanted: (name: string) => boolean) =>
  Object.fromEntries(Object.entries(jar).filter(([name]) => wanted(name)));

it("CK-17: the snapshot of one user beside the session of another: the session counts", async () => {
  const { go, login } = await shop("hybrid");
  const [ada, eve] = [await login("ada"), await login("eve")];
  expect(Object.keys(only(ada, isSnapshot))).toHaveLength(1);
  const mixed = { ...only(eve, (name) => !isSnapshot(name)), ...only(ada, isSnapshot) };
  expect((await go("/", mixed)).user).toBe("eve");
  expect((await go("/", only(ada, isSnapshot))).user).toBeUndefined();
});

it("LO-11: a snapshot is not worth anything after logout, change of role or change of password", async () => {
  const { go, login } = await shop("hybrid");
  for (const ending of ["/logout", "/role/clerk", "/password/ada"]) {
    const before = await login("ada");
    const { jar } = await go(ending, before);
    expect((await go("/", before)).user, ending).toBeUndefined();
    // The old snapshot beside the cookies that are there now.
    const mixed = await go("/", { ...jar, ...only(before, isSnapshot) });
    expect([mixed.user, mixed.role], ending).toEqual(
      ending.startsWith("/role") ? ["ada", "clerk"] : [undefined, undefined],
    );
  }
});

it("SC-06: with the log of revocations cut off a snapshot counts no more, and the store is asked", async () => {
  const { go, login, clock, store } = await shop("hybrid");
  const ada = await login("ada");
  store.fail("read");
  expect(await go("/", ada)).toMatchObject({ status: 200, user: "ada" });
  store.recover();
  store.fail("revocations.read");
  await clock.advance(6000);
  const reads = store.calls("read");
  expect((await go("/", ada)).user).toBe("ada");
  expect(store.calls("read")).toBe(reads + 1);
  store.fail("read");
  expect((await go("/", ada)).status).toBe(503);
});

it("LO-01: a sealed cookie is refused after the logout, at once and later", async () => {
  const { go, login, clock } = await shop("sealed");
  const ada = await login("ada");
  await go("/logout", ada);
  for (const later of [0, 10_000, 600_000]) {
    await clock.advance(later);
    expect((await go("/", ada)).user).toBeUndefined();
    expect((await go("/role/admin", ada)).user).toBeUndefined();
  }
});

it("RN-01: after another user's login in the same browser the sealed cookie of the first opens neither", async () => {
  const { go, login } = await shop("sealed");
  const ada = await login("ada");
  const eve = await login("eve", ada);
  expect((await go("/", eve)).user).toBe("eve");
  for (const path of ["/", "/role/admin", "/"]) expect((await go(path, ada)).user).toBeUndefined();
  const now = await go("/", eve);
  expect([now.user, now.role]).toEqual(["eve", undefined]);
});
