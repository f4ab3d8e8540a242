import { sealed } from "coatcheck/sealed";
import { describe, expect, it } from "vitest";
import { key } from "./support.ts";

const good = Buffer.from(key(1)).toString("base64url");

describe("sealing keys", () => {
  it("SC-08: missing, short, typed and repeated keys are refused, with a sentence that says how to make one", () => {
    const refused: Array<[unknown, RegExp]> = [
      [undefined, /at least one sealing key/],
      [[], /at least one sealing key/],
      [good, /in a list/],
      [[undefined], /is missing/],
      [[""], /is missing/],
      [["secret"], /has 4 bytes and needs 32/],
      [[new Uint8Array(16)], /has 16 bytes/],
      [[good.slice(0, 22)], /has 16 bytes/],
      [[`${good}=`], /base64url text without padding/],
      [["correct horse battery staple correct horse "], /base64url text/],
      [["correct-horse-battery-staple-correct-horse-a"], /can be guessed/],
      [[Buffer.from("correct horse battery staple, the second")], /can be guessed|random/],
      [["a".repeat(64)], /can be guessed/],
      [["0".repeat(64)], /can be guessed/],
      [["changeme-changeme-changeme-changeme-changeme-0"], /base64url|can be guessed/],
      [[new Uint8Array(64)], /can be guessed/],
      [[Buffer.concat([key(1).slice(0, 16), key(1).slice(0, 16), key(1).slice(0, 16)])], /can be guessed/],
      [[42], /base64url text|missing/],
      [[good, good], /named twice/],
      [[good, key(1)], /named twice/],
    ];
    for (const [keys, message] of refused) {
      let thrown: unknown;
      try {
        sealed({ keys } as never);
      } catch (error) {
        thrown = error;
      }
      expect(thrown, JSON.stringify(keys)).toBeInstanceOf(TypeError);
      expect((thrown as Error).message).toMatch(message);
    }
  });

  it("SC-08: no message shows the key", () => {
    const weak = ["correct-horse-battery-staple-correct-horse-a", "q".repeat(50)];
    for (const secret of weak)
      expect(() => sealed({ keys: [secret] })).toThrow(expect.not.stringContaining(secret.slice(0, 8)) as never);
  });

  it("32 random bytes are accepted, as text and as bytes, and more of them", () => {
    for (let i = 0; i < 200; i++) {
      const bytes = crypto.getRandomValues(new Uint8Array(32 + (i % 33)));
      expect(() => sealed({ keys: [bytes] })).not.toThrow();
      expect(() => sealed({ keys: [Buffer.from(bytes).toString("base64url")] })).not.toThrow();
    }
  });
});
