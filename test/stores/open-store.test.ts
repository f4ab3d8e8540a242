import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { applyPatch, openStore, patchData } from "coatcheck/stores";
import { afterAll, describe, expect, it } from "vitest";
import { newRecord } from "../../src/testing/conformance/scene.ts";

const root = mkdtempSync(join(tmpdir(), "coatcheck-open-store-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

describe("openStore", () => {
  it("opens a store in memory", async () => {
    const [one, other] = [await openStore("memory:"), await openStore("memory:")];
    const record = newRecord();
    await one.create(record);
    expect(await one.read(record.id)).toEqual(record);
    expect(await other.read(record.id)).toBeUndefined();
  });

  it("opens an SQLite file by path, whatever is in it, at the first use", async () => {
    for (const name of ["a.db", "with space & 100%.db", "?x=1#y.db"]) {
      const path = join(root, "folder", name);
      const record = newRecord();
      const store = await openStore(`sqlite:${path}`);
      expect(existsSync(path)).toBe(false);
      await store.create(record);
      expect(existsSync(path)).toBe(true);
      await store.close?.();
      const again = await openStore(`SQLite://${path}`);
      expect(await again.read(record.id)).toEqual(record);
      await again.close?.();
    }
  });

  it("opens a database in memory", async () => {
    const store = await openStore("sqlite::memory:");
    expect(await store.removeAll()).toBe(0);
    await store.close?.();
  });

  it("names the schemes that it knows, and nothing of the URL, when it knows no store for it", async () => {
    for (const url of [
      "",
      "sessions.db",
      "ada:hunter2@db",
      "oracle://ada:hunter2@db/x",
      "://ada:hunter2@db",
      "\nsqlite:x",
    ]) {
      const error = await openStore(url).catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(TypeError);
      expect((error as Error).message).toMatch(/memory:.*sqlite:/);
      expect((error as Error).message).not.toMatch(/hunter2|ada|oracle/);
    }
  });

  it("refuses URLs of a known scheme that name no store", async () => {
    for (const url of ["memory:x", "sqlite:", "sqlite://", "sqlite://hunter2/sessions.db"])
      await expect(openStore(url)).rejects.toThrow(expect.not.stringContaining("hunter2"));
    await expect(openStore("sqlite://host/sessions.db")).rejects.toThrow(TypeError);
  });

  it("comes with what a store is made of", () => {
    const record = newRecord({ data: new Map([["a", "1"]]) });
    expect(applyPatch(record, { unset: ["a"] })).toMatchObject({ version: 2, data: new Map() });
    expect(patchData(record.data, {})).toBe(record.data);
  });
});
