import { base64url, fromBase64url } from "../../session/crypto.ts";
import { CorruptRecordError } from "../../session/errors.ts";
import type { SessionMeta, SessionRecord } from "../../session/record.ts";
import type { SessionId } from "../../session/token.ts";
import { ByteReader, ByteWriter } from "./bytes.ts";

/** A record without what is kept beside it: its lease, and the secret or the hash of it. */
export type BareRecord = Omit<SessionRecord, "secretHash" | "lease">;

/**
 * A record and 32 bytes of base64url text that go with it, compactly: instants as differences, ids as bytes, data as the
 * texts that it is kept as.
 */
export function recordToBytes(record: BareRecord, credential: string): Uint8Array {
  const { secretAt, authenticatedAt, ...meta } = record.meta;
  const out = new ByteWriter();
  out.bytes(fromBase64url(record.id) as Uint8Array);
  out.bytes(fromBase64url(credential) as Uint8Array);
  out.count(record.version);
  out.count(record.createdAt);
  for (const at of [record.seenAt, record.expiresAt, secretAt]) out.difference(at - record.createdAt);
  out.optional(authenticatedAt, (at) => out.difference(at - record.createdAt));
  out.optional(record.userId, (userId) => out.text(userId));
  out.text(Object.keys(meta).length === 0 ? "" : JSON.stringify(meta));
  out.count(record.data.size);
  for (const [key, text] of record.data) {
    out.text(key);
    out.text(text);
  }
  return out.finish();
}

/** @throws CorruptRecordError */
export function recordFromBytes(bytes: Uint8Array): { readonly record: BareRecord; readonly credential: string } {
  try {
    const from = new ByteReader(bytes);
    const id = base64url(from.bytes(16)) as SessionId;
    const credential = base64url(from.bytes(32));
    const version = from.count();
    const createdAt = from.count();
    const instant = () => createdAt + from.difference();
    const [seenAt, expiresAt, secretAt] = [instant(), instant(), instant()];
    const authenticatedAt = from.optional(instant);
    const userId = from.optional(() => from.text());
    const others = from.text();
    const data = new Map<string, string>();
    for (let left = from.count(); left > 0; left--) data.set(from.text(), from.text());
    from.assertEnd();
    const meta: SessionMeta = {
      secretAt,
      ...(authenticatedAt === undefined ? undefined : { authenticatedAt }),
      ...(others === "" ? undefined : (JSON.parse(others) as object)),
    };
    const user = userId === undefined ? undefined : { userId };
    return { record: { id, version, createdAt, seenAt, expiresAt, ...user, meta, data }, credential };
  } catch (cause) {
    throw new CorruptRecordError({ cause });
  }
}
