import { CorruptRecordError } from "coatcheck";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { newSecret, newSessionId } from "../../../src/session/token.ts";
import { type BareRecord, recordFromBytes, recordToBytes } from "../../../src/strategies/sealed/record-bytes.ts";
import { anyText } from "../../session/support.ts";

const instant = fc.nat({ max: 4_102_444_800_000 });
const record: fc.Arbitrary<BareRecord> = fc
  .record({
    version: fc.nat(),
    createdAt: instant,
    seenAt: instant,
    expiresAt: instant,
    userId: fc.option(anyText(), { nil: undefined }),
    meta: fc.record(
      {
        secretAt: instant,
        authenticatedAt: instant,
        methods: fc.array(fc.string()),
        remember: fc.boolean(),
        flashes: fc.array(fc.record({ kind: anyText(), message: anyText() })),
      },
      { requiredKeys: ["secretAt"] },
    ),
    data: fc.array(fc.tuple(anyText(), anyText())).map((entries) => new Map(entries)),
  })
  .map(({ userId, ...rest }) => ({ id: newSessionId(), ...rest, ...(userId === undefined ? undefined : { userId }) }));

describe("a record as bytes", () => {
  it("comes back as it was, whatever is in it", () => {
    fc.assert(
      fc.property(record, (given) => {
        const credential = newSecret();
        expect(recordFromBytes(recordToBytes(given as BareRecord, credential))).toEqual({ record: given, credential });
      }),
      { numRuns: 300 },
    );
  });

  it("is small: a signed-in session with a small cart takes less than 160 bytes", () => {
    const now = 1_764_120_000_000;
    const times = { createdAt: now, seenAt: now + 60_000, expiresAt: now + 1_800_000 };
    const meta = { secretAt: now, authenticatedAt: now, methods: ["pwd"] };
    const data = new Map([["cart", '[{"productId":"1","quantity":2}]']]);
    const bytes = recordToBytes({ id: newSessionId(), version: 3, ...times, userId: "42", meta, data }, newSecret());
    expect(bytes.length).toBeLessThan(160);
  });

  it("is refused as a whole when a byte is missing or one too many", () => {
    const [given] = fc.sample(record, { numRuns: 1, seed: 5 }) as [BareRecord];
    const bytes = recordToBytes(given, newSecret());
    for (let length = 0; length < bytes.length; length++)
      expect(() => recordFromBytes(bytes.subarray(0, length))).toThrow(CorruptRecordError);
    expect(() => recordFromBytes(Uint8Array.from([...bytes, 0]))).toThrow(CorruptRecordError);
  });

  it("any other bytes are a CorruptRecordError and nothing else", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        try {
          recordFromBytes(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(CorruptRecordError);
        }
      }),
      { numRuns: 500 },
    );
  });
});
