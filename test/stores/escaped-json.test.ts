import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { escapeJson, escapeText, unescapeJson, unescapeText } from "../../src/stores/escaped-json.ts";

const forbidden = /[\0\p{Cs}]/u;

const strange = fc.oneof(
  fc.string({ unit: "binary" }),
  fc
    .array(
      fc.constantFrom("\0", "\u001a", "\ud800", "\udc00", "\\", '"', "u0000", "\\u001a0000", "0000", "d800", "é", "😀"),
    )
    .map((parts) => parts.join("")),
);

describe("SC-03: escaped JSON", () => {
  it("holds nothing that a database refuses, and comes back as it was", () => {
    fc.assert(
      fc.property(fc.jsonValue({ noUnicodeString: false }), strange, strange, (value, key, text) => {
        const json = JSON.stringify({ [key]: text, value });
        const escaped = escapeJson(json);
        expect(escaped).not.toMatch(forbidden);
        const keys = Object.keys(JSON.parse(escaped));
        expect(keys.some((each) => forbidden.test(each))).toBe(false);
        expect(JSON.parse(escaped)[keys.find((each) => each !== "value") ?? ""]).not.toMatch(forbidden);
        expect(unescapeJson(escaped)).toBe(json);
        // A server may write the JSON anew.
        expect(JSON.parse(unescapeJson(JSON.stringify(JSON.parse(escaped))))).toEqual(JSON.parse(json));
      }),
    );
  });

  it("leaves ordinary JSON as it is", () => {
    for (const json of ['{"a":"b\\n\\u0001\\u00e9"}', '"\\\\u0000"', "[]"]) expect(escapeJson(json)).toBe(json);
  });
});

describe("SC-03: escaped text", () => {
  it("holds nothing that a database refuses, and comes back as it was; different texts stay different", () => {
    fc.assert(
      fc.property(strange, strange, (one, other) => {
        expect(escapeText(one)).not.toMatch(forbidden);
        expect(unescapeText(escapeText(one))).toBe(one);
        if (one !== other) expect(escapeText(one)).not.toBe(escapeText(other));
      }),
    );
  });

  it("leaves ordinary text as it is", () => {
    for (const text of ["", '"a\\u0000"', "😀", "\\", "\n"]) expect(escapeText(text)).toBe(text);
  });
});
