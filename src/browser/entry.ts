import type { Instant } from "../session/clock.ts";
import type { Codec } from "../session/codec.ts";
import type { StandardSchema } from "../session/schema.ts";
import type { TroubleReason } from "./trouble.ts";

/** Checks what is read from storage, which anybody at the browser can write to: a Standard Schema, or a type guard. */
export type Check<T> = StandardSchema<T> | ((value: unknown) => value is T);

/** How a value is written as text. */
export interface EntryOptions<T> {
  /** What is read where nothing is stored, on a server, and instead of what does not fit. */
  readonly initial: NoInfer<T>;
  readonly schema: Check<T>;
  /** How values become text. Default JSON; `devalue`'s `{ stringify, parse }` fits. */
  readonly codec?: Codec;
  /** Version of the present shape. Default 0. Raise it, with a migration, when the shape changes. */
  readonly version?: number;
  /** `migrations[n]` brings a value of version n to version n + 1. A value whose migration is missing is not read. */
  readonly migrations?: Readonly<Record<number, (value: never) => unknown>>;
}

/** What a text holds. */
export type Entry<T> = readonly [
  value: T,
  expiresAt: Instant,
  writtenAt: Instant,
  trouble?: TroubleReason,
  error?: unknown,
];

/** `<version>;<expiry>;<time of writing>;<value>`: times in milliseconds since 1970, the expiry `Infinity` for none. */
export function encode<T>(
  { codec = JSON, version = 0 }: EntryOptions<T>,
  value: T,
  writtenAt: Instant,
  expiresAt: Instant,
): string {
  return `${version};${expiresAt};${writtenAt};${codec.stringify(value)}`;
}

/** Never throws for what is stored, whatever it is. */
export function decode<T>(
  { initial, schema, codec = JSON, version = 0, migrations = {} }: EntryOptions<T>,
  text: string | null | undefined,
): Entry<T> {
  if (!text) return [initial, 0, 0];
  try {
    const parts = text.split(";");
    let [from, expiresAt, writtenAt] = parts.map(Number) as [number, number, number];
    if (from > version) return [initial, 0, 0, "newer"];
    let value = codec.parse(parts.slice(3).join(";"));
    for (; from < version; from++) value = (migrations[from] as (value: unknown) => unknown)(value);
    return [checked(schema, value), expiresAt, writtenAt || 0];
  } catch (error) {
    return [initial, 0, 0, "invalid", error];
  }
}

/** @throws Error when the value does not fit, or when the schema answers later */
export function checked<T>(schema: Check<T>, value: unknown): T {
  const result = "~standard" in schema ? schema["~standard"].validate(value) : { value, issues: !schema(value) };
  if (!("value" in result) || result.issues) throw new TypeError("no fit");
  return result.value as T;
}

/** Checks that a value is one of these: `oneOf("light", "dark")`. */
export const oneOf =
  <const Values extends readonly (string | number | boolean | null)[]>(...values: Values) =>
  (value: unknown): value is Values[number] =>
    values.includes(value as never);
