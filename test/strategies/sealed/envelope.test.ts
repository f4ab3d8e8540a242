import { afterEach, describe, expect, it, vi } from "vitest";
import { Envelopes } from "../../../src/strategies/sealed/envelope.ts";
import { KeyRing } from "../../../src/strategies/sealed/key-ring.ts";
import { key } from "./support.ts";

type Seal = (options?: { keys?: Uint8Array[]; purpose?: string; carrier?: string }) => Envelopes;

const onNode: Seal = ({ keys = [key(1)], purpose = "session", carrier = "cookie sid" } = {}) =>
  new Envelopes(new KeyRing(keys), purpose, carrier);

/** The same modules as a runtime gets them that has no modules of Node. */
async function onWebCrypto(): Promise<Seal> {
  vi.resetModules();
  const { getBuiltinModule } = process;
  try {
    (process as { getBuiltinModule: unknown }).getBuiltinModule = undefined;
    const modules = await import("../../../src/strategies/sealed/envelope.ts");
    const ring = await import("../../../src/strategies/sealed/key-ring.ts");
    return ({ keys = [key(1)], purpose = "session", carrier = "cookie sid" } = {}) =>
      new modules.Envelopes(new ring.KeyRing(keys), purpose, carrier);
  } finally {
    process.getBuiltinModule = getBuiltinModule;
  }
}

afterEach(() => vi.resetModules());

const plaintext = new TextEncoder().encode("what nobody may read or change");
const flipped = (text: string, bit: number): string => {
  const bytes = Buffer.from(text, "base64url");
  bytes[bit >> 3] = (bytes[bit >> 3] as number) ^ (1 << (bit & 7));
  return bytes.toString("base64url");
};

describe.each<[string, () => Promise<Seal>]>([
  ["node:crypto", async () => onNode],
  ["WebCrypto", onWebCrypto],
])("an envelope by %s", (_name, load) => {
  it("CK-17: gives back what was sealed, and shows nothing of it", async () => {
    const envelopes = (await load())();
    const text = await envelopes.seal(plaintext);
    expect(text).toMatch(/^[\w-]+$/);
    expect(Buffer.from(text, "base64url").includes(Buffer.from(plaintext))).toBe(false);
    expect(Buffer.from(text, "base64url")).toHaveLength(1 + 4 + 12 + plaintext.length + 16);
    expect(await envelopes.open(text)).toEqual(plaintext);
    expect(await envelopes.open(await envelopes.seal(new Uint8Array(0)))).toEqual(new Uint8Array(0));
  });

  it("CK-17: opens with no bit flipped", async () => {
    const envelopes = (await load())();
    const text = await envelopes.seal(plaintext);
    const bits = Buffer.from(text, "base64url").length * 8;
    for (let bit = 0; bit < bits; bit++) expect(await envelopes.open(flipped(text, bit))).toBeUndefined();
    expect(await envelopes.open(text)).toBeDefined();
  });

  it("CK-17: opens in no other spelling", async () => {
    const envelopes = (await load())();
    // The last of these characters carries four bits, the other two must be zero.
    const text = await envelopes.seal(plaintext.subarray(0, 28));
    expect(text.length % 4).toBe(2);
    for (const last of "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") {
      const spelled = text.slice(0, -1) + last;
      expect((await envelopes.open(spelled)) !== undefined).toBe(spelled === text);
    }
    for (const other of [`${text}=`, `${text}==`, ` ${text}`, `${text}\n`, text.replaceAll("_", "/"), `${text}A`])
      if (other !== text) expect(await envelopes.open(other)).toBeUndefined();
  });

  it("CK-17: cut short anywhere it opens nothing, and neither does what is no envelope", async () => {
    const envelopes = (await load())();
    const text = await envelopes.seal(plaintext);
    for (let length = 0; length < text.length; length++)
      expect(await envelopes.open(text.slice(0, length))).toBeUndefined();
    for (const other of ["", "A", "AQ", "\u0000", "%", "ä".repeat(80), "x".repeat(10_000)])
      expect(await envelopes.open(other)).toBeUndefined();
  });

  it("CK-17: of another version it opens nothing", async () => {
    const envelopes = (await load())();
    const bytes = Buffer.from(await envelopes.seal(plaintext), "base64url");
    for (let version = 0; version < 256; version++) {
      bytes[0] = version;
      expect((await envelopes.open(bytes.toString("base64url"))) !== undefined).toBe(version === 1);
    }
  });

  it("CK-17: for another purpose or cookie it opens nothing", async () => {
    const seal = await load();
    const text = await seal().seal(plaintext);
    for (const other of [
      { purpose: "snapshot" },
      { carrier: "cookie other" },
      { carrier: "header sid" },
      // The border between the two is bound in as well.
      { purpose: "sessio", carrier: "ncookie sid" },
    ])
      expect(await seal(other).open(text)).toBeUndefined();
  });

  it("CK-17: an old key opens, the new key seals, a retired key opens nothing", async () => {
    const seal = await load();
    const text = await seal({ keys: [key(1)] }).seal(plaintext);
    const both = seal({ keys: [key(2), key(1)] });
    expect(await both.open(text)).toEqual(plaintext);
    const renewed = await both.seal(plaintext);
    expect(await seal({ keys: [key(2)] }).open(renewed)).toEqual(plaintext);
    expect(await seal({ keys: [key(1)] }).open(renewed)).toBeUndefined();
    expect(await seal({ keys: [key(2)] }).open(text)).toBeUndefined();
  });

  it("CK-17: never uses a nonce twice", async () => {
    const envelopes = (await load())();
    const nonces = new Set<string>();
    for (let i = 0; i < 2000; i++)
      nonces.add(Buffer.from(await envelopes.seal(plaintext), "base64url").toString("hex", 5, 17));
    expect(nonces.size).toBe(2000);
  });
});

it("CK-17: what one runtime seals, the other opens", async () => {
  const other = (await onWebCrypto())();
  expect(await other.open(await onNode().seal(plaintext))).toEqual(plaintext);
  expect(await onNode().open(await other.seal(plaintext))).toEqual(plaintext);
});
