import { createSessions, minutes } from "coatcheck";
import { memoryStore } from "coatcheck/memory";
import { signedInCookie, TestClock } from "coatcheck/testing";
import { describe, expect, it } from "vitest";

describe("TestClock", () => {
  it("starts at the same instant every time, or where it is told to", () => {
    expect(new TestClock().now()).toBe(Date.UTC(2030, 0, 1));
    expect(new TestClock(5).now()).toBe(5);
  });

  it("stands still until it is advanced", async () => {
    const clock = new TestClock(0);
    let ran = false;
    clock.schedule(() => {
      ran = true;
    }, 0);
    await new Promise((resolve) => setImmediate(resolve));
    expect([clock.now(), ran, clock.pending]).toEqual([0, false, 1]);
    await clock.advance(0);
    expect([clock.now(), ran, clock.pending]).toEqual([0, true, 0]);
  });

  it("runs what becomes due in order of time, then of scheduling, each at its instant", async () => {
    const clock = new TestClock(1000);
    const log: string[] = [];
    const note = (name: string) => () => log.push(`${name} at ${clock.now()}`);
    clock.schedule(note("c"), 30);
    clock.schedule(note("a"), 10);
    clock.schedule(note("b"), 10);
    clock.schedule(note("never"), Number.POSITIVE_INFINITY);
    clock.schedule(note("past"), -5);
    await clock.advance(29);
    expect(log).toEqual(["past at 1000", "a at 1010", "b at 1010"]);
    expect(clock.now()).toBe(1029);
    await clock.advance(1);
    expect(log.at(-1)).toBe("c at 1030");
    expect(clock.pending).toBe(1);
  });

  it("runs what a callback, or what it resolves, schedules within the same stretch of time", async () => {
    const clock = new TestClock(0);
    const log: number[] = [];
    const poll = async () => {
      for (let i = 0; i < 3; i++) {
        await new Promise<void>((resolve) => clock.schedule(resolve, 10));
        for (let turn = 0; turn < 50; turn++) await undefined;
        log.push(clock.now());
      }
    };
    const polling = poll();
    await clock.advance(25);
    expect(log).toEqual([10, 20]);
    await clock.advance(5);
    expect(log).toEqual([10, 20, 30]);
    await polling;
  });

  it("does not run what was cancelled, even by a callback of the same instant", async () => {
    const clock = new TestClock(0);
    const log: string[] = [];
    const cancels: (() => void)[] = [];
    clock.schedule(() => cancels[1]?.(), 10);
    cancels.push(clock.schedule(() => log.push("first"), 5));
    cancels.push(clock.schedule(() => log.push("second"), 10));
    cancels[0]?.();
    cancels[0]?.();
    await clock.advance(20);
    expect([log, clock.pending]).toEqual([[], 0]);
  });

  it("stops at the instant of a callback that throws, and goes on when advanced again", async () => {
    const clock = new TestClock(0);
    clock.schedule(() => {
      throw new Error("from the callback");
    }, 10);
    clock.schedule(() => {}, 20);
    await expect(clock.advance(30)).rejects.toThrow("from the callback");
    expect([clock.now(), clock.pending]).toEqual([10, 1]);
    await clock.advance(30);
    expect([clock.now(), clock.pending]).toEqual([40, 0]);
  });

  it("does not go back", async () => {
    for (const length of [-1, Number.NaN]) await expect(new TestClock().advance(length)).rejects.toThrow(TypeError);
  });

  it("LT-01: lets a test end an idle session without waiting", async () => {
    const clock = new TestClock();
    const sessions = createSessions({ store: memoryStore(), clock });
    await signedInCookie(sessions, "ada");
    expect(await sessions.forUser("ada").list()).toHaveLength(1);
    await clock.advance(minutes(30));
    expect(await sessions.forUser("ada").list()).toHaveLength(0);
    await sessions.close();
  });
});
