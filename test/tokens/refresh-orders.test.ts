import { type Duration, minutes, seconds } from "coatcheck";
import { generateKey, type TokenAnswer } from "coatcheck/tokens";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { times } from "../session/support.ts";
import { accepted, idOf, refused, setUp } from "./session-support.ts";

/** Shorter than in life, since the clean-up of days takes its time. */
const IDLE = minutes(4);
const ABSOLUTE = minutes(13);

/** What somebody does with the tokens of one family. `age`: how many tokens ago the one was issued that they bring. */
type Step =
  | { readonly do: "refresh" | "logout"; readonly age: number }
  | { readonly do: "wait"; readonly length: Duration }
  | { readonly do: "revokeAll" };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant("refresh" as const), age: fc.constantFrom(0, 0, 0, 0, 1, 1, 2, 3) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("wait" as const),
      length: fc.constantFrom(1, 4999, 5000, 5001, seconds(30), IDLE / 2, IDLE - 1, IDLE),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("logout" as const), age: fc.nat({ max: 2 }) }) },
  { weight: 1, arbitrary: fc.constant({ do: "revokeAll" as const }) },
);

type Answer = "refused" | "another" | "the same again";

/** What has to happen, without any of the library's ways. */
class Reference {
  readonly #grace: Duration;
  #now = 0;
  #ended = false;
  #usedAt = 0;
  newest = 0;
  readonly reuses: string[] = [];

  constructor(grace: Duration) {
    this.#grace = grace;
  }

  get alive(): boolean {
    return !this.#ended && this.#now < this.#usedAt + IDLE && this.#now < ABSOLUTE;
  }

  wait(length: Duration): void {
    this.#now += length;
  }

  end(): void {
    this.#ended = true;
  }

  refresh(index: number): Answer {
    const answer = this.#answer(index);
    if (answer === "another") {
      this.newest++;
      this.#usedAt = this.#now;
    }
    return answer;
  }

  logout(index: number): void {
    this.#answer(index);
    if (this.alive) this.end();
  }

  #answer(index: number): Answer {
    if (!this.alive) return "refused";
    if (index === this.newest) return "another";
    if (index === this.newest - 1 && this.#now < this.#usedAt + this.#grace) return "the same again";
    this.end();
    this.reuses.push(index === this.newest - 1 ? "previous" : "older");
    return "refused";
  }
}

describe("refresh tokens in any order of uses", () => {
  for (const refreshGrace of [0, seconds(5)])
    it(`RT-02, RT-04, RT-05, RT-07: as the rules say, with a grace of ${refreshGrace} ms`, {
      timeout: 120_000,
    }, async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 40 }), async (steps) => {
          const { tokens, sessions, clock, reasons } = setUp({
            refreshGrace,
            sessions: { lifetime: { refresh: { idle: IDLE, absolute: ABSOLUTE } } },
          });
          const reference = new Reference(refreshGrace);
          const issued: TokenAnswer[] = [await tokens.login("ada")];
          const presented = (age: number) => {
            const index = Math.max(0, reference.newest - age);
            return { index, token: (issued[index] as TokenAnswer).refreshToken };
          };
          for (const step of steps) {
            switch (step.do) {
              case "wait":
                reference.wait(step.length);
                await clock.advance(step.length);
                break;
              case "revokeAll":
                reference.end();
                await clock.advance(1);
                reference.wait(1);
                await sessions.forUser("ada").revokeAll();
                break;
              case "logout": {
                const { index, token } = presented(step.age);
                reference.logout(index);
                await tokens.logout(token);
                break;
              }
              case "refresh": {
                const { index, token } = presented(step.age);
                const expected = reference.refresh(index);
                if (expected === "refused") {
                  await refused(tokens.refresh(token));
                  break;
                }
                const answer = await tokens.refresh(token);
                if (expected === "another") issued.push(answer);
                expect(answer.refreshToken).toBe(issued.at(-1)?.refreshToken);
                expect(await accepted(tokens, answer.accessToken)).toBe(true);
                break;
              }
              default:
                step satisfies never;
            }
            expect((await sessions.forUser("ada").list()).length).toBe(reference.alive ? 1 : 0);
          }
          expect(reasons("refreshReused").map((reason) => (reason === "in-grace" ? "older" : reason))).toEqual(
            reference.reuses,
          );
          // Whatever happened: one token at most goes on, the one that was issued last.
          const newest = new Set(issued.map(({ refreshToken }) => refreshToken)).size - 1;
          expect(newest).toBe(reference.newest);
          expect(new Set(issued.map(({ refreshToken }) => idOf(refreshToken))).size).toBe(1);
        }),
        { numRuns: 100 },
      );
    });
});

/** The memory store answers so fast that nothing else would get its turn. */
const otherWork = () => new Promise((resolve) => setImmediate(resolve));

describe("keys that rotate under load", () => {
  it("JW-15: no refresh and no verification fails while keys are added, promoted and retired", async () => {
    const { tokens, device, clock } = setUp();
    const devices = await Promise.all(times(20, async (i) => device(await tokens.login(`user-${i}`))));
    let rotating = true;
    const load = devices.map(async (owner) => {
      let count = 0;
      while (rotating || count < 5) {
        const { accessToken } = await owner.refresh();
        expect((await tokens.verify(accessToken)).sid).toBe(idOf(owner.token));
        count++;
        await otherWork();
      }
      return count;
    });
    for (let i = 0; i < 10; i++) {
      const before = devices.map(({ answer }) => answer.accessToken);
      const old = tokens.keys.signing.kid;
      const kid = tokens.keys.add(generateKey("HS256"));
      tokens.keys.promote(kid);
      tokens.keys.retire(old);
      await otherWork();
      for (const accessToken of before) expect(await accepted(tokens, accessToken)).toBe(true);
      await clock.advance(1000);
    }
    rotating = false;
    const counts = await Promise.all(load);
    expect(Math.min(...counts)).toBeGreaterThanOrEqual(5);
  });
});
