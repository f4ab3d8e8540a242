import { isSafeMethod } from "../csrf/fetch-metadata.ts";
import type { Opened } from "../strategies/strategy.ts";
import type { Clock, Duration, Instant } from "./clock.ts";
import type { SessionRecord } from "./record.ts";
import type { RevocationFeed } from "./revocation-feed.ts";
import type { NamedCookie, RequestFacts, ResponseChanges, Transport } from "./transport.ts";
import type { UnitOfWork } from "./unit-of-work.ts";

/** A session as a client's copy tells of it. */
export interface Copied {
  readonly opened: Extract<Opened, { outcome: "current" | "previous" }>;
  /** When the store was last known to hold this. */
  readonly recordAt: Instant;
}

/** Lets clients carry copies of their sessions, so that safe requests need not read the store. */
export interface SessionCache {
  /** The copy that a request brings, if it is one of this token's session and still counts. Never throws. */
  find(request: RequestFacts, token: string): Promise<Copied | undefined>;
  /** Hands the client a copy. None if it would be too large. */
  copy(request: RequestFacts, record: SessionRecord, recordAt: Instant): Promise<readonly NamedCookie[]>;
  /** Makes copies worthless that are older than this version, those that are still on their way included. */
  outdate(request: RequestFacts, version: number): ResponseChanges;
  /** Makes the client forget what it has. */
  clear(request: RequestFacts): readonly NamedCookie[];
}

/** What a cache has to work with. */
export interface CacheContext {
  readonly clock: Clock;
  /** A cookie like the session's, with a name of its own. */
  beside(suffix: string): Transport;
  /** The revocation feed, for copies that live for `lifetime`; absent when the store keeps no revocations. */
  readonly feed: ((lifetime: Duration) => RevocationFeed) | undefined;
}

/** A cache, as it is given to `createSessions`. */
export type MakeCache = (context: CacheContext) => SessionCache;

/** What one request and its response have to do with the client's copy. */
export class ClientCopy {
  readonly #cache: SessionCache;
  readonly #request: RequestFacts;
  readonly #work: UnitOfWork;
  readonly #version: number | undefined;
  /** What the client's copy says, once the response is there. */
  #copied: SessionRecord | undefined;
  #cookies: readonly NamedCookie[] = [];

  /** @param isCopied whether the session was opened from a copy */
  constructor(cache: SessionCache, request: RequestFacts, work: UnitOfWork, isCopied: boolean) {
    this.#cache = cache;
    this.#request = request;
    this.#work = work;
    this.#version = work.record?.version;
    // An unsafe request leaves the client's copy alone, unless it changes the session.
    if (isCopied || !isSafeMethod(request.method)) this.#copied = work.record;
  }

  /** Whether the response is to carry another copy. */
  get due(): boolean {
    const { record, refusal, headSent } = this.#work;
    return !headSent && refusal === undefined && record !== undefined && record !== this.#copied;
  }

  /** Makes it, now that all is saved. */
  async make(): Promise<void> {
    if (!this.due) return;
    const { record, recordAt } = this.#work;
    this.#copied = record as SessionRecord;
    this.#cookies = await this.#cache.copy(this.#request, this.#copied, recordAt);
  }

  /** What the response has to say, with what it has to say of the copy. */
  addTo(changes: ResponseChanges, isCleared: boolean): ResponseChanges {
    if (isCleared) return withCookies(changes, this.#cache.clear(this.#request));
    const { record } = this.#work;
    const copied = record !== undefined && record === this.#copied ? this.#cookies : [];
    if (record === undefined || this.#version === undefined || record.version === this.#version)
      return withCookies(changes, copied);
    const { cookies, headers } = this.#cache.outdate(this.#request, record.version);
    return { ...withCookies(changes, [...cookies, ...copied]), headers: [...changes.headers, ...headers] };
  }
}

function withCookies(changes: ResponseChanges, cookies: readonly NamedCookie[]): ResponseChanges {
  return cookies.length === 0 ? changes : { ...changes, cookies: [...changes.cookies, ...cookies] };
}
