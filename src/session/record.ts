import type { Instant } from "./clock.ts";
import type { SecretHash, SessionId } from "./token.ts";

/** What was seen of the client when the session was made or last authenticated. Recorded, never enforced (row CC-06). */
export interface DeviceFacts {
  /** User-Agent, control characters removed, at most 256 characters. */
  readonly userAgent?: string;
  /** Address of the client with its last part removed: a /24 of IPv4, a /48 of IPv6. */
  readonly ip?: string;
}

/** A message for the next page that shows it. */
export interface Flash {
  /** What sort of message, for example `"success"`. */
  readonly kind: string;
  readonly message: string;
}

/** The part of a record that only the core interprets. A store keeps it as one JSON value. */
export interface SessionMeta {
  /** When the current secret was issued. */
  readonly secretAt: Instant;
  /** Hash of the secret before this one: tells a rotated-out token from one that never was. */
  readonly previousSecretHash?: SecretHash;
  /** Until when the previous secret may still read (periodic renewal only; absent after a security rotation). */
  readonly previousUntil?: Instant;
  /** When the user last proved who they are. Absent for an anonymous session. */
  readonly authenticatedAt?: Instant;
  /** How, as Authentication Method Reference values (RFC 8176), for example `["pwd", "otp"]`. */
  readonly methods?: readonly string[];
  /** Whether the user asked to be remembered: the longer limits of the lifetime policy hold. */
  readonly remember?: boolean;
  readonly device?: DeviceFacts;
  /** Messages that no page has taken yet. */
  readonly flashes?: readonly Flash[];
  /** Version of the application's data, for migrations. Absent means 0. */
  readonly dataVersion?: number;
  /** The key of another library's session that this one goes on from, until that is retired. */
  readonly upgradedFrom?: string;
  /** In a mark: the session that an old one has become. A mark is no session itself. */
  readonly upgradedTo?: SessionId;
  /** Makes the record that of a refresh token. No other token opens it, and a refresh token opens no other. */
  readonly refresh?: RefreshMeta;
  /** A sealed session that outgrew its cookie: the store has it now. */
  readonly spilled?: boolean;
}

/** What a refresh token is good for, and how its successors are told from its predecessors. */
export interface RefreshMeta {
  /** SHA-256 of the part that all tokens of the family share. Who brings it with another secret has held an older one. */
  readonly familyHash: SecretHash;
  /** The application that the token was issued to. */
  readonly clientId: string;
  /** What access tokens may be good for: names with single spaces between. */
  readonly scope?: string;
  /** With it, the previous secret makes the one in force (see `src/tokens/refresh-token.ts`). Absent without grace. */
  readonly nonce?: string;
  /** The secret before the previous one, if it was followed up before its grace was over. For reports. */
  readonly inGrace?: { readonly secretHash: SecretHash; readonly until: Instant };
}

/** A claim on a session for the length of one unsafe request, so that requests in several processes take turns. */
export interface Lease {
  /** The request that holds it: a random text. */
  readonly holder: string;
  /** The lease counts while `now < until`, whatever became of its holder. */
  readonly until: Instant;
}

/** A wish for a lease. */
export interface LeaseWish extends Lease {
  readonly now: Instant;
}

/** A wish for a lease, sent along with a read by who presents this secret. */
export interface LeaseRequest extends LeaseWish {
  readonly secretHash: SecretHash;
}

/** What a store keeps. Immutable: a store may hand out the same object twice, and nobody changes one in place. */
export interface SessionRecord {
  readonly id: SessionId;
  readonly secretHash: SecretHash;
  /** 1 when created; every committed update raises it by one, a touch does not. */
  readonly version: number;
  readonly createdAt: Instant;
  /** Last activity that was written down; lags behind the truth by at most the touch interval. */
  readonly seenAt: Instant;
  /** The session is valid while `now < expiresAt`: the nearer of the idle and the absolute deadline. */
  readonly expiresAt: Instant;
  readonly userId?: string;
  readonly meta: SessionMeta;
  /** One text (JSON, unless another codec is set) per top-level key. Keys are arbitrary strings. */
  readonly data: ReadonlyMap<string, string>;
  /** Who holds the session's lease, in stores that grant leases. No part of the session: `create` does not store it. */
  readonly lease?: Lease;
}

/** The changes of one commit. An absent field stays as it is. */
export interface SessionPatch {
  readonly secretHash?: SecretHash;
  readonly seenAt?: Instant;
  readonly expiresAt?: Instant;
  /** `null` takes the user away. */
  readonly userId?: string | null;
  /** Replaces the whole of `meta`. */
  readonly meta?: SessionMeta;
  /** Keys of `data` with their new texts. */
  readonly set?: ReadonlyMap<string, string>;
  /** Keys of `data` to remove. */
  readonly unset?: readonly string[];
  /** Gives the lease back if this holder has it. */
  readonly release?: string;
}

/** The record that results when a patch is applied: what every store's `update` must amount to. */
export function applyPatch(record: SessionRecord, patch: SessionPatch): SessionRecord {
  const userId = patch.userId === undefined ? record.userId : (patch.userId ?? undefined);
  return {
    id: record.id,
    secretHash: patch.secretHash ?? record.secretHash,
    version: record.version + 1,
    createdAt: record.createdAt,
    seenAt: patch.seenAt ?? record.seenAt,
    expiresAt: patch.expiresAt ?? record.expiresAt,
    ...(userId === undefined ? undefined : { userId }),
    meta: patch.meta ?? record.meta,
    data: patchData(record.data, patch),
  };
}

/** The data that results when a patch is applied; the same map when the patch leaves it alone. */
export function patchData(data: ReadonlyMap<string, string>, patch: SessionPatch): ReadonlyMap<string, string> {
  if (!patch.set?.size && !patch.unset?.length) return data;
  const merged = new Map(data);
  for (const key of patch.unset ?? []) merged.delete(key);
  for (const [key, text] of patch.set ?? []) merged.set(key, text);
  return merged;
}
