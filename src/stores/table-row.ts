import { CorruptRecordError } from "../session/errors.ts";
import type { SecretHash, SessionId } from "../session/token.ts";
import { dataFromText, fromPlainText, metaFromText } from "./record-texts.ts";
import type { SessionRecord } from "./store.ts";

/** A row of a sessions table as a driver answers it. Integers may be texts or bigint; after tampering anything may be there. */
export interface TableRow {
  readonly id: unknown;
  readonly secret_hash: unknown;
  readonly version: unknown;
  readonly created_at: unknown;
  readonly seen_at: unknown;
  readonly expires_at: unknown;
  /** Written with `toPlainText`. */
  readonly user_id: unknown;
  /** The text of a JSON object. */
  readonly meta: unknown;
  /** The text of a JSON object: key → text. */
  readonly texts: unknown;
  readonly lease_holder?: unknown;
  readonly lease_until?: unknown;
}

/** @throws CorruptRecordError when the row is not what a store writes */
export function recordOfRow(row: TableRow): SessionRecord {
  const { user_id: userId, lease_holder: holder } = row;
  return {
    id: textOf(row.id) as SessionId,
    secretHash: textOf(row.secret_hash) as SecretHash,
    version: integerOf(row.version),
    createdAt: integerOf(row.created_at),
    seenAt: integerOf(row.seen_at),
    expiresAt: integerOf(row.expires_at),
    ...(userId === null ? undefined : { userId: fromPlainText(textOf(userId)) }),
    meta: metaFromText(row.meta),
    data: dataFromText(row.texts),
    ...(typeof holder === "string"
      ? { lease: { holder: fromPlainText(holder), until: integerOf(row.lease_until) } }
      : undefined),
  };
}

/** The records of those rows that can be understood. */
export function understoodRecords<Row>(rows: readonly Row[], recordOf: (row: Row) => SessionRecord): SessionRecord[] {
  return rows.flatMap((row) => {
    try {
      return [recordOf(row)];
    } catch (error) {
      if (error instanceof CorruptRecordError) return [];
      throw error;
    }
  });
}

function textOf(value: unknown): string {
  if (typeof value !== "string") throw new CorruptRecordError();
  return value;
}

function integerOf(value: unknown): number {
  const written = typeof value === "string" && /^-?\d+$/.test(value);
  const number = written || typeof value === "bigint" ? Number(value) : value;
  if (!Number.isSafeInteger(number)) throw new CorruptRecordError();
  return number as number;
}
