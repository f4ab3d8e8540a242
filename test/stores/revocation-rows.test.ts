import type { Revocation } from "coatcheck";
import { describe, expect, it } from "vitest";
import { type RevocationRow, readPage, revocationToText } from "../../src/stores/revocation-rows.ts";

const entry = (before: number): Revocation => ({ kind: "everyone", before, until: 9 });

/** A log of these rows, and who reads on in it. */
function reader(rows: RevocationRow[]) {
  let cursor: string | undefined;
  const rowsFrom = async (position: number, limit: number) =>
    rows.filter((row) => row.position >= position).slice(0, limit);
  return async () => {
    const page = await readPage(cursor, rowsFrom);
    cursor = page.cursor;
    return page.entries;
  };
}

const row = (position: number, id: string, of = entry(position)): RevocationRow => ({
  position,
  id,
  entry: revocationToText(of),
});

describe("LO-09: rows of revocations", () => {
  it("begin anew when the row that was read last has gone", async () => {
    const rows = [row(1, "a"), row(2, "b")];
    const read = reader(rows);
    expect(await read()).toEqual([entry(1), entry(2)]);
    expect(await read()).toEqual([]);
    rows.splice(1, 1, row(3, "c"));
    expect(await read()).toEqual([entry(1), entry(3)]);
    rows.splice(0);
    expect(await read()).toEqual([]);
    rows.push(row(1, "d"));
    expect(await read()).toEqual([entry(1)]);
  });

  it("begin anew when a server has taken over that gives the same positions to other entries", async () => {
    const rows = [row(1, "a"), row(2, "b"), row(3, "c")];
    const read = reader(rows);
    await read();
    rows.splice(1, 2, row(2, "d", entry(20)), row(3, "e", entry(30)), row(4, "f", entry(40)));
    expect(await read()).toEqual([entry(1), entry(20), entry(30), entry(40)]);
  });

  it("are passed over when they cannot be understood", async () => {
    const texts = [
      "",
      "{",
      "null",
      "[]",
      "{}",
      '{"kind":"other","until":9}',
      '{"kind":"everyone","before":1}',
      '{"kind":"everyone","before":"1","until":9}',
      '{"kind":"session","sessionId":"short","until":9}',
      '{"kind":"user","userId":5,"before":1,"until":9}',
      '{"kind":"user","userId":"ada","until":9}',
    ];
    const rows = texts.map((text, i) => ({ position: i + 1, id: String(i), entry: text }));
    const read = reader([...rows, row(99, "z")]);
    expect(await read()).toEqual([entry(99)]);
  });
});
