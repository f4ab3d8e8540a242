import { CorruptRecordError } from "coatcheck";
import { describe, expect, it } from "vitest";
import { recordOfRow, understoodRecords } from "../../src/stores/table-row.ts";

const row = {
  id: "Zr3l0c0v0u8cWm4nqk1y2A",
  secret_hash: "hash",
  version: "3",
  created_at: 1,
  seen_at: 2n,
  expires_at: "9007199254740991",
  user_id: null,
  meta: '{"secretAt":1}',
  texts: '{"a":"1"}',
};

describe("recordOfRow", () => {
  it("takes integers in any form that drivers give them", () => {
    expect(recordOfRow(row)).toEqual({
      id: row.id,
      secretHash: "hash",
      version: 3,
      createdAt: 1,
      seenAt: 2,
      expiresAt: Number.MAX_SAFE_INTEGER,
      meta: { secretAt: 1 },
      data: new Map([["a", "1"]]),
    });
  });

  it("SC-03: throws CorruptRecordError for whatever it cannot understand", () => {
    const spoiled = [
      { id: 1 },
      { secret_hash: null },
      { version: "x" },
      { version: 1.5 },
      { version: "9007199254740993" },
      { created_at: null },
      { seen_at: undefined },
      { expires_at: "" },
      { expires_at: {} },
      { user_id: 5 },
      { user_id: '"broken' },
      { meta: "null" },
      { meta: "[]" },
      { meta: "{}" },
      { meta: "{" },
      { meta: { secretAt: 1 } },
      { texts: '{"a":1}' },
      { texts: "[]" },
      { texts: "null" },
      { texts: "" },
      { lease_holder: "me", lease_until: "soon" },
    ];
    for (const change of spoiled) expect(() => recordOfRow({ ...row, ...change })).toThrow(CorruptRecordError);
  });
});

describe("understoodRecords", () => {
  it("leaves out corrupt rows, and nothing else", () => {
    expect(understoodRecords([row, { ...row, version: null }, row], recordOfRow)).toHaveLength(2);
    const broken = () => {
      throw new RangeError("a fault of the program");
    };
    expect(() => understoodRecords([row], broken)).toThrow(RangeError);
  });
});
