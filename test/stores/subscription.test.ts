import { seconds } from "coatcheck";
import { TestClock } from "coatcheck/testing";
import { describe, expect, it } from "vitest";
import { type Line, Subscription } from "../../src/stores/subscription.ts";

/** A server that lines are opened to, and what became of them. */
function server({ hangs = false } = {}) {
  const clock = new TestClock();
  const lines: { ended(): void; closed: boolean; pings: number }[] = [];
  const state = { refuses: false, silent: false, hangs, standing: 0, attempts: 0 };
  const never = new Promise<never>(() => {});
  const open = async (ended: () => void): Promise<Line> => {
    state.attempts++;
    if (state.hangs) await never;
    if (state.refuses) throw new Error("refused");
    const line = { ended, closed: false, pings: 0 };
    lines.push(line);
    return {
      async ping() {
        line.pings++;
        if (state.silent) await never;
      },
      close() {
        line.closed = true;
      },
    };
  };
  const subscription = new Subscription(open, () => state.standing++, clock);
  return { clock, lines, state, subscription };
}

describe("a subscription", () => {
  it("opens a line, says so, and asks from time to time whether it is alive", async () => {
    const { clock, lines, state } = server();
    await clock.advance(0);
    expect(state.standing).toBe(1);
    await clock.advance(seconds(60));
    expect(lines).toHaveLength(1);
    expect(lines[0]?.pings).toBe(12);
  });

  it("opens another when the line breaks", async () => {
    const { clock, lines, state } = server();
    await clock.advance(0);
    lines[0]?.ended();
    await clock.advance(seconds(1));
    expect(lines).toHaveLength(2);
    expect(lines[0]?.closed).toBe(true);
    expect(state.standing).toBe(2);
  });

  it("opens another when the line is silent", async () => {
    const { clock, lines, state } = server();
    await clock.advance(0);
    state.silent = true;
    await clock.advance(seconds(10) + 200);
    expect(lines).toHaveLength(2);
    expect(lines[0]?.closed).toBe(true);
  });

  it("tries again while the server refuses, less and less often, and then stands again", async () => {
    const { clock, state, lines } = server();
    await clock.advance(0);
    state.refuses = true;
    lines[0]?.ended();
    await clock.advance(seconds(60));
    expect(state.attempts).toBeGreaterThan(30);
    expect(state.attempts).toBeLessThan(40);
    state.refuses = false;
    await clock.advance(seconds(2));
    expect(state.standing).toBe(2);
  });

  it("does not wait for good for a line to open", async () => {
    const { clock, state } = server({ hangs: true });
    await clock.advance(seconds(5));
    expect(state.attempts).toBe(1);
    state.hangs = false;
    await clock.advance(200);
    expect(state.standing).toBe(1);
  });

  it("ends when told to, in whatever state, and leaves no timer behind", async () => {
    for (const during of ["standing", "pausing", "asking"] as const) {
      const { clock, lines, state, subscription } = server();
      await clock.advance(0);
      if (during === "pausing") lines[0]?.ended();
      if (during === "asking") {
        state.silent = true;
        await clock.advance(seconds(6));
      }
      const stopped = subscription.stop();
      await clock.advance(seconds(5));
      await stopped;
      expect(lines.every(({ closed }) => closed)).toBe(true);
      expect(clock.pending).toBe(0);
      await clock.advance(seconds(60));
      expect(lines).toHaveLength(1);
    }
  });
});
