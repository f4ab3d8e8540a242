import { CsrfTokenError, SessionEndedError, seconds } from "coatcheck";
import { memoryStore } from "coatcheck/memory";
import { TestClock } from "coatcheck/testing";
import { describe, expect, it } from "vitest";
import { parseToken, type SessionId } from "../../../src/session/token.ts";
import { sets } from "../../frameworks/support.ts";
import { type Client, neverExpiring } from "../../session/support.ts";
import { type Scene, setUpRevocable, setUpSealed } from "./support.ts";

const userOf = (client: Client) => client.request((session) => session.userId, { passive: true });

/** A store that keeps no revocations. */
const silent = () => ({ ...neverExpiring(memoryStore()), revocations: undefined }) as never;

describe("two processes on one store", () => {
  it("LO-01: a slow request is refused after a logout in the other one, once the feed has told of it", async () => {
    const store = memoryStore();
    const clock = new TestClock();
    const [here, there] = [setUpRevocable({ clock, store }), setUpRevocable({ clock, store })];
    const ada = here.client();
    await ada.request((session) => session.login("ada"));
    const slow = await there.client(ada.token).open({ method: "POST" });
    slow.session.data.n = 2;
    await ada.request((session) => session.logout());
    await clock.advance(seconds(1));
    await expect(slow.finish()).rejects.toBeInstanceOf(SessionEndedError);
  });

  it("RN-01: a write after a login in the other one does not bring the secret from before the login back", async () => {
    const clock = new TestClock();
    const [here, there] = [setUpSealed({ clock }), setUpSealed({ clock })];
    const ada = here.client();
    await ada.request(sets(1));
    await ada.request(sets(2), { method: "POST" });
    const before = await ada.request((session) => session.csrfToken());
    const moved = there.client(ada.token);
    await moved.request((session) => session.login("ada"));
    const back = here.client(moved.token);
    const inForce = await back.request((session) => session.csrfToken());
    await back.request(sets(3), { method: "POST" });
    await back.request((session) => session.requireCsrfToken(inForce));
    const check = back.request((session) => session.requireCsrfToken(before));
    await expect(check).rejects.toBeInstanceOf(CsrfTokenError);
  });

  it("of two that outgrow one cookie at the same time, in each process one, both are kept", async () => {
    const [store, clock, large] = [memoryStore(), new TestClock(), "x".repeat(5000)];
    const [here, there] = [0, 1].map(() => setUpRevocable({ clock, store, spill: true })) as [Scene, Scene];
    const ada = here.client();
    await ada.request(sets(1));
    const one = await ada.open({ method: "POST" });
    const two = await there.client(ada.token).open({ method: "POST" });
    one.session.data.anything = large;
    two.session.data.cart = [large];
    await one.finish();
    await two.finish();
    expect(await ada.request(({ data }) => [data.n, data.anything, data.cart])).toEqual([1, large, [large]]);
  });
});

describe("spilled into a store that keeps no revocations", () => {
  async function spilled() {
    const scene = setUpSealed({ store: silent(), spill: true });
    const ada = scene.client();
    await ada.request((session) => session.login("ada"));
    const before = ada.copy();
    await ada.request(({ data }) => void Object.assign(data, { anything: "x".repeat(5000) }));
    return { ...scene, ada, before, id: parseToken(ada.token ?? "")?.id as SessionId };
  }

  it("LO-01: a logout with the cookie from before removes what is in the store", async () => {
    const { ada, before, clock } = await spilled();
    await before.request((session) => session.logout());
    await clock.advance(seconds(10));
    expect(await userOf(ada)).toBeUndefined();
  });

  it("a session that was removed there is gone: reloading tells, nothing is written, the old cookie does not revive it", async () => {
    const { ada, before, store, id } = await spilled();
    const [reading, writing, old] = [await ada.open(), await before.open(), await before.open({ method: "POST" })];
    await store?.remove(id, "ada");
    await expect(reading.session.reload()).rejects.toMatchObject({ reason: "gone" });
    writing.session.data.n = 2;
    await expect(writing.finish()).rejects.toBeInstanceOf(SessionEndedError);
    old.session.data.n = 2;
    await expect(old.finish()).rejects.toBeInstanceOf(SessionEndedError);
    expect(await store?.read(id)).toBeUndefined();
    expect(await userOf(ada)).toBeUndefined();
  });
});
