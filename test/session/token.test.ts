import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  formatToken,
  hashSecret,
  newSecret,
  newSessionId,
  parseSessionId,
  parseToken,
  type SecretHash,
  sameHash,
} from "../../src/session/token.ts";
import { anyText, setUp } from "./support.ts";

const base64url = (length: number) =>
  fc
    .array(fc.constantFrom(..."ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"), {
      minLength: length,
      maxLength: length,
    })
    .map((characters) => characters.join(""));

describe("a session token", () => {
  it("is the id, a dot and the secret: 66 characters", () => {
    const [id, secret] = [newSessionId(), newSecret()];
    const text = formatToken({ id, secret });
    expect(text).toMatch(/^[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}$/);
    expect(parseToken(text)).toEqual({ id, secret });
    expect(Buffer.from(id, "base64url").length).toBe(16);
    expect(Buffer.from(secret, "base64url").length).toBe(32);
  });

  it("ID-01: a hundred thousand secrets are all different, and no bit of them is preferred", () => {
    const count = 100_000;
    const seen = new Set<string>();
    const ones = new Float64Array(256);
    for (let i = 0; i < count; i++) {
      const secret = newSecret();
      seen.add(secret);
      const bytes = Buffer.from(secret, "base64url");
      for (let bit = 0; bit < 256; bit++)
        ones[bit] = (ones[bit] as number) + (((bytes[bit >> 3] as number) >> (bit & 7)) & 1);
    }
    expect(seen.size).toBe(count);
    // Chi-square with 256 degrees of freedom: above 400 once in 10^7 runs.
    const chi = ones.reduce((sum, n) => sum + (n - count / 2) ** 2 / (count / 4), 0);
    expect(chi).toBeLessThan(400);
  });

  it("ID-05: nothing else is taken for one", () => {
    fc.assert(
      fc.property(fc.oneof(anyText(80), fc.string({ minLength: 60, maxLength: 70 })), (text) => {
        expect(parseToken(text)).toBeUndefined();
        expect(parseSessionId(text.slice(0, 22))).toSatisfy(
          (id: unknown) => id === undefined || /^[A-Za-z0-9_-]{22}$/.test(text.slice(0, 22)),
        );
      }),
      { numRuns: 2000 },
    );
    const good = formatToken({ id: newSessionId(), secret: newSecret() });
    for (const bad of [
      "",
      ` ${good}`,
      `${good} `,
      `${good}\n`,
      good.slice(1),
      `${good}A`,
      good.replace(".", "-"),
      good.replace(".", ".."),
      `${good.slice(0, 65)}\u0000`,
      `${good.slice(0, 65)}é`,
      `${good.slice(0, 65)}=`,
      `${good.slice(0, 65)}+`,
      `../../../../etc/passwd${good.slice(22)}`,
      "A".repeat(1_000_000),
    ])
      expect(parseToken(bad)).toBeUndefined();
    for (const odd of [undefined, null, 1, {}, [good.slice(0, 22)], "", good, `${good.slice(0, 21)}.`])
      expect(parseSessionId(odd)).toBeUndefined();
  });

  it("ID-05: what is none makes an anonymous request and never reaches the store", async () => {
    const { client, store, types } = setUp();
    await fc.assert(
      fc.asyncProperty(anyText(100), async (text) => {
        await client(text.replace(/[\s,]/g, "x") || "x").request((session) => expect(session.isNew).toBe(true));
      }),
      { numRuns: 500 },
    );
    expect(store.calls()).toBe(0);
    expect(new Set(types())).toEqual(new Set(["malformedToken"]));
  });

  it("ID-04: one that the server never issued is not adopted", async () => {
    await fc.assert(
      fc.asyncProperty(base64url(22), base64url(43), async (id, secret) => {
        const { client, stored, types } = setUp();
        const browser = client(`${id}.${secret}`);
        await browser.request((session) => {
          session.data.n = 1;
        });
        expect(browser.token).not.toContain(id);
        expect(browser.token).not.toContain(secret);
        expect(await stored(id)).toBeUndefined();
        expect(types()).toEqual(["unknownToken", "created"]);
      }),
      { numRuns: 20 },
    );
  });

  it("SC-01: hashes are 43 characters of SHA-256 and compare exactly", async () => {
    const secret = newSecret();
    const hash = await hashSecret(secret);
    expect(hash).toMatch(/^[A-Za-z0-9_-]{43}$/);
    expect(hash).not.toBe(secret);
    expect(sameHash(hash, await hashSecret(secret))).toBe(true);
    expect(sameHash(hash, await hashSecret(newSecret()))).toBe(false);
    expect(sameHash(hash, hash.slice(1) as SecretHash)).toBe(false);
    expect(sameHash(hash, "" as SecretHash)).toBe(false);
  });
});
