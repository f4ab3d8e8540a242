import { createHash, createHmac, createPublicKey, sign } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { generateKey, type Jwk } from "coatcheck/tokens";
import { describe, expect, it, vi } from "vitest";
import {
  ALGORITHMS,
  base64url,
  forge,
  goodClaims,
  goodHeader,
  issuer,
  keyObject,
  refused,
  signatureOf,
  signed,
} from "./support.ts";

const hmac = (secret: string | Uint8Array) => (input: string) => createHmac("sha256", secret).update(input).digest();
const publicOf = (key: Jwk) => createPublicKey({ key, format: "jwk" });

it.each(ALGORITHMS)(
  "a token made by hand with the right key is accepted, so that the refusals mean something: %s",
  async (alg) => {
    const shop = issuer(alg);
    expect(await shop.tokens.verify(forge(shop.key))).toMatchObject({ sub: "ada" });
  },
);

describe("algorithm confusion", () => {
  const confusions = (key: Jwk): [form: string, secret: string | Uint8Array][] => {
    const pem = publicOf(key).export({ type: "spki", format: "pem" }) as string;
    const jwk = publicOf(key).export({ format: "jwk" });
    return [
      ["PEM", pem],
      ["PEM without its last line feed", pem.trimEnd()],
      ["DER", publicOf(key).export({ type: "spki", format: "der" })],
      ["JWK", JSON.stringify(jwk)],
      ["JWK as it is published", JSON.stringify({ ...jwk, kid: key.kid, alg: key.alg, use: "sig" })],
      ["its x", Buffer.from(jwk.x ?? "", "base64url")],
      ["its x as text", jwk.x ?? ""],
      ["nothing", ""],
    ];
  };

  it.each(["ES256", "EdDSA"] as const)("JW-02: a public %s key is no HMAC secret: PEM, DER, JWK", async (alg) => {
    const shop = issuer(alg);
    for (const [form, secret] of confusions(shop.key))
      for (const header of [goodHeader(shop.key, { alg: "HS256" }), goodHeader(shop.key)])
        await expect(refused(shop, forge(shop.key, { header, signature: hmac(secret) })), form).resolves.toBeDefined();
    expect(shop.reasons).toContain("header");
    expect(shop.reasons).toContain("signature");
  });

  it("JW-02: alg has to be that of the key, even when the signature is right", async () => {
    for (const alg of ALGORITHMS) {
      const shop = issuer(alg);
      for (const other of ["ES256", "EdDSA", "HS256", "HS384", "HS512", "RS256", "PS256", "ES384", "ES256K", "Ed25519"])
        if (other !== alg)
          expect(await refused(shop, forge(shop.key, { header: goodHeader(shop.key, { alg: other }) }))).toBe("header");
    }
  });
});

describe("none", () => {
  it("JW-01: no spelling of none is an algorithm, with or without a signature", async () => {
    for (const alg of ALGORITHMS) {
      const shop = issuer(alg);
      for (const none of [
        "none",
        "None",
        "NONE",
        "nOnE",
        "",
        " none",
        "none ",
        "no\u006ee",
        "null",
        "HS256 ",
        "es256",
        "eddsa",
      ])
        for (const signature of [undefined, () => "", () => "AA", hmac("")])
          await refused(
            shop,
            forge(shop.key, { header: goodHeader(shop.key, { alg: none }), ...(signature && { signature }) }),
          );
      for (const odd of [undefined, null, 0, true, [shop.key.alg], { alg: shop.key.alg }])
        expect(await refused(shop, forge(shop.key, { header: goodHeader(shop.key, { alg: odd }) }))).toBe("header");
    }
  });

  it("JW-01: a token without its signature is none", async () => {
    const shop = issuer();
    const [header, payload] = shop.tokens.sign({ sub: "ada" }).split(".");
    expect(await refused(shop, `${header}.${payload}.`)).toBe("signature");
    expect(await refused(shop, `${header}.${payload}`)).toBe("malformed");
  });

  it("JW-01: none cannot be produced: no key has it as its algorithm", () => {
    const key = generateKey("ES256");
    expect(() => issuer("ES256", { keys: { ...key, alg: "none" } })).toThrow(TypeError);
    expect(() => generateKey("none" as never)).toThrow(TypeError);
  });
});

describe("keys that a token brings or points to", () => {
  it("JW-04: jwk, jku, x5u and x5c are refused, although the signature fits the embedded key", async () => {
    const fetching = vi.spyOn(globalThis, "fetch");
    for (const alg of ["ES256", "EdDSA"] as const) {
      const shop = issuer(alg);
      const thief = generateKey(alg);
      const jwk = publicOf(thief).export({ format: "jwk" });
      for (const kid of [shop.key.kid, thief.kid])
        for (const brought of [
          { jwk },
          { jwk: { ...jwk, kid } },
          { jku: "https://thief.example/jwks.json" },
          { x5u: "https://thief.example/cert.pem" },
          { x5c: ["MIIB"] },
        ])
          await refused(shop, forge(thief, { header: goodHeader(thief, { kid, ...brought }) }));
      // Refused for what they are, even from the issuer itself.
      for (const brought of [{ jwk }, { jku: ISSUER_JWKS }, { x5u: ISSUER_JWKS }, { x5c: [] }])
        expect(await refused(shop, forge(shop.key, { header: goodHeader(shop.key, brought) }))).toBe("header");
    }
    expect(fetching).not.toHaveBeenCalled();
    fetching.mockRestore();
  });

  const ISSUER_JWKS = "https://shop.example/.well-known/jwks.json";

  it("JW-04: kid is looked up as it is: paths, SQL, prototypes and huge ones name no key", async () => {
    const shop = issuer("HS256");
    const kids: unknown[] = [
      "../../../../dev/null",
      "/dev/null",
      "file:///etc/passwd",
      "' OR 1=1 --",
      "x' UNION SELECT 'key",
      "__proto__",
      "constructor",
      "toString",
      "",
      `${shop.key.kid} `,
      shop.key.kid.toUpperCase(),
      `${shop.key.kid}\u0000`,
      "k".repeat(129),
      "k".repeat(4000),
      undefined,
      null,
      0,
      [shop.key.kid],
      { toString: "x" },
    ];
    for (const kid of kids)
      for (const signature of [undefined, hmac(""), hmac("\u0000")])
        expect(
          await refused(
            shop,
            forge(shop.key, { header: goodHeader(shop.key, { kid }), ...(signature && { signature }) }),
          ),
        ).toBe("unknown-key");
  });

  it("JW-04: a kid of 128 characters is a name, one of 129 is refused at start", async () => {
    const key = generateKey("ES256");
    const shop = issuer("ES256", { keys: { key, kid: "k".repeat(128) } });
    await shop.tokens.verify(shop.tokens.sign({ sub: "ada" }));
    expect(() => issuer("ES256", { keys: { key, kid: "k".repeat(129) } })).toThrow(TypeError);
  });
});

it("JW-05: crit and b64 are refused, whatever they say", async () => {
  const shop = issuer();
  for (const member of [
    { crit: ["exp"] },
    { crit: [] },
    { crit: ["b64"], b64: false },
    { crit: ["http://example.com/UNDEFINED"], "http://example.com/UNDEFINED": true },
    { crit: "exp" },
    { crit: null },
    { b64: false },
    { b64: true },
  ])
    expect(await refused(shop, forge(shop.key, { header: goodHeader(shop.key, member) }))).toBe("header");
  // The payload as it is, which RFC 7797 would allow.
  const input = `${base64url(JSON.stringify(goodHeader(shop.key, { b64: false, crit: ["b64"] })))}.${JSON.stringify(goodClaims())}`;
  await refused(shop, signed(shop.key, input));
});

describe("form", () => {
  it("JW-06: only the one canonical base64url is read, in each of the three parts", async () => {
    for (const alg of ALGORITHMS) {
      const shop = issuer(alg);
      // Of each remainder, so that there are bits left over.
      for (const sub of ["a", "ab", "abc", "\u00fb\u00ff?>"]) {
        const [header = "", payload = "", signature = ""] = forge(shop.key, { payload: goodClaims({ sub }) }).split(
          ".",
        );
        for (const [i, part] of [header, payload, signature].entries())
          for (const changed of variants(part)) {
            const parts = [header, payload, signature].with(i, changed);
            await refused(shop, parts.join("."));
            // A right signature over the wrong text does not help.
            if (i < 2) await refused(shop, signed(shop.key, parts.slice(0, 2).join(".")));
          }
      }
    }
  });

  function variants(part: string): string[] {
    const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const last = alphabet.indexOf(part.at(-1) ?? "");
    const unused = { 2: 15, 3: 3 }[part.length % 4] ?? 0;
    return [
      `${part}=`,
      `${part}==`,
      `${part} `,
      ` ${part}`,
      `${part}\n`,
      `${part}\u0000`,
      `${part}A`,
      `${part}\u0141`,
      `${part.slice(0, 4)} ${part.slice(4)}`,
      `${part.slice(0, 4)}\r\n${part.slice(4)}`,
      // The same six bits in a character of more bytes.
      String.fromCharCode(part.charCodeAt(0) + 0x100) + part.slice(1),
      String.fromCharCode(part.charCodeAt(0) + 0x4100) + part.slice(1),
      ...(/[-_]/.test(part) ? [part.replaceAll("-", "+").replaceAll("_", "/")] : []),
      ...Array.from({ length: unused }, (_, bit) => part.slice(0, -1) + alphabet[last ^ (bit + 1)]),
    ];
  }

  it("JW-06: JSON serialisations, JWEs, and any other number of dots are refused", async () => {
    const shop = issuer();
    const token = shop.tokens.sign({ sub: "ada" });
    const [protectedHeader, payload, signature] = token.split(".");
    const flattened = { protected: protectedHeader, payload, signature };
    for (const text of [
      JSON.stringify(flattened),
      JSON.stringify({ payload, signatures: [{ protected: protectedHeader, signature }] }),
      `${token}.`,
      `.${token}`,
      `${token}..`,
      `${token}.${signature}`,
      `${token}.${signature}.${signature}`,
      token.replace(".", ".."),
      "",
      ".",
      "..",
      "...",
      `..${signature}`,
      `${protectedHeader}..${signature}`,
      "{",
      ` ${token}`,
      `${token} `,
      `${token}\n`,
      `Bearer ${token}`,
      `"${token}"`,
      `${token},${token}`,
    ])
      await refused(shop, text);
    for (const value of [undefined, null, 1, {}, flattened, [token], Buffer.from(token), new String(token)])
      expect(await refused(shop, value)).toBe("malformed");
  });

  it("JW-07: a text above maxBytes is refused before it is decoded", async () => {
    const shop = issuer();
    const decoding = vi.spyOn(JSON, "parse");
    expect(await refused(shop, "a".repeat(8193))).toBe("too-large");
    expect(await refused(shop, `${"a".repeat(10_000_000)}.a.a`)).toBe("too-large");
    expect(decoding).not.toHaveBeenCalled();
    decoding.mockRestore();
    // The border, with tokens that are right otherwise.
    const ofLength = (n: number) => {
      for (let pad = Math.floor(n * 0.75); pad > 0; pad--) {
        const token = forge(shop.key, { payload: goodClaims({ pad: "x".repeat(pad) }) });
        if (token.length <= n) return token;
      }
      return "";
    };
    const largest = ofLength(8192);
    expect(largest.length).toBeGreaterThan(8188);
    await shop.tokens.verify(largest);
    expect(await refused(shop, ofLength(8196))).toBe("too-large");
    expect(() => shop.tokens.sign({ sub: "x".repeat(8192) })).toThrow(TypeError);
  });

  it("JW-07: header and claims are JSON objects in valid UTF-8", async () => {
    const shop = issuer();
    const json = JSON.stringify(goodClaims());
    const payloads = [
      "[]",
      `[${json}]`,
      "null",
      '"text"',
      "1",
      "",
      `${json}${json}`,
      `${json},`,
      `\ufeff${json}`,
      json.replaceAll('"', "'"),
      Buffer.from(json.replace("ada", "\u00ff"), "latin1"),
      Buffer.concat([Buffer.from(json.slice(0, -2)), Buffer.from([0xed, 0xa0, 0x80]), Buffer.from('"}')]),
      Buffer.from(json, "utf16le"),
    ];
    for (const payload of payloads) expect(await refused(shop, forge(shop.key, { payload }))).toBe("malformed");
    for (const header of ["[]", "null", '"x"', "", `[${JSON.stringify(goodHeader(shop.key))}]`])
      expect(await refused(shop, forge(shop.key, { header }))).toBe("malformed");
    // U+FFFD itself is a character like any other.
    await shop.tokens.verify(forge(shop.key, { payload: goodClaims({ sub: "\ufffd" }) }));
  });

  it("JW-07: a header that says something twice is refused", async () => {
    const shop = issuer();
    const { kid } = shop.key;
    for (const header of [
      `{"alg":"none","alg":"ES256","typ":"at+jwt","kid":"${kid}"}`,
      `{"alg":"ES256","alg":"ES256","typ":"at+jwt","kid":"${kid}"}`,
      `{"alg":"ES256","\\u0061lg":"ES256","typ":"at+jwt","kid":"${kid}"}`,
      `{"alg":"ES256","typ":"at+jwt","kid":"x","kid":"${kid}"}`,
      `{"alg":"ES256","typ":"JWT","typ":"at+jwt","kid":"${kid}"}`,
      `{"alg":"ES256","typ":"at+jwt","kid":"${kid}","o":{"a":1,"a":1}}`,
      `{"alg":"ES256","typ":"at+jwt","kid":"${kid}","l":[{"a":1,"a":1}]}`,
      `{"__proto__":1,"__proto__":1,"alg":"ES256","typ":"at+jwt","kid":"${kid}"}`,
    ])
      expect(await refused(shop, forge(shop.key, { header }))).toBe("malformed");
    // Colons and quotes within texts are not members.
    await shop.tokens.verify(
      forge(shop.key, { header: goodHeader(shop.key, { note: 'a "b": c\\', l: [{ a: 1 }, ":"] }) }),
    );
  });
});

describe("signatures", () => {
  it("JW-08: an ECDSA signature in DER is refused", async () => {
    const shop = issuer("ES256");
    const der = (input: string) => sign("sha256", Buffer.from(input), { key: keyObject(shop.key), dsaEncoding: "der" });
    expect(await refused(shop, forge(shop.key, { signature: der }))).toBe("signature");
  });

  it("JW-08: r and s are within [1, n-1], each in its 32 bytes", async () => {
    const shop = issuer("ES256");
    const n = Buffer.from("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551", "hex");
    const zero = Buffer.alloc(32);
    const one = Buffer.alloc(32, 0).fill(1, 31);
    const all = Buffer.alloc(32, 0xff);
    const halves = [zero, one, n, all];
    for (const r of halves)
      for (const s of halves)
        expect(await refused(shop, forge(shop.key, { signature: () => Buffer.concat([r, s]) }))).toBe("signature");
    for (const signature of [
      (input: string) => Buffer.concat([signatureOf(shop.key, input), zero]),
      (input: string) => Buffer.concat([zero, signatureOf(shop.key, input)]),
      (input: string) => signatureOf(shop.key, input).subarray(0, 63),
      // r and s grown by the group's order, which mathematics does not mind.
      (input: string) => plus(signatureOf(shop.key, input), n),
      (input: string) => Buffer.concat([Buffer.from([0]), signatureOf(shop.key, input)]),
    ])
      expect(await refused(shop, forge(shop.key, { signature }))).toBe("signature");
  });

  /** s + n where that fits into 32 bytes, r + n otherwise; one of many signatures does not matter, none fits. */
  function plus(signature: Buffer, n: Buffer): Buffer {
    const s = BigInt(`0x${signature.subarray(32).toString("hex")}`) + BigInt(`0x${n.toString("hex")}`);
    return Buffer.concat([signature.subarray(0, 32), Buffer.from(s.toString(16).padStart(66, "0").slice(-66), "hex")]);
  }

  it("JW-08: all-zero and empty signatures are refused for every algorithm", async () => {
    for (const alg of ALGORITHMS) {
      const shop = issuer(alg);
      for (const length of [0, 1, 32, 63, 64, 65, 128])
        expect(await refused(shop, forge(shop.key, { signature: () => Buffer.alloc(length) }))).toBe("signature");
    }
  });

  it("JW-13: the signature of another token, of another key and of another hash is refused", async () => {
    for (const alg of ALGORITHMS) {
      const shop = issuer(alg);
      const other = shop.tokens.sign({ sub: "eve" }).split(".")[2] ?? "";
      expect(await refused(shop, forge(shop.key, { signature: () => other }))).toBe("signature");
      const stranger = { ...generateKey(alg), kid: shop.key.kid };
      expect(await refused(shop, forge(stranger))).toBe("signature");
    }
    const shop = issuer("HS256");
    const secret = Buffer.from(shop.key.k ?? "", "base64url");
    for (const signature of [
      (input: string) => createHmac("sha512", secret).update(input).digest(),
      (input: string) => createHash("sha256").update(input).digest(),
      (input: string) => signatureOf(shop.key, input).subarray(0, 16),
    ])
      expect(await refused(shop, forge(shop.key, { signature }))).toBe("signature");
  });

  it("JW-13: no claim is looked at before the signature: a wrong token is refused for its signature", async () => {
    const shop = issuer();
    for (const payload of [goodClaims({ exp: 0 }), goodClaims({ iss: "https://thief.example" }), "[]", "no JSON"])
      expect(await refused(shop, forge(shop.key, { payload, signature: () => Buffer.alloc(64, 1) }))).toBe("signature");
  });

  it("JW-13: no source compares signatures otherwise than in constant time", () => {
    const folder = new URL("../../src/tokens/", import.meta.url);
    const sources = readdirSync(folder).map((name) => readFileSync(new URL(name, folder), "utf8"));
    expect(sources.join("\n")).toContain("equalInConstantTime(signature(");
    for (const source of sources) {
      expect(source).not.toMatch(/(?:digest|signature|mac)\([^\n]*\)\s*[!=]==?/i);
      expect(source).not.toMatch(/[!=]==?\s*(?:\w+\.)*(?:signature|mac|digest)\b/i);
    }
  });
});
