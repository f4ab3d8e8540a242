import type { SessionSecret } from "../session/token.ts";

/** How names of secrets end, in lower case. */
type SecretName = `${string}${"token" | "secret" | "password" | "jwt" | "apikey"}`;

/** How deep a type is searched. */
type Depth = readonly [never, never, never, never];

type HoldsSecret<T, D extends readonly never[] = Depth> = 0 extends 1 & T
  ? false
  : T extends SessionSecret
    ? true
    : D extends readonly [never, ...infer Rest extends readonly never[]]
      ? T extends readonly (infer Item)[]
        ? HoldsSecret<Item, Rest>
        : T extends
              | string
              | number
              | boolean
              | bigint
              | symbol
              | null
              | undefined
              | Date
              | ((...args: never) => unknown)
          ? false
          : true extends {
                [K in keyof T]-?: Lowercase<K & string> extends SecretName ? true : HoldsSecret<T[K], Rest>;
              }[keyof T]
            ? true
            : false
      : false;

/** The name, unless it is that of a secret. */
export type NotSecretName<Name extends string> = Lowercase<Name> extends SecretName ? never : Name;

/** Nothing to add to a type without secrets; impossible to meet for one that holds a `token`, a `password` or their kin. */
export type WithoutSecrets<T> =
  true extends HoldsSecret<T> ? { readonly "a secret does not belong into the browser's storage": never } : unknown;

// A key or a property with such a name; a JWT; a session token or CSRF token of coatcheck.
const SECRET = /(token|secret|password|jwt|apikey)":|eyJ[\w-]+\.eyJ|[\w-]{22}\.[\w-]{43}/i;

/** Whether a text, such as JSON, seems to hold a secret. */
export const looksSecret = (text: string): boolean => SECRET.test(text);
