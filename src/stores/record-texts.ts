import { CorruptRecordError } from "../session/errors.ts";
import type { SessionMeta } from "../session/record.ts";

/** A record's data as the text of one JSON object: key → text. Every string survives, lone surrogates and NUL included. */
export function dataToText(data: ReadonlyMap<string, string>): string {
  // fromEntries defines properties, so that a key named __proto__ is a key like any other.
  return JSON.stringify(Object.fromEntries(data));
}

/**
 * The reverse of `dataToText`.
 *
 * @throws CorruptRecordError for anything but a JSON object of texts
 */
export function dataFromText(text: unknown): ReadonlyMap<string, string> {
  const entries = Object.entries(parseObject(text));
  if (entries.some(([, value]) => typeof value !== "string")) throw new CorruptRecordError();
  return new Map(entries as [string, string][]);
}

export function metaToText(meta: SessionMeta): string {
  return JSON.stringify(meta);
}

/**
 * The reverse of `metaToText`.
 *
 * @throws CorruptRecordError for anything but a JSON object with the time of the secret
 */
export function metaFromText(text: unknown): SessionMeta {
  const meta = parseObject(text) as Partial<SessionMeta>;
  if (typeof meta.secretAt !== "number") throw new CorruptRecordError();
  return meta as SessionMeta;
}

function parseObject(text: unknown): Record<string, unknown> {
  if (typeof text !== "string") throw new CorruptRecordError();
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // The parser's message quotes the text, which is not for logs.
    throw new CorruptRecordError();
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new CorruptRecordError();
  return value as Record<string, unknown>;
}

/**
 * Well-formed text without NUL for databases that keep no other; different texts stay different. Ordinary texts are left
 * as they are.
 */
export function toPlainText(text: string): string {
  return UNUSUAL.test(text) ? JSON.stringify(text) : text;
}

/** The reverse of `toPlainText`. */
export function fromPlainText(text: string): string {
  if (!text.startsWith('"')) return text;
  try {
    return String(JSON.parse(text));
  } catch {
    throw new CorruptRecordError();
  }
}

/** NUL, a lone surrogate, or the quote that marks a text written as JSON. */
const UNUSUAL = /^"|[\0\p{Cs}]/u;
