import * as crypto from "node:crypto";
import { beforeEach, expect, test, vi } from "vitest";
import { hashPassword, verifyPassword } from "../../playground/src/passwords.ts";

vi.mock("node:crypto", async (original) => {
  const real = await original<typeof crypto>();
  return { ...real, scrypt: vi.fn(real.scrypt) };
});
const scrypt = vi.mocked(crypto.scrypt);
beforeEach(() => {
  scrypt.mockClear();
});

test("one password has a different hash each time, and each is verified", async () => {
  const [one, two] = await Promise.all([hashPassword("correct horse"), hashPassword("correct horse")]);
  expect(one).not.toBe(two);
  expect(one).toMatch(/^scrypt\$16384\$8\$1\$[\w-]{22}\$[\w-]{43}$/);
  expect(await verifyPassword("correct horse", one)).toBe(true);
  expect(await verifyPassword("correct horse", two)).toBe(true);
  expect(await verifyPassword("correct house", one)).toBe(false);
});

test("one text typed in two ways is one password", async () => {
  expect(await verifyPassword("caf\u00e9 noir", await hashPassword("cafe\u0301 noir"))).toBe(true);
});

test("an unknown user costs the same work as a wrong password", async () => {
  const stored = await hashPassword("correct horse");
  scrypt.mockClear();
  expect(await verifyPassword("wrong", stored)).toBe(false);
  expect(await verifyPassword("wrong", undefined)).toBe(false);
  const [wrong, unknown] = scrypt.mock.calls.map(([password, salt, length, cost]) => ({
    password,
    saltLength: (salt as Buffer).length,
    length,
    cost,
  }));
  expect(unknown).toEqual(wrong);
});

test("nobody knows the password of an unknown user", async () => {
  expect(await verifyPassword("", undefined)).toBe(false);
  expect(await verifyPassword("A".repeat(43), undefined)).toBe(false);
});
