import { CsrfTokenError, minutes, SessionConflictError, SessionEndedError, seconds } from "coatcheck";
import { TestClock } from "coatcheck/testing";
import { describe, expect, it } from "vitest";
import type { SessionRecord } from "../../../src/session/record.ts";
import type { SessionId, SessionSecret } from "../../../src/session/token.ts";
import { RecentlySealed } from "../../../src/strategies/sealed/recent.ts";
import { sets } from "../../frameworks/support.ts";
import { type Client, outcomes, times } from "../../session/support.ts";
import { setUpRevocable, setUpSealed } from "./support.ts";

const POST = { method: "POST" };
const data = (client: Client) => client.request((session) => ({ ...session.data }), { passive: true });
const isNew = (client: Client) => client.request((session) => session.isNew, { passive: true });

/** A client with a session, and two requests of it that are at work at the same time. */
async function atOnce(settings: Parameters<typeof setUpSealed>[0] = {}) {
  const scene = setUpSealed(settings);
  const ada = scene.client();
  await ada.request(sets(1));
  const [one, two] = [await ada.open(POST), await ada.open(POST)];
  return { ...scene, ada, one, two };
}

describe("requests at the same time, in one process", () => {
  it("that change different keys lose nothing", async () => {
    const { ada, one, two } = await atOnce();
    one.session.data.n = 2;
    two.session.data.theme = "dark";
    await two.finish();
    await one.finish();
    expect(await data(ada)).toEqual({ n: 2, theme: "dark" });
  });

  it("that assign the same key: the last write wins, of that key alone", async () => {
    const { ada, one, two } = await atOnce();
    Object.assign(one.session.data, { n: 2, theme: "dark" });
    two.session.data.n = 3;
    await one.finish();
    await two.finish();
    expect(await data(ada)).toEqual({ n: 3, theme: "dark" });
  });

  it("that assign the same key are told of it where onConflict says so", async () => {
    const { ada, one, two } = await atOnce({ onConflict: "reject" });
    one.session.data.n = 2;
    two.session.data.n = 3;
    await one.finish();
    await expect(two.finish()).rejects.toBeInstanceOf(SessionConflictError);
    expect(await data(ada)).toEqual({ n: 2 });
  });

  it("RN-07: twenty parallel updates all count, and of twenty takers one gets the message", async () => {
    const { client } = setUpSealed();
    const ada = client();
    await ada.request((session) => {
      session.data.n = 0;
      session.flash("info", "welcome");
    });
    const add = () => ada.copy().request((session) => session.update("n", (count = 0) => count + 1), POST);
    await Promise.all(times(20, add));
    expect(await data(ada)).toEqual({ n: 20 });
    const taken = await Promise.all(times(20, () => ada.copy().request((session) => session.takeFlash(), POST)));
    expect(taken.flat()).toHaveLength(1);
  });

  it("an older answer that comes last is made good by the next request", async () => {
    const { ada, one, two } = await atOnce();
    one.session.data.n = 2;
    two.session.data.theme = "dark";
    await one.finish();
    const older = ada.token;
    await two.finish();
    ada.token = older;
    const writing = await ada.copy().open(POST);
    writing.session.data.n = 3;
    await writing.exchange.commit();
    expect(writing.exchange.needsCommit).toBe(false);
    await ada.request(({ data }) => expect(data).toEqual({ n: 3, theme: "dark" }));
    expect(ada.token).not.toBe(older);
    const { changes } = ada;
    await ada.request(() => {});
    expect(ada.changes).toBe(changes);
  });

  it("activity that is written down meanwhile brings no older state back", async () => {
    const { client, clock } = setUpSealed();
    const ada = client();
    await ada.request(sets(1));
    await clock.advance(minutes(2));
    const slow = await ada.open();
    await ada.request(sets(2), POST);
    await slow.finish();
    // To a process that knows only the cookie.
    expect(await data(setUpSealed({ clock }).client(ada.token))).toEqual({ n: 2 });
  });

  it("activity that is written down at the very moment of a write gives way to it", async () => {
    for (let lead = 0; lead < 30; lead++) {
      const { client, clock } = setUpSealed();
      const ada = client();
      await ada.request(sets(1));
      await clock.advance(minutes(2));
      const [slow, writing] = [await ada.open(), await ada.open(POST)];
      writing.session.data.n = 2;
      const written = writing.finish();
      for (let i = 0; i < lead; i++) await Promise.resolve();
      await Promise.all([written, slow.finish()]);
      expect(await data(setUpSealed({ clock }).client(ada.token))).toEqual({ n: 2 });
    }
  });

  it("a renewal and a write: both hold", async () => {
    const { client, clock } = setUpSealed({ lifetime: { renewEvery: minutes(15) } });
    const ada = client();
    await ada.request(sets(1));
    await clock.advance(minutes(16));
    const slow = await ada.open(POST);
    slow.session.data.theme = "dark";
    const before = await ada.request((session) => session.csrfToken(), { passive: true });
    await ada.request(sets(2), POST);
    await slow.finish();
    expect(await data(ada)).toEqual({ n: 2, theme: "dark" });
    // The secret is the new one.
    const check = ada.request((session) => session.requireCsrfToken(before), { passive: true });
    await expect(check).rejects.toBeInstanceOf(CsrfTokenError);
  });
});

describe("a request that ends", () => {
  it("RN-06: after the logout is refused and sends no cookie", async () => {
    const { ada, one, two } = await atOnce();
    one.session.data.n = 2;
    await two.session.logout();
    await two.finish();
    await expect(one.finish()).rejects.toBeInstanceOf(SessionEndedError);
    expect(ada.token).toBeUndefined();
  });

  it("RN-06: after the logout does not bring the session back when only its activity was due", async () => {
    const { client, clock } = setUpSealed();
    const ada = client();
    await ada.request((session) => session.login("ada"));
    await clock.advance(minutes(2));
    const slow = await ada.open();
    await ada.request((session) => session.logout());
    await slow.finish();
    expect(ada.token).toBeUndefined();
  });

  it("RN-01: after a login gets nothing of it when only its activity was due", async () => {
    const { client, clock } = setUpSealed();
    const ada = client();
    await ada.request(sets(1));
    await clock.advance(minutes(2));
    const before = ada.copy();
    const slow = await before.open();
    await ada.request((session) => session.login("ada"));
    await slow.finish();
    expect(before.changes).toBe(0);
  });

  it("RN-06: after the logout learns of it when it reloads", async () => {
    const { ada, one, two } = await atOnce();
    await two.session.logout();
    await two.finish();
    await expect(one.session.reload()).rejects.toMatchObject({ reason: "gone" });
    expect(ada.token).toBeUndefined();
  });

  it("RN-02: after a login of the same visitor is refused, and does not take the login away", async () => {
    const { ada, one, two } = await atOnce();
    one.session.data.n = 2;
    await two.session.login("ada");
    await two.finish();
    await expect(one.finish()).rejects.toBeInstanceOf(SessionEndedError);
    await ada.request((session) => expect([session.userId, session.data.n]).toEqual(["ada", 1]));
  });

  it("RN-01: a cookie from before the login does not open what came after it", async () => {
    const { client } = setUpSealed();
    const ada = client();
    await ada.request(sets(1));
    const before = ada.copy();
    await ada.request((session) => session.login("ada"));
    await ada.request(sets(2), POST);
    await before.request((session) => expect([session.userId, session.data.n]).toEqual([undefined, 1]), {
      passive: true,
    });
  });

  it("after another moved the session to the store adds to it there", async () => {
    const { client } = setUpRevocable({ spill: true });
    const ada = client();
    await ada.request(sets(1));
    const slow = await ada.open(POST);
    slow.session.data.theme = "dark";
    const large = "x".repeat(5000);
    await ada.request(({ data }) => void Object.assign(data, { anything: large }), POST);
    await slow.finish();
    expect(await data(ada)).toEqual({ n: 1, theme: "dark", anything: large });
    expect(ada.token).toMatch(/^[\w-]{22}\.[\w-]{43}$/);
  });
});

it("a cookie from before the session moved to the store shows what is there, and a write with it moves too", async () => {
  const { client, clock } = setUpRevocable({ spill: true });
  const ada = client();
  await ada.request(sets(1));
  await clock.advance(minutes(2));
  const [before, reader] = [ada.copy(), ada.copy()];
  const slow = await reader.open();
  await ada.request(({ data }) => void Object.assign(data, { anything: "x".repeat(5000) }), POST);
  await slow.finish();
  expect(reader.changes).toBe(0);
  await before.request(({ data }) => {
    expect(data.anything).toHaveLength(5000);
    data.n = 2;
  }, POST);
  expect(before.token).toBe(ada.token);
  expect((await data(ada)).n).toBe(2);
});

describe("the limits", () => {
  it("in two processes the last answer counts, whole", async () => {
    const clock = new TestClock();
    const [here, there] = [setUpSealed({ clock }), setUpSealed({ clock })];
    const ada = here.client();
    await ada.request(sets(1));
    const other = there.client(ada.token);
    await ada.request(sets(2), POST);
    await other.request((session) => void Object.assign(session.data, { theme: "dark" }), POST);
    ada.token = other.token;
    expect(await data(ada)).toEqual({ n: 1, theme: "dark" });
  });

  it("so it does ten seconds after the other answer", async () => {
    const { ada, one, two, clock } = await atOnce();
    one.session.data.n = 2;
    two.session.data.theme = "dark";
    await one.finish();
    await clock.advance(seconds(10));
    await two.finish();
    expect(await data(ada)).toEqual({ n: 1, theme: "dark" });
  });

  it("a cookie of another process that is at least as new is taken as it is", async () => {
    const clock = new TestClock();
    const [here, there] = [setUpSealed({ clock }), setUpSealed({ clock })];
    const ada = here.client();
    await ada.request(sets(1));
    await ada.request(sets(2), POST);
    const other = there.client(ada.token);
    await other.request(sets(3), POST);
    ada.token = other.token;
    expect(await data(ada)).toEqual({ n: 3 });
    await ada.request((session) => session.update("n", (count = 0) => count + 1), POST);
    expect(await data(ada)).toEqual({ n: 4 });
  });

  it("LO-01: without a store that keeps revocations a copy that was taken before the logout still reads, but never writes back", async () => {
    const { client } = setUpSealed();
    const ada = client();
    await ada.request((session) => session.login("ada"));
    const copy = ada.copy();
    await ada.request((session) => session.logout());
    expect(await isNew(copy)).toBe(false);
    const { errors } = await outcomes([copy.request(sets(1), POST)]);
    expect(errors).toEqual([expect.any(SessionEndedError)]);
  });

  it("remembers a thousand sessions at most, the latest, for ten seconds", async () => {
    const clock = new TestClock();
    const recent = new RecentlySealed(clock);
    const state = { record: {} as SessionRecord, secret: "" as SessionSecret };
    const id = (i: number) => String(i) as SessionId;
    for (let i = 0; i < 1001; i++) recent.keep(id(i), state);
    recent.keep(id(1), "ended");
    recent.keep(id(1001), state);
    expect([0, 1, 2, 3, 1001].map((i) => recent.get(id(i)))).toEqual([undefined, "ended", undefined, state, state]);
    await clock.advance(seconds(10) - 1);
    expect(recent.get(id(1001))).toBe(state);
    await clock.advance(1);
    expect(recent.get(id(1001))).toBeUndefined();
  });
});
