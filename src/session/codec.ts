/**
 * Turns one top-level value of the session's data into text and back. `devalue`'s `{ stringify, parse }` fits, for Date,
 * Map, Set and BigInt. The text of a value must always come out the same, because changes are found by comparing texts.
 */
export interface Codec {
  stringify(value: unknown): string | undefined;
  parse(text: string): unknown;
}

/** JSON: data only, never code, and safe against `__proto__` (row SC-03). */
export const jsonCodec: Codec = {
  stringify: (value) => JSON.stringify(value),
  parse: (text) => JSON.parse(text) as unknown,
};
