import { type Duration, days, type Instant, systemClock } from "../../session/clock.ts";
import { CorruptRecordError } from "../../session/errors.ts";
import type { SessionPatch, SessionRecord } from "../../session/record.ts";
import { escapeJson, escapeText, unescapeJson, unescapeText } from "../escaped-json.ts";
import { metaToText, toPlainText } from "../record-texts.ts";
import { recordOfRow } from "../table-row.ts";

/** How much later than a session's deadline the server's own clean-up may come, for clocks that disagree. */
const SLACK: Duration = days(1);
/** The longest that a session may live. */
const LONGEST: Duration = days(400);
const LAST_DATE: Instant = 8_640_000_000_000_000;

/** The document of a new record. */
export function documentOf(record: SessionRecord): Record<string, unknown> {
  return {
    _id: record.id,
    secretHash: record.secretHash,
    version: record.version,
    createdAt: record.createdAt,
    seenAt: record.seenAt,
    expiresAt: record.expiresAt,
    ...(record.userId === undefined ? undefined : { userId: toPlainText(record.userId) }),
    meta: JSON.parse(escapeJson(metaToText(record.meta))),
    data: Object.fromEntries(Array.from(record.data, ([key, text]) => [fieldOf(key), escapeText(text)])),
    purgeAt: purgeAt(record.seenAt, record.expiresAt),
  };
}

/** @throws CorruptRecordError when the document is not what the store writes */
export function recordOf(document: object): SessionRecord {
  const { _id, secretHash, version, createdAt, seenAt, expiresAt, userId, meta, data, lease } = document as Partial<
    Record<string, unknown>
  >;
  const [held] = Array.isArray(lease) ? (lease as { holder: unknown; until: unknown }[]) : [];
  const record = recordOfRow({
    id: _id,
    secret_hash: secretHash,
    version,
    created_at: createdAt,
    seen_at: seenAt,
    expires_at: expiresAt,
    user_id: userId ?? null,
    meta: unescapeJson(String(JSON.stringify(meta))),
    texts: "{}",
    lease_holder: held?.holder,
    lease_until: held?.until,
  });
  return { ...record, data: dataOf(data) };
}

/** The update operators of a patch: only what it changes is sent. */
export function operatorsOf(patch: SessionPatch): Record<string, object> {
  const set: Record<string, unknown> = {};
  const unset: Record<string, ""> = {};
  if (patch.secretHash !== undefined) set.secretHash = patch.secretHash;
  if (patch.seenAt !== undefined) set.seenAt = patch.seenAt;
  if (patch.expiresAt !== undefined) {
    set.expiresAt = patch.expiresAt;
    set.purgeAt = purgeAt(patch.seenAt, patch.expiresAt);
  }
  if (patch.userId === null) unset.userId = "";
  else if (patch.userId !== undefined) set.userId = toPlainText(patch.userId);
  if (patch.meta !== undefined) set.meta = JSON.parse(escapeJson(metaToText(patch.meta)));
  for (const [key, text] of patch.set ?? []) set[`data.${fieldOf(key)}`] = escapeText(text);
  // The server refuses two operators on one field.
  for (const key of patch.unset ?? []) if (!patch.set?.has(key)) unset[`data.${fieldOf(key)}`] = "";
  return {
    $inc: { version: 1 },
    ...(Object.keys(set).length > 0 ? { $set: set } : undefined),
    ...(Object.keys(unset).length > 0 ? { $unset: unset } : undefined),
    ...(patch.release === undefined ? undefined : { $pull: { lease: { holder: toPlainText(patch.release) } } }),
  };
}

/**
 * When the server may remove the document by itself. Counted from now by the machine's clock, which is also the server's,
 * while `seenAt` and `expiresAt` are of the application's.
 */
export function purgeAt(seenAt: Instant | undefined, expiresAt: Instant): Date {
  const length = seenAt === undefined ? LONGEST : Math.max(0, expiresAt - seenAt);
  return new Date(Math.min(systemClock.now() + length + SLACK, LAST_DATE));
}

/**
 * A key as the name of a field that means nothing to the server: NUL, lone surrogates, `.`, `$` and `%` are written as `%`
 * and their four hexadecimal digits.
 */
function fieldOf(key: string): string {
  if (key === "") return "%";
  // Drivers and tools turn documents into objects, where this name is special.
  if (key === "__proto__") return `%005f${key.slice(1)}`;
  return key.replace(SPECIAL, (character) => `%${character.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

function keyOf(field: string): string {
  if (field === "%") return "";
  return field.replace(/%([0-9a-f]{4})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16)));
}

const SPECIAL = /[\0.$%\p{Cs}]/gu;

function dataOf(data: unknown): ReadonlyMap<string, string> {
  if (typeof data !== "object" || data === null || Array.isArray(data)) throw new CorruptRecordError();
  const texts = new Map<string, string>();
  for (const [field, text] of Object.entries(data)) {
    if (typeof text !== "string") throw new CorruptRecordError();
    texts.set(keyOf(field), unescapeText(text));
  }
  return texts;
}
