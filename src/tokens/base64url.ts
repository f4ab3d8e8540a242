import { Buffer, isUtf8 } from "node:buffer";

/** Longest text that `decodeText` takes, in characters. */
export const MAX_TEXT = 65_536;

/** Reused, because to allocate costs more than to decode. Nothing is kept in it from one call to the next. */
const scratch = Buffer.allocUnsafeSlow((MAX_TEXT / 4) * 3);

/**
 * The bytes of unpadded base64url, or `undefined` for any text that is not exactly what its bytes encode to: other
 * characters, padding, white space, bits left over that are not zero (row JW-06).
 */
export function decodeBytes(text: string): Buffer | undefined {
  // Node skips what it does not know; to encode again tells.
  const bytes = Buffer.from(text, "base64url");
  return bytes.toString("base64url") === text ? bytes : undefined;
}

/** The text that unpadded base64url of valid UTF-8 stands for (row JW-07), by the same rules. */
export function decodeText(text: string): string | undefined {
  if (text.length > MAX_TEXT) return undefined;
  const length = scratch.write(text, "base64url");
  if (scratch.toString("base64url", 0, length) !== text) return undefined;
  const decoded = scratch.toString("utf8", 0, length);
  // What is not UTF-8 becomes U+FFFD, which may also be there by right.
  return decoded.includes("\ufffd") && !isUtf8(scratch.subarray(0, length)) ? undefined : decoded;
}
