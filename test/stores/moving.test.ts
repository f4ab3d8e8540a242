import { createSessions, hours, type SessionId } from "coatcheck";
import { memoryStore } from "coatcheck/memory";
import { storeConformance, TestClock } from "coatcheck/testing";
import { createTokens, generateKey, InvalidTokenError } from "coatcheck/tokens";
import { describe, expect, it, onTestFinished } from "vitest";
import { moveSession, movingStore } from "../../src/stores/moving.ts";
import { copyRevocations } from "../../src/stores/moving-revocations.ts";
import type { RevocationLog } from "../../src/stores/revocation-log.ts";
import type { SessionRecord, SessionStore } from "../../src/stores/store.ts";

const id = "AAAAAAAAAAAAAAAAAAAAAA" as SessionId;

function record(changes: Partial<SessionRecord> = {}): SessionRecord {
  return {
    id,
    secretHash: "a".repeat(43) as SessionRecord["secretHash"],
    version: 7,
    createdAt: 1000,
    seenAt: 2000,
    expiresAt: 9_000_000,
    userId: "ada",
    meta: { secretAt: 1000 },
    data: new Map([["cart", "[1]"]]),
    ...changes,
  };
}

/** The same store, with some verbs replaced. */
function withVerbs(store: SessionStore, verbs: Partial<SessionStore>): SessionStore {
  return new Proxy(store, {
    get(target, name) {
      const own = Reflect.get(target, name);
      return verbs[name as keyof SessionStore] ?? (typeof own === "function" ? own.bind(target) : own);
    },
  });
}

/** A store one of whose verbs waits until it is let through, so that a test decides what happens before it. */
function steppedStore(store: SessionStore, verb: "create" | "remove") {
  let letGo: () => void = () => {};
  let arrive: () => void = () => {};
  const gate = new Promise<void>((resolve) => {
    letGo = resolve;
  });
  const arrived = new Promise<void>((resolve) => {
    arrive = resolve;
  });
  const original = store[verb].bind(store) as (...args: unknown[]) => Promise<unknown>;
  const stepped = async (...args: unknown[]) => {
    arrive();
    await gate;
    return original(...args);
  };
  return { store: withVerbs(store, { [verb]: stepped }), arrived, letGo };
}

describe("movingStore", () => {
  describe("keeps the contract", () => {
    const cases = storeConformance({
      createStore() {
        const stores = { from: memoryStore(), to: memoryStore() };
        return { store: movingStore(stores), reopen: () => movingStore(stores) };
      },
      skip: { corrupt: "the stores behind it are memory", leases: "the stores behind it grant none" },
    });
    for (const { name, run } of cases.filter(({ skipped }) => skipped === undefined)) it(name, run);
  });

  it("finds a session that is still in the old store, and moves it", async () => {
    const from = memoryStore();
    const to = memoryStore();
    await from.create(record());
    const store = movingStore({ from, to });
    expect(await store.read(id)).toEqual(record());
    expect(await from.read(id)).toBeUndefined();
    expect(await to.read(id)).toEqual(record());
  });

  it("updates and touches a session that is still in the old store", async () => {
    const from = memoryStore();
    const to = memoryStore();
    await from.create(record());
    const store = movingStore({ from, to });
    expect(await store.update(id, 7, { set: new Map([["cart", "[2]"]]) })).toBe("updated");
    expect((await to.read(id))?.version).toBe(8);
    expect(await store.touch(id, 3000, 9_500_000)).toBe(true);
  });

  it("lists and removes the sessions of a user in both stores", async () => {
    const from = memoryStore();
    const to = memoryStore();
    const other = "BBBBBBBBBBBBBBBBBBBBBB" as SessionId;
    await from.create(record());
    await to.create(record({ id: other }));
    const store = movingStore({ from, to });
    expect((await store.listByUser("ada")).map((found) => found.id).sort()).toEqual([id, other]);
    expect(await store.removeByUser("ada", other)).toBe(1);
    expect((await store.listByUser("ada")).map((found) => found.id)).toEqual([other]);
  });

  it("RN-06: a logout between the two halves of a move is not undone: the copy comes first", async () => {
    const from = memoryStore();
    const to = memoryStore();
    await from.create(record());
    const slowRemove = steppedStore(from, "remove");
    const moving = moveSession({ from: slowRemove.store, to }, id);
    await slowRemove.arrived;
    await movingStore({ from, to }).remove(id);
    slowRemove.letGo();
    await moving;
    expect(await from.read(id)).toBeUndefined();
    expect(await to.read(id)).toBeUndefined();
  });

  it("RN-06: a logout between the two halves of a move is not undone: the copy comes last", async () => {
    const from = memoryStore();
    const to = memoryStore();
    await from.create(record());
    const slowCreate = steppedStore(to, "create");
    const moving = moveSession({ from, to: slowCreate.store }, id);
    await slowCreate.arrived;
    expect(await movingStore({ from, to }).remove(id)).toBe(true);
    slowCreate.letGo();
    await moving;
    const left = await to.read(id);
    expect(left?.secretHash).not.toBe(record().secretHash);
    expect(left?.userId).toBeUndefined();
    expect(left?.data.size).toBe(0);
  });

  it("RN-06: a logout after another process has moved the session is not undone by a late copy", async () => {
    const from = memoryStore();
    const to = memoryStore();
    await from.create(record());
    const slowCreate = steppedStore(to, "create");
    const moving = moveSession({ from, to: slowCreate.store }, id);
    await slowCreate.arrived;
    const elsewhere = movingStore({ from, to });
    expect(await elsewhere.read(id)).toEqual(record());
    expect(await elsewhere.remove(id)).toBe(true);
    slowCreate.letGo();
    expect(await moving).toBe("missing");
    expect(await to.read(id)).toBeUndefined();
  });

  it("a process that is late with its copy leaves the session to the one that moved it", async () => {
    const from = memoryStore();
    const to = memoryStore();
    await from.create(record());
    const slowRemove = steppedStore(from, "remove");
    const first = moveSession({ from: slowRemove.store, to }, id);
    await slowRemove.arrived;
    expect(await moveSession({ from, to }, id)).toBe("there");
    slowRemove.letGo();
    expect(await first).toBe("moved");
    expect(await from.read(id)).toBeUndefined();
    expect(await to.read(id)).toEqual(record());
  });

  it("a copy that a killed process left in the old store does not outlive a logout", async () => {
    const from = memoryStore();
    const to = memoryStore();
    await from.create(record());
    await to.create(record());
    const store = movingStore({ from, to });
    expect(await store.read(id)).toEqual(record());
    expect(await store.remove(id)).toBe(true);
    expect(await store.read(id)).toBeUndefined();
  });

  it("LO-09: what was revoked in the old store stays revoked, during the move and after it", async () => {
    const clock = new TestClock();
    const [from, to] = [memoryStore(), memoryStore()];
    const keys = generateKey("HS256");
    const applicationOver = (store: SessionStore) => {
      const sessions = createSessions({ store, clock });
      onTestFinished(() => sessions.close());
      return createTokens({ sessions, keys, issuer: "https://shop.example", audience: "https://shop.example" });
    };
    const old = applicationOver(from);
    const [before, during, spared] = [await old.login("ada"), await old.login("bob"), await old.login("eve")];
    await clock.advance(1000);
    await old.verify(before.accessToken);
    await old.logout(before.refreshToken);
    const moving = applicationOver(movingStore({ from, to }));
    await expect(moving.verify(before.accessToken)).rejects.toBeInstanceOf(InvalidTokenError);
    await moving.logout(during.refreshToken);
    await expect(moving.verify(during.accessToken)).rejects.toBeInstanceOf(InvalidTokenError);
    await moving.verify(spared.accessToken);

    const { revocations } = from;
    expect(await copyRevocations(revocations as RevocationLog, to.revocations as RevocationLog, clock.now())).toBe(1);
    const fresh = applicationOver(to);
    for (const { accessToken } of [before, during])
      await expect(fresh.verify(accessToken)).rejects.toBeInstanceOf(InvalidTokenError);
    await fresh.verify(spared.accessToken);
    await clock.advance(hours(1));
    expect(await copyRevocations(revocations as RevocationLog, to.revocations as RevocationLog, clock.now())).toBe(0);
  });

  it("refuses to move a store into itself", () => {
    const store = memoryStore();
    expect(() => movingStore({ from: store, to: store })).toThrow(TypeError);
  });

  it("moves a session once when ten requests ask for it at the same time", async () => {
    const from = memoryStore();
    const to = memoryStore();
    await from.create(record());
    const store = movingStore({ from, to });
    const found = await Promise.all(Array.from({ length: 10 }, () => store.read(id)));
    expect(found).toEqual(Array.from({ length: 10 }, () => record()));
    expect(await from.read(id)).toBeUndefined();
  });

  it("reports a failure of the new store instead of losing the session", async () => {
    const from = memoryStore();
    const to = withVerbs(memoryStore(), { create: () => Promise.reject(new Error("full")) });
    await from.create(record());
    await expect(movingStore({ from, to }).read(id)).rejects.toThrow("full");
    expect(await from.read(id)).toEqual(record());
  });

  it("keeps a visitor signed in across the move", async () => {
    const from = memoryStore();
    const to = memoryStore();
    const request = (cookie?: string) => ({
      method: "GET",
      header: (name: string) => (name === "cookie" ? cookie : undefined),
      secure: true,
      host: "shop.example",
      ip: undefined,
    });
    const before = await createSessions({ store: from }).open(request());
    await before.session.login("ada");
    const cookie = before.responseChanges().cookies[0]?.line.split(";")[0];
    const after = await createSessions({ store: movingStore({ from, to }) }).open(request(cookie));
    expect(after.session.userId).toBe("ada");
  });
});
