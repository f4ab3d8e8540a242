import { minutes, type Revocation, StoreUnavailableError, seconds } from "coatcheck";
import { memoryStore } from "coatcheck/memory";
import type { RevocationLog } from "coatcheck/stores";
import { createTokens, generateKey } from "coatcheck/tokens";
import { describe, expect, it } from "vitest";
import type { StoreVerb } from "../../src/testing/unreliable-store.ts";
import { idOf, opens, type Settings, setUp } from "./support.ts";

const lifetime = minutes(10);
const post = { method: "POST" };

/** Sessions whose endings are written down, a visitor who is logged in as ada, and another process that follows the log. */
async function ada(settings: Settings = {}) {
  const store = memoryStore();
  const here = setUp({ store, revocation: { lifetime }, ...settings });
  const there = setUp({ store, clock: here.clock });
  const feed = there.sessions.revocationFeed(lifetime);
  feed.start();
  const client = here.client();
  await client.request((session) => session.login("ada"), post);
  await here.clock.advance(seconds(1));
  const id = idOf(client.token);
  const log = store.revocations as RevocationLog;
  return {
    ...here,
    feed,
    log,
    client,
    newClient: here.client,
    id,
    entries: async (): Promise<readonly Revocation[]> => (await log.read(undefined)).entries,
    /** A copy of the session, such as an access token, as it was given out at some time. */
    copy: (issuedAt = here.clock.now()) => ({ sessionId: id, userId: "ada", issuedAt }),
  };
}

type Ada = Awaited<ReturnType<typeof ada>>;

interface Ending {
  readonly name: string;
  readonly settings?: Settings;
  /** What of the store takes the session, or its token, away. */
  readonly verb: StoreVerb;
  end(scene: Ada): Promise<unknown>;
  /** Whether the session lives on under another secret. */
  readonly rotates?: true;
}

const ENDINGS: readonly Ending[] = [
  { name: "logout", verb: "remove", end: ({ client }) => client.request((session) => session.logout(), post) },
  { name: "destroy", verb: "remove", end: ({ client }) => client.request((session) => session.destroy(), post) },
  { name: "revoke", verb: "remove", end: ({ sessions, id }) => sessions.forUser("ada").revoke(id) },
  { name: "revokeAll", verb: "removeByUser", end: ({ sessions }) => sessions.forUser("ada").revokeAll() },
  { name: "revokeEveryone", verb: "removeAll", end: ({ sessions }) => sessions.revokeEveryone() },
  {
    name: "eviction by the limit",
    settings: { sessionsPerUser: { max: 1, atLimit: "evict-oldest" } },
    verb: "remove",
    end: ({ newClient }) => newClient().request((session) => session.login("ada"), post),
  },
  {
    name: "a login as somebody else",
    verb: "remove",
    end: ({ client }) => client.request((session) => session.login("grace"), post),
  },
  {
    name: "a login again",
    verb: "update",
    end: ({ client }) => client.request((session) => session.login("ada"), post),
    rotates: true,
  },
  {
    name: "elevation",
    verb: "update",
    end: ({ client }) => client.request((session) => session.elevate(), post),
    rotates: true,
  },
  {
    name: "a renewal on request",
    verb: "update",
    end: ({ client }) => client.request((session) => session.renew(), post),
    rotates: true,
  },
];

describe.each(ENDINGS)("LO-09: $name", ({ settings, verb, end, rotates }) => {
  it("is known to other processes before it takes effect", async () => {
    const scene = await ada(settings);
    const { feed, store, clock, client } = scene;
    const { token } = client;
    const issued = scene.copy();
    await clock.advance(1);
    expect(feed.isRevoked(issued)).toBe(false);
    const hold = store.hold(verb);
    const ending = end(scene);
    await hold.reached;
    await clock.advance(0);
    expect(feed.isRevoked(issued)).toBe(true);
    expect((await scene.stored(scene.id))?.version).toBe(1);
    hold.release();
    await ending;
    await clock.advance(0);
    expect(feed.isRevoked(issued)).toBe(true);
    expect(await opens(scene.sessions, token)).toBe(false);
  });

  it("fails when that cannot be written down, and then nothing has changed", async () => {
    const scene = await ada(settings);
    const { token } = scene.client;
    const before = await scene.stored(scene.id);
    scene.store.fail("revocations.append");
    await expect(end(scene)).rejects.toThrow(StoreUnavailableError);
    expect(await scene.stored(scene.id)).toEqual(before);
    expect(await opens(scene.sessions, token)).toBe(true);
    expect(scene.feed.isRevoked(scene.copy())).toBe(false);
  });

  it(rotates ? "spares what is given out from then on" : "spares nothing that belongs to it", async () => {
    const scene = await ada(settings);
    await scene.clock.advance(1);
    await end(scene);
    await scene.clock.advance(0);
    expect(scene.feed.isRevoked(scene.copy(scene.clock.now() - 1))).toBe(true);
    if (rotates) expect(scene.feed.isRevoked(scene.copy())).toBe(false);
    for (const { until } of await scene.entries()) expect(until).toBe(scene.clock.now() + lifetime);
  });
});

describe("LO-09: an access token", () => {
  it("is refused by every process once its session has ended, and the next one of the user is not", async () => {
    const { feed, clock, client, id, newClient } = await ada();
    const tokens = createTokens({
      issuer: "https://shop.example",
      audience: "https://api.example",
      keys: generateKey("HS256"),
      clock,
      revocation: {
        isRevoked: ({ sid, sub, issuedAt }) => feed.check({ sessionId: sid, userId: sub, issuedAt }),
      },
    });
    const token = tokens.sign({ sub: "ada", sid: id });
    expect(await tokens.verify(token)).toMatchObject({ sid: id });
    await client.request((session) => session.logout(), post);
    await clock.advance(0);
    await expect(tokens.verify(token)).rejects.toMatchObject({ code: "token_invalid" });
    const next = newClient();
    await next.request((session) => session.login("ada"), post);
    expect(await tokens.verify(tokens.sign({ sub: "ada", sid: idOf(next.token) }))).toMatchObject({ sub: "ada" });
  });
});

describe("LO-09: revocations are written", () => {
  it("of a session that ended for all times, so that a request on its way gives out nothing that lives", async () => {
    const { client, feed, copy, clock } = await ada();
    await client.request((session) => session.logout(), post);
    await clock.advance(seconds(1));
    expect(feed.isRevoked(copy())).toBe(true);
  });

  it("CC-02: of all sessions of a user but the one that is spared", async () => {
    const { sessions, feed, copy, id, clock, newClient } = await ada();
    const other = newClient();
    await other.request((session) => session.login("ada"), post);
    await clock.advance(1);
    await sessions.forUser("ada").revokeAll({ except: id });
    const issuedAt = clock.now() - 1;
    await clock.advance(0);
    expect(feed.isRevoked(copy(issuedAt))).toBe(false);
    expect(feed.isRevoked({ ...copy(issuedAt), sessionId: idOf(other.token) })).toBe(true);
    expect(feed.isRevoked({ ...copy(issuedAt), userId: "grace", sessionId: "other" })).toBe(false);
  });

  it("of what a session gives out while all of its user's are being removed", async () => {
    const { sessions, feed, copy, store, clock } = await ada();
    const hold = store.hold("removeByUser");
    const revoking = sessions.forUser("ada").revokeAll();
    await hold.reached;
    await clock.advance(5);
    const between = copy();
    await clock.advance(5);
    hold.release();
    await revoking;
    await clock.advance(0);
    expect(feed.isRevoked(between)).toBe(true);
  });

  it("so that whoever logs in right afterwards is not revoked", async () => {
    const { sessions, feed, clock, newClient, stored } = await ada();
    await sessions.forUser("ada").revokeAll();
    await sessions.revokeEveryone();
    const client = newClient();
    await client.request((session) => session.login("ada"), post);
    await clock.advance(0);
    const issuedAt = (await stored(idOf(client.token)))?.meta.secretAt as number;
    expect(feed.isRevoked({ sessionId: idOf(client.token), userId: "ada", issuedAt })).toBe(false);
    expect(feed.isRevoked({ sessionId: idOf(client.token), userId: "ada", issuedAt: issuedAt - 1 })).toBe(true);
  });

  it("so that nothing survives that was given out in the very millisecond of the revocation", async () => {
    for (const end of ["revokeAll", "revokeEveryone"] as const) {
      const { sessions, feed, copy, clock } = await ada();
      const issued = copy();
      await (end === "revokeAll" ? sessions.forUser("ada").revokeAll() : sessions.revokeEveryone());
      await clock.advance(0);
      expect(feed.isRevoked(issued)).toBe(true);
    }
  });

  it("RN-01: so that a copy under the old secret dies although the new one is of the same millisecond", async () => {
    const { client, feed, id, clock, stored } = await ada();
    const secretAt = async () => (await stored(id))?.meta.secretAt as number;
    await client.request((session) => session.renew(), post);
    const first = await secretAt();
    await client.request((session) => session.renew(), post);
    await clock.advance(0);
    expect(feed.isRevoked({ sessionId: id, userId: "ada", issuedAt: first })).toBe(true);
    expect(feed.isRevoked({ sessionId: id, userId: "ada", issuedAt: await secretAt() })).toBe(false);
  });

  it("CC-04: not of a session that belongs to another user", async () => {
    const { sessions, id, entries, feed, copy } = await ada();
    expect(await sessions.forUser("eve").revoke(id)).toBe(false);
    expect(await entries()).toEqual([]);
    expect(feed.isRevoked(copy())).toBe(false);
  });

  it("not for the periodic renewal, whose old secret is in nobody else's hands", async () => {
    const { client, clock, entries } = await ada({ lifetime: { renewEvery: minutes(1) } });
    const { token } = client;
    await clock.advance(minutes(1));
    await client.request(() => {});
    expect(client.token).not.toBe(token);
    expect(await entries()).toEqual([]);
  });

  it("for as long as the longest of what needs them", async () => {
    const { sessions, clock, entries } = await ada();
    sessions.revocationFeed(minutes(1));
    sessions.revocationFeed(minutes(90));
    await sessions.revokeEveryone();
    expect((await entries()).map(({ until }) => until - clock.now())).toEqual([minutes(90), minutes(90)]);
  });

  it("not at all, and nothing is read, when nobody needs them", async () => {
    for (const { end, settings } of ENDINGS) {
      const scene = await ada({ ...settings, revocation: {} });
      await end(scene);
      await scene.clock.advance(seconds(10));
      for (const verb of ["append", "read", "removeExpired"] as const)
        expect(scene.store.calls(`revocations.${verb}`)).toBe(0);
      expect(await scene.entries()).toEqual([]);
    }
  });
});
