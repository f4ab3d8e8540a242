const MIN_ENTROPY = 128;
/** 32 random bytes have about 31; a block of 16 that is repeated has 16. */
const MIN_PAIRS = 24;

/**
 * Whether a secret of the configuration looks as if no random generator had made it: a passphrase, a placeholder, a pattern
 * (row SC-08). Random ones look like this about once in ten million, or less.
 *
 * @param text as which it was given, if as text
 */
export function isGuessable(secret: Uint8Array, text = ""): boolean {
  const typed = [new TextDecoder("latin1").decode(secret), text].some(looksTyped);
  return typed || entropy(secret) < MIN_ENTROPY || pairs(secret) < MIN_PAIRS;
}

const looksTyped = (text: string): boolean =>
  /^(?:[a-z\s.,:;!?'_-]+|[A-Z\s.,:;!?'_-]+)$/.test(text) || /secret|password|changeme|placeholder|example/i.test(text);

/** How many bits the frequencies of the bytes account for: about 155 for 32 random ones, 0 for a repeated one. */
function entropy(bytes: Uint8Array): number {
  const counts = new Map<number, number>();
  for (const byte of bytes) counts.set(byte, (counts.get(byte) ?? 0) + 1);
  let bits = 0;
  for (const count of counts.values()) bits -= count * Math.log2(count / bytes.length);
  return bits;
}

/** How many different bytes stand beside each other. */
const pairs = (bytes: Uint8Array): number =>
  new Set(Array.from(bytes.subarray(1), (byte, i) => 256 * (bytes[i] as number) + byte)).size;
