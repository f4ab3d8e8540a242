import { CorruptRecordError } from "../../session/errors.ts";
import type { SecretHash, SessionId } from "../../session/token.ts";
import { metaFromText, metaToText } from "../record-texts.ts";
import type { SessionPatch, SessionRecord } from "../store.ts";

/**
 * The fields of a session's hash. Their names are short because every session carries them; the application's keys come
 * as `d:<key>`, one field each.
 */
export const FIELD = {
  version: "v",
  secretHash: "h",
  createdAt: "c",
  seenAt: "s",
  expiresAt: "e",
  /** Absent for an anonymous session. */
  userId: "u",
  meta: "m",
  /** Who holds the lease, and until when. */
  leaseHolder: "lh",
  leaseUntil: "lu",
  /** Name of the last write, by which a write that the driver sends twice knows itself. */
  write: "w",
} as const;

const DATA = "d:";

/** A new record as fields and values in turn. */
export function recordFields(record: SessionRecord): string[] {
  const fields: string[] = [
    FIELD.version,
    String(record.version),
    FIELD.secretHash,
    record.secretHash,
    FIELD.createdAt,
    String(record.createdAt),
    FIELD.seenAt,
    String(record.seenAt),
    FIELD.expiresAt,
    String(record.expiresAt),
    FIELD.meta,
    metaToText(record.meta),
  ];
  if (record.userId !== undefined) fields.push(FIELD.userId, toUtf8Text(record.userId));
  for (const [key, text] of record.data) fields.push(DATA + toUtf8Text(key), toUtf8Text(text));
  return fields;
}

/** What a patch sets, as fields and values in turn, and which fields it removes. */
export function patchFields(patch: SessionPatch): { readonly set: string[]; readonly unset: string[] } {
  const set: string[] = [];
  const unset = (patch.unset ?? []).map((key) => DATA + toUtf8Text(key));
  if (patch.secretHash !== undefined) set.push(FIELD.secretHash, patch.secretHash);
  if (patch.seenAt !== undefined) set.push(FIELD.seenAt, String(patch.seenAt));
  if (patch.expiresAt !== undefined) set.push(FIELD.expiresAt, String(patch.expiresAt));
  if (patch.meta !== undefined) set.push(FIELD.meta, metaToText(patch.meta));
  if (patch.userId === null) unset.push(FIELD.userId);
  else if (patch.userId !== undefined) set.push(FIELD.userId, toUtf8Text(patch.userId));
  for (const [key, text] of patch.set ?? []) set.push(DATA + toUtf8Text(key), toUtf8Text(text));
  return { set, unset };
}

/**
 * The record that the reply to HGETALL holds, or `undefined` for an empty one.
 *
 * @throws CorruptRecordError
 */
export function recordFromReply(id: SessionId, reply: unknown): SessionRecord | undefined {
  const fields = fieldsOf(reply);
  if (fields.size === 0) return undefined;
  const data = new Map<string, string>();
  for (const [name, value] of fields)
    if (name.startsWith(DATA)) data.set(fromUtf8Text(name.slice(DATA.length)), fromUtf8Text(value));
  const userId = fields.get(FIELD.userId);
  const holder = fields.get(FIELD.leaseHolder);
  return {
    id,
    secretHash: present(fields.get(FIELD.secretHash)) as SecretHash,
    version: numberOf(fields.get(FIELD.version)),
    createdAt: numberOf(fields.get(FIELD.createdAt)),
    seenAt: numberOf(fields.get(FIELD.seenAt)),
    expiresAt: numberOf(fields.get(FIELD.expiresAt)),
    ...(userId === undefined ? undefined : { userId: fromUtf8Text(userId) }),
    meta: metaFromText(fields.get(FIELD.meta)),
    data,
    ...(holder === undefined ? undefined : { lease: { holder, until: numberOf(fields.get(FIELD.leaseUntil)) } }),
  };
}

/** RESP2 and scripts answer with a list of names and values in turn, RESP3 with a map, ioredis with an object. */
function fieldsOf(reply: unknown): ReadonlyMap<string, string> {
  const fields = new Map<string, string>(entriesOf(reply));
  // Were this taken for a corrupt record, everybody would be logged out.
  for (const [name, value] of fields)
    if (typeof name !== "string" || typeof value !== "string")
      throw new TypeError("redisStore needs a client that answers with texts; this one is set to answer otherwise");
  return fields;
}

function entriesOf(reply: unknown): Iterable<[string, string]> {
  if (reply instanceof Map) return reply;
  if (!Array.isArray(reply)) return Object.entries((reply ?? {}) as Record<string, string>);
  return Array.from({ length: reply.length / 2 }, (_, i) => [reply[2 * i], reply[2 * i + 1]]);
}

function present(text: string | undefined): string {
  if (!text) throw new CorruptRecordError();
  return text;
}

function numberOf(text: string | undefined): number {
  const number = Number(present(text));
  if (!Number.isFinite(number)) throw new CorruptRecordError();
  return number;
}

/**
 * UTF-8 has no way to write half a surrogate pair, so such texts go as JSON, which has. Different texts stay different;
 * ordinary ones are left as they are.
 */
export function toUtf8Text(text: string): string {
  return UNUSUAL.test(text) ? `\0${JSON.stringify(text)}` : text;
}

/** The reverse of `toUtf8Text`. */
export function fromUtf8Text(text: string): string {
  if (!text.startsWith("\0")) return text;
  try {
    return String(JSON.parse(text.slice(1)));
  } catch {
    throw new CorruptRecordError();
  }
}

/** A lone surrogate, or the NUL that marks a text written as JSON. */
const UNUSUAL = /^\0|\p{Cs}/u;
