import type { CacheContext, Copied, MakeCache, SessionCache } from "../../session/client-copy.ts";
import { type Clock, type Duration, type Instant, minutes, seconds } from "../../session/clock.ts";
import type { SessionRecord } from "../../session/record.ts";
import { copyOf } from "../../session/revocation.ts";
import type { RevocationFeed } from "../../session/revocation-feed.ts";
import { hashSecret, parseToken, type SecretHash, sameHash } from "../../session/token.ts";
import type { NamedCookie, RequestFacts, ResponseChanges, Transport } from "../../session/transport.ts";
import { ByteReader, ByteWriter } from "./bytes.ts";
import { Envelopes } from "./envelope.ts";
import { KeyRing } from "./key-ring.ts";
import type { SealingKey } from "./keys.ts";
import { recordFromBytes, recordToBytes } from "./record-bytes.ts";

export interface SnapshotOptions {
  /** As for sealed sessions: the first one seals, all of them open. */
  readonly keys: readonly SealingKey[];
  /**
   * How old a snapshot may be, in milliseconds. Default 60 seconds if the store keeps revocations, which make an ended session
   * end everywhere all the same; else 5 seconds, which is then how late an ending may come and the most that is
   * allowed (row LO-11). At most 10 minutes.
   */
  readonly maxAge?: Duration;
}

/** Most bytes of name and value. Larger sessions are read from the store: every request would have to carry them. */
const MAX_SNAPSHOT = 2048;
const UNREVOCABLE: Duration = seconds(5);

/**
 * Hybrid sessions: the session is kept in a store, and a snapshot of it, encrypted, in a short-lived second cookie spares
 * the store the reads of safe requests. What is no good, for whatever reason, is a read of the store and never a logout.
 *
 * @throws TypeError for keys that are missing, short or guessable (row SC-08), and for an age that is out of range
 */
export function snapshotCookie({ keys, maxAge }: SnapshotOptions): MakeCache {
  const ring = new KeyRing(keys);
  if (maxAge !== undefined && !(maxAge >= seconds(1) && maxAge <= minutes(10)))
    throw new TypeError("snapshotCookie: maxAge must be between 1000 milliseconds and 10 minutes");
  return (context) => new SnapshotCookie(ring, maxAge, context);
}

class SnapshotCookie implements SessionCache {
  readonly #envelopes: Envelopes;
  readonly #clock: Clock;
  readonly #snapshot: Transport;
  /** The version that the client's own writes have led to. Its answers may overtake those of earlier reads. */
  readonly #version: Transport;
  readonly #feed: RevocationFeed | undefined;
  readonly #maxAge: Duration;

  constructor(ring: KeyRing, maxAge: Duration | undefined, { clock, beside, feed }: CacheContext) {
    if (feed === undefined && maxAge !== undefined && maxAge > UNREVOCABLE)
      throw new TypeError("snapshotCookie: maxAge above 5 seconds needs a store that keeps revocations");
    this.#maxAge = maxAge ?? (feed === undefined ? UNREVOCABLE : minutes(1));
    this.#clock = clock;
    this.#snapshot = beside("snapshot");
    this.#version = beside("version");
    this.#envelopes = new Envelopes(ring, "snapshot", this.#snapshot.carrier);
    this.#feed = feed?.(this.#maxAge);
  }

  async find(request: RequestFacts, text: string): Promise<Copied | undefined> {
    const presented = this.#snapshot.read(request);
    const token = parseToken(text);
    if (presented.kind !== "token" || token === undefined) return undefined;
    const bytes = await this.#envelopes.open(presented.text);
    const snapshot = bytes && snapshotFromBytes(bytes);
    if (snapshot === undefined) return undefined;
    const { record, recordAt } = snapshot;
    const secretHash = await hashSecret(token.secret);
    if (record.id !== token.id || !sameHash(record.secretHash, secretHash)) return undefined;
    const age = this.#clock.now() - recordAt;
    if (!(age >= 0 && age < this.#maxAge) || record.version < this.#leastVersion(request)) return undefined;
    if (this.#isRevoked(record)) return undefined;
    return { opened: { outcome: "current", record, secret: token.secret, secretHash }, recordAt };
  }

  async copy(request: RequestFacts, record: SessionRecord, recordAt: Instant): Promise<readonly NamedCookie[]> {
    const left = recordAt + this.#maxAge - this.#clock.now();
    const text = await this.#envelopes.seal(snapshotToBytes(record, recordAt));
    if (left < seconds(1) || text.length > this.#snapshot.maxToken) return [];
    const { cookies } = this.#snapshot.write(request, text, left);
    return cookies
      .filter(({ name }) => name.length + text.length <= MAX_SNAPSHOT)
      .map((line) => ({ ...line, optional: true }));
  }

  outdate(request: RequestFacts, version: number): ResponseChanges {
    return this.#version.write(request, String(version), this.#maxAge);
  }

  clear(request: RequestFacts): readonly NamedCookie[] {
    return [this.#snapshot, this.#version].flatMap((cookie) =>
      cookie.read(request).kind === "none" ? [] : cookie.clear(request).cookies,
    );
  }

  #leastVersion(request: RequestFacts): number {
    const presented = this.#version.read(request);
    if (presented.kind === "none") return 0;
    return presented.kind === "token" && /^\d{1,15}$/.test(presented.text) ? Number(presented.text) : Infinity;
  }

  /** While the feed is behind, the store is asked. */
  #isRevoked(record: SessionRecord): boolean {
    if (this.#feed === undefined) return false;
    this.#feed.start();
    return this.#feed.behind || this.#feed.isRevoked(copyOf(record));
  }
}

function snapshotToBytes(record: SessionRecord, recordAt: Instant): Uint8Array {
  const out = new ByteWriter();
  out.count(recordAt);
  out.bytes(recordToBytes(record, record.secretHash));
  return out.finish();
}

function snapshotFromBytes(
  bytes: Uint8Array,
): { readonly record: SessionRecord; readonly recordAt: Instant } | undefined {
  try {
    const from = new ByteReader(bytes);
    const recordAt = from.count();
    const { record, credential } = recordFromBytes(from.rest());
    return { record: { ...record, secretHash: credential as SecretHash }, recordAt };
  } catch {
    // Another version of this library may have sealed it.
    return undefined;
  }
}
