import { createHash, createHmac } from "node:crypto";
import fc from "fast-check";
import { afterEach, describe, expect, it, vi } from "vitest";
import * as onNode from "../../src/session/crypto.ts";
import { anyText } from "./support.ts";

type CryptoModule = typeof onNode;

/** The module as a runtime gets it that has no modules of Node, or an older `node:crypto`. */
async function withBuiltin(builtin: ((id: string) => unknown) | undefined): Promise<CryptoModule> {
  vi.resetModules();
  const { getBuiltinModule } = process;
  try {
    (process as { getBuiltinModule: unknown }).getBuiltinModule = builtin;
    return await import("../../src/session/crypto.ts");
  } finally {
    process.getBuiltinModule = getBuiltinModule;
  }
}

const olderNode = (id: string) => (id === "node:crypto" ? { createHash, createHmac } : undefined);

const variants: [string, () => Promise<CryptoModule>][] = [
  ["Node", async () => onNode],
  ["Node without crypto.hash", () => withBuiltin(olderNode)],
  ["WebCrypto", () => withBuiltin(undefined)],
];

afterEach(() => {
  vi.restoreAllMocks();
  vi.resetModules();
});

describe.each(variants)("%s", (name, load) => {
  it("writes base64url as Buffer does", async () => {
    const { base64url } = await load();
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
        expect(base64url(bytes)).toBe(Buffer.from(bytes).toString("base64url"));
      }),
      { numRuns: 500 },
    );
    for (let length = 0; length < 5; length++)
      expect(base64url(new Uint8Array(length).fill(255))).toBe(Buffer.alloc(length, 255).toString("base64url"));
  });

  it("digests as node:crypto does, of any text", async () => {
    const { sha256, hmacSha256 } = await load();
    await fc.assert(
      fc.asyncProperty(anyText(), fc.string({ minLength: 1 }), async (text, key) => {
        expect(await sha256(text)).toBe(createHash("sha256").update(text).digest("base64url"));
        expect(await hmacSha256(key, text)).toBe(createHmac("sha256", key).update(text).digest("base64url"));
      }),
      { numRuns: 100 },
    );
  });

  it("answers at once where it can", async () => {
    const { sha256 } = await load();
    expect(typeof sha256("x")).toBe(name === "WebCrypto" ? "object" : "string");
  });
});

describe("randomness", () => {
  it("ID-01: is exactly what the system's generator gives", async () => {
    vi.spyOn(crypto, "getRandomValues").mockImplementation((array) => {
      (array as Uint8Array).fill(7);
      return array;
    });
    const { newSecret, newSessionId } = await import("../../src/session/token.ts");
    expect(newSecret()).toBe(Buffer.alloc(32, 7).toString("base64url"));
    expect(newSessionId()).toBe(Buffer.alloc(16, 7).toString("base64url"));
  });

  it("ID-01: when the generator fails or gives too little, there is no session and no token", async () => {
    const { setUp } = await import("./support.ts");
    const { client, store } = setUp();
    const write = async () => {
      const browser = client();
      const request = browser.request((session) => {
        session.data.n = 1;
      });
      await expect(request).rejects.toThrow();
      expect(browser.token).toBeUndefined();
    };
    const generator = vi.spyOn(crypto, "getRandomValues");
    generator.mockImplementation(() => {
      throw new Error("no entropy");
    });
    await write();
    generator.mockImplementation((array) => (array as Uint8Array).subarray(1) as unknown as typeof array);
    await write();
    expect(store.calls("create")).toBe(0);
  });
});

describe("comparison", () => {
  it("is exact", () => {
    fc.assert(
      fc.property(anyText(), anyText(), (a, b) => {
        expect(onNode.equalInConstantTime(a, b)).toBe(a === b);
        expect(onNode.equalInConstantTime(a, a)).toBe(true);
        expect(onNode.equalInConstantTime(a, `${a}x`)).toBe(false);
        expect(onNode.equalInConstantTime(`${a}\u0100`, `${a}\u0000`)).toBe(false);
      }),
    );
  });
});

describe("the whole session core without Node's modules", () => {
  it("works on WebCrypto alone", async () => {
    vi.resetModules();
    const { getBuiltinModule } = process;
    try {
      (process as { getBuiltinModule: unknown }).getBuiltinModule = undefined;
      const { setUp } = await import("./support.ts");
      const { client } = setUp();
      const browser = client();
      await browser.request((session) => {
        session.data.cart = ["a"];
      });
      const old = browser.token;
      const csrf = await browser.request(async (session) => {
        await session.login("alice");
        return session.csrfToken();
      });
      expect(browser.token).not.toBe(old);
      await browser.request(async (session) => {
        expect(session.userId).toBe("alice");
        expect(session.data.cart).toEqual(["a"]);
        await session.requireCsrfToken(csrf);
      });
    } finally {
      process.getBuiltinModule = getBuiltinModule;
    }
  });
});
