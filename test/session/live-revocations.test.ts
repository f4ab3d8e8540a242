import type { Revocation, RevocationSubject } from "coatcheck";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LiveRevocations } from "../../src/session/live-revocations.ts";
import type { SessionId } from "../../src/session/token.ts";

const instant = fc.integer({ min: 0, max: 8 });
const session = fc.constantFrom("s1", "s2", "s3") as fc.Arbitrary<SessionId>;
const user = fc.constantFrom("ada", "grace");
const until = fc.constant(100);
const optional = { requiredKeys: ["kind", "until"] as never[] };

const entry = fc.oneof(
  fc
    .record({ kind: fc.constant("session"), sessionId: session, before: instant, until }, optional)
    .filter((e) => "sessionId" in e),
  fc.record({ kind: fc.constant("user"), userId: user, before: instant, except: session, until }),
  fc.record({ kind: fc.constant("user"), userId: user, before: instant, until }),
  fc.record({ kind: fc.constant("everyone"), before: instant, until }),
) as fc.Arbitrary<Revocation>;

const subject: fc.Arbitrary<RevocationSubject> = fc.record({
  sessionId: fc.option(session, { nil: undefined }),
  userId: fc.option(user, { nil: undefined }),
  issuedAt: instant,
});

/** What an entry says, word by word. */
function revokes(revocation: Revocation, { sessionId, userId, issuedAt }: RevocationSubject): boolean {
  switch (revocation.kind) {
    case "session":
      return sessionId === revocation.sessionId && (revocation.before === undefined || issuedAt < revocation.before);
    case "user":
      return (
        userId === revocation.userId &&
        issuedAt < revocation.before &&
        (revocation.except === undefined || sessionId !== revocation.except)
      );
    case "everyone":
      return issuedAt < revocation.before;
  }
}

describe("LO-09: the live revocations", () => {
  it("say what all entries together say, in whatever order and however often they came", () => {
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 12 }), fc.array(subject, { minLength: 1 }), (entries, subjects) => {
        const live = new LiveRevocations();
        for (const each of [...entries, ...entries.toReversed()]) live.add(each);
        for (const each of subjects)
          expect(live.isRevoked(each)).toBe(entries.some((revocation) => revokes(revocation, each)));
      }),
      { numRuns: 2000 },
    );
  });

  it("hold one thing for each session and user, however many entries there were", () => {
    const live = new LiveRevocations();
    for (let before = 0; before < 1000; before++) {
      const except = `s${before % 7}` as SessionId;
      live.add({ kind: "user", userId: "ada", before, except, until: before });
      live.add({ kind: "session", sessionId: "s" as SessionId, before, until: before });
      live.add({ kind: "everyone", before, until: before });
    }
    expect(live.size).toBe(3);
    live.forgetExpired(998);
    expect(live.size).toBe(3);
    live.forgetExpired(999);
    expect(live.size).toBe(0);
  });

  it("take an instant that is no number for one long ago", () => {
    const live = new LiveRevocations();
    live.add({ kind: "user", userId: "ada", before: 1, until: 9 });
    expect(live.isRevoked({ userId: "ada", issuedAt: Number.NaN })).toBe(true);
    expect(live.isRevoked({ userId: "grace", issuedAt: Number.NaN })).toBe(false);
  });
});
