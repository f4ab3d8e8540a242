import { SessionDataError } from "./errors.ts";

/**
 * The part of Standard Schema (https://standardschema.dev, version 1) that is used here, so that no package is needed.
 * Zod, Valibot, ArkType and others implement it.
 */
export interface StandardSchema<Output = unknown> {
  readonly "~standard": {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => StandardResult<Output> | Promise<StandardResult<Output>>;
    readonly types?: { readonly input: unknown; readonly output: Output } | undefined;
  };
}

type StandardResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | {
      readonly issues: ReadonlyArray<{
        readonly message: string;
        readonly path?: ReadonlyArray<PropertyKey | { readonly key: PropertyKey }> | undefined;
      }>;
    };

/** Brings data of one version to the next. */
export type Migration = (data: Record<string, unknown>) => Record<string, unknown> | Promise<Record<string, unknown>>;

/** The shape of the application's data, for checking what a store hands back. */
export interface SchemaOptions<Data> {
  /** Checks the data of every session that is opened, and may transform it. */
  readonly schema?: StandardSchema<Data>;
  /** Version of the present shape. Default 0. Raise it, with a migration, when the shape changes. */
  readonly version?: number;
  /** `migrations[n]` brings data of version n to version n + 1; every version below `version` needs one. */
  readonly migrations?: Readonly<Record<number, Migration>>;
}

/** Migrates and checks stored data. */
export class DataSchema {
  readonly version: number;
  readonly #schema: StandardSchema | undefined;
  readonly #migrations: Readonly<Record<number, Migration>>;

  constructor({ schema, version = 0, migrations = {} }: SchemaOptions<unknown>) {
    if (!Number.isSafeInteger(version) || version < 0) throw new TypeError("version must be a whole number, 0 or more");
    for (let from = 0; from < version; from++)
      if (typeof migrations[from] !== "function") throw new TypeError(`migrations[${from}] is missing`);
    this.version = version;
    this.#schema = schema;
    this.#migrations = migrations;
  }

  /** Whether data of this version can be used as it is, without being parsed. */
  accepts(version: number): boolean {
    return this.#schema === undefined && version === this.version;
  }

  /** @throws SessionDataError when the data is of a later version, or is refused by a migration or the schema */
  async load(stored: Record<string, unknown>, version: number): Promise<Record<string, unknown>> {
    if (version > this.version)
      throw new SessionDataError([`the data has version ${version}, later than ${this.version}`]);
    let data = stored;
    for (let from = version; from < this.version; from++) {
      try {
        data = await (this.#migrations[from] as Migration)(data);
      } catch (cause) {
        throw new SessionDataError([`migrations[${from}] failed`], { cause });
      }
    }
    if (this.#schema === undefined) return data;
    const result = await this.#schema["~standard"].validate(data);
    if (result.issues === undefined) return result.value as Record<string, unknown>;
    throw new SessionDataError(result.issues.map((issue) => `${pathOf(issue.path)} does not fit the schema`));
  }
}

function pathOf(path: ReadonlyArray<PropertyKey | { readonly key: PropertyKey }> | undefined): string {
  const keys = (path ?? []).map((part) => String(typeof part === "object" ? part.key : part));
  return keys.length === 0 ? "the data" : JSON.stringify(keys.join(".").slice(0, 128));
}
