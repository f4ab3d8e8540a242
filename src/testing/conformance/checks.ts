import type { SessionRecord } from "../../session/record.ts";

/** Fails a case of the kit. */
export function check(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(`store conformance: ${what}`);
}

export function same(actual: unknown, expected: unknown, what: string): void {
  const [found, wanted] = [written(actual), written(expected)];
  if (found !== wanted)
    throw new Error(`store conformance: ${what}: expected ${excerpt(wanted)}, got ${excerpt(found)}`);
}

/** Compares all that a record holds but its lease, which is no part of the session. */
export function sameRecord(actual: SessionRecord | undefined, expected: SessionRecord, what: string): void {
  check(actual !== undefined, `${what}: there is no record`);
  same({ ...actual, lease: undefined }, { ...expected, lease: undefined }, what);
}

/** The error with which a promise rejects. */
export async function rejection(promise: Promise<unknown>, what: string): Promise<unknown> {
  let result: unknown;
  try {
    result = await promise;
  } catch (error) {
    return error;
  }
  throw new Error(`store conformance: ${what}: expected a rejection, got ${excerpt(written(result))}`);
}

/** A text that is equal for equal values: keys in order, a map as the list of its entries, absent and undefined alike. */
function written(value: unknown): string {
  if (value instanceof Map) return `Map${written([...value].sort(byKey))}`;
  if (Array.isArray(value)) return `[${value.map(written).join()}]`;
  if (typeof value !== "object" || value === null)
    return typeof value === "string" ? JSON.stringify(value) : String(value);
  const entries = Object.entries(value).filter(([, part]) => part !== undefined);
  return `{${entries.sort(byKey).map(([key, part]) => `${JSON.stringify(key)}:${written(part)}`)}}`;
}

const byKey = ([a]: [string, unknown], [b]: [string, unknown]): number => (a < b ? -1 : a > b ? 1 : 0);

const excerpt = (text: string): string =>
  text.length > 600 ? `${text.slice(0, 600)}… (${text.length} characters)` : text;
