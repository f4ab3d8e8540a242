import fc from "fast-check";
import { expect, it } from "vitest";
import { ALGORITHMS, issuer, refused, signed } from "./support.ts";

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/** Changes of a text: a character replaced, put in or taken out, a piece doubled, parts swapped or cut. */
const mutation = fc.oneof(
  fc.record({
    kind: fc.constant("replace" as const),
    at: fc.nat(),
    with: fc.constantFrom(...ALPHABET, ".", "=", "+", " ", "\u0141"),
  }),
  fc.record({
    kind: fc.constant("insert" as const),
    at: fc.nat(),
    with: fc.constantFrom(...ALPHABET, ".", "=", "\n", "\u0000"),
  }),
  fc.record({ kind: fc.constant("remove" as const), at: fc.nat(), length: fc.integer({ min: 1, max: 20 }) }),
  fc.record({ kind: fc.constant("double" as const), at: fc.nat(), length: fc.integer({ min: 1, max: 20 }) }),
  fc.record({ kind: fc.constant("flip" as const), at: fc.nat(), bit: fc.integer({ min: 0, max: 15 }) }),
);
type Mutation = typeof mutation extends fc.Arbitrary<infer M> ? M : never;

function mutated(text: string, change: Mutation): string {
  const at = change.at % text.length;
  switch (change.kind) {
    case "replace":
      return text.slice(0, at) + change.with + text.slice(at + 1);
    case "insert":
      return text.slice(0, at) + change.with + text.slice(at);
    case "remove":
      return text.slice(0, at) + text.slice(at + change.length);
    case "double":
      return text.slice(0, at + change.length) + text.slice(at);
    case "flip":
      return text.slice(0, at) + String.fromCharCode(text.charCodeAt(at) ^ (1 << change.bit)) + text.slice(at + 1);
  }
}

it.each(ALGORITHMS)("JW-06: a mutated token is accepted only when it is the same text: %s", async (alg) => {
  for (const cache of [0, 4]) {
    const shop = issuer(alg, { cache });
    const token = shop.tokens.sign({ sub: "ada", sid: "s".repeat(22), scope: "cart:read" });
    await shop.tokens.verify(token);
    await fc.assert(
      fc.asyncProperty(fc.array(mutation, { minLength: 1, maxLength: 3 }), async (changes) => {
        const offered = changes.reduce(mutated, token);
        if (offered === token || offered === "") return;
        await refused(shop, offered);
      }),
      { numRuns: 400 },
    );
  }
});

it("JW-13: of a mutated header and payload with a right signature, what is accepted is what the payload says", async () => {
  const shop = issuer("HS256");
  const input = shop.tokens.sign({ sub: "ada" }).split(".").slice(0, 2).join(".");
  const original = JSON.parse(Buffer.from(input.split(".")[1] ?? "", "base64url").toString());
  await fc.assert(
    fc.asyncProperty(mutation, async (change) => {
      const offered = mutated(input, change);
      const claims = await shop.tokens.verify(signed(shop.key, offered)).catch(() => undefined);
      if (claims === undefined) return;
      // Whoever has the key may say other things, but only in canonical form.
      const [, payload = ""] = offered.split(".");
      expect(Buffer.from(payload, "base64url").toString("base64url")).toBe(payload);
      expect(claims).toEqual(JSON.parse(Buffer.from(payload, "base64url").toString()));
      for (const name of ["iss", "aud"] as const) expect(claims[name]).toEqual(original[name]);
    }),
    { numRuns: 500 },
  );
});

it("JW-06: no text at all that was not signed is accepted, and none makes verify fail in another way", async () => {
  const shop = issuer();
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(
        fc.string({ unit: "binary" }),
        fc
          .array(fc.string({ unit: fc.constantFrom(...ALPHABET) }), { minLength: 3, maxLength: 3 })
          .map((p) => p.join(".")),
        fc.json().map((json) => `${Buffer.from(json).toString("base64url")}.e30.AA`),
      ),
      async (text) => void (await refused(shop, text)),
    ),
    { numRuns: 1000 },
  );
});
