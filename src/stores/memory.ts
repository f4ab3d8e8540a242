import { type Duration, type Instant, seconds } from "../session/clock.ts";
import type { SessionId } from "../session/token.ts";
import { MemoryRevocations } from "./memory/revocations.ts";
import { applyPatch, type SessionPatch, type SessionRecord, type SessionStore } from "./store.ts";

export interface MemoryStoreOptions {
  /** Most sessions kept; above it the one that was used least recently is dropped. Default 100,000. */
  readonly max?: number;
}

/** Of expiry times. A batch of the clean-up sorts the records of one. */
const SLOT: Duration = seconds(10);

/**
 * Sessions in the memory of this process: for development and tests. They are lost at a restart, other processes do not
 * see them, and a flood of new visitors drops the oldest ones.
 */
export function memoryStore(options: MemoryStoreOptions = {}): SessionStore {
  const { max = 100_000 } = options;
  if (!(Number.isSafeInteger(max) && max >= 1))
    throw new TypeError("memoryStore: max must be a whole number, 1 or more");
  warnInProduction();
  return new MemoryStore(max);
}

let warned = false;

function warnInProduction(): void {
  if (warned || globalThis.process?.env?.NODE_ENV !== "production") return;
  warned = true;
  process.emitWarning("memoryStore keeps sessions in this process alone and loses them at a restart.", "coatcheck");
}

class MemoryStore implements SessionStore {
  /** In order of last use, the least recently used first. */
  readonly #records = new Map<SessionId, SessionRecord>();
  readonly #byUser = new Map<string, Set<SessionId>>();
  /** Ids by the ten seconds they expire in, so that a clean-up looks only at what is due. */
  readonly #byExpiry = new Map<number, Set<SessionId>>();
  readonly revocations = new MemoryRevocations();
  readonly #max: number;

  constructor(max: number) {
    this.#max = max;
  }

  async create(record: SessionRecord): Promise<void> {
    if (this.#records.has(record.id)) throw new Error("a session with this id exists");
    if (this.#records.size >= this.#max) {
      const [oldest] = this.#records.values();
      if (oldest !== undefined) this.#drop(oldest);
    }
    this.#put(record);
  }

  async read(id: SessionId): Promise<SessionRecord | undefined> {
    return this.#records.get(id);
  }

  async update(id: SessionId, version: number, patch: SessionPatch): Promise<"updated" | "stale" | "missing"> {
    const record = this.#records.get(id);
    if (record === undefined) return "missing";
    if (record.version !== version) return "stale";
    this.#drop(record);
    this.#put(applyPatch(record, patch));
    return "updated";
  }

  async touch(id: SessionId, seenAt: Instant, expiresAt: Instant): Promise<boolean> {
    const record = this.#records.get(id);
    if (record === undefined) return false;
    this.#drop(record);
    this.#put({
      ...record,
      seenAt: Math.max(record.seenAt, seenAt),
      expiresAt: Math.max(record.expiresAt, expiresAt),
    });
    return true;
  }

  async remove(id: SessionId, userId?: string): Promise<boolean> {
    const record = this.#records.get(id);
    if (record === undefined || (userId !== undefined && record.userId !== userId)) return false;
    this.#drop(record);
    return true;
  }

  async listByUser(userId: string): Promise<SessionRecord[]> {
    return [...(this.#byUser.get(userId) ?? [])].map((id) => this.#records.get(id) as SessionRecord);
  }

  async removeByUser(userId: string, except?: SessionId): Promise<number> {
    const ids = [...(this.#byUser.get(userId) ?? [])].filter((id) => id !== except);
    for (const id of ids) this.#drop(this.#records.get(id) as SessionRecord);
    return ids.length;
  }

  async removeAll(): Promise<number> {
    const count = this.#records.size;
    this.#records.clear();
    this.#byUser.clear();
    this.#byExpiry.clear();
    return count;
  }

  async removeExpired(now: Instant, limit: number): Promise<number> {
    const due = [...this.#byExpiry.keys()].filter((slot) => slot <= slotOf(now)).sort((a, b) => a - b);
    const expired: SessionRecord[] = [];
    for (const slot of due) {
      const records = [...(this.#byExpiry.get(slot) ?? [])].map((id) => this.#records.get(id) as SessionRecord);
      expired.push(...records.filter((record) => record.expiresAt <= now).sort((a, b) => a.expiresAt - b.expiresAt));
      if (expired.length >= limit) break;
    }
    const removed = expired.slice(0, limit);
    for (const record of removed) this.#drop(record);
    return removed.length;
  }

  async *all(): AsyncIterable<SessionRecord> {
    for (const id of [...this.#records.keys()]) {
      const record = this.#records.get(id);
      if (record !== undefined) yield record;
    }
  }

  #put(record: SessionRecord): void {
    this.#records.set(record.id, record);
    if (record.userId !== undefined) add(this.#byUser, record.userId, record.id);
    add(this.#byExpiry, slotOf(record.expiresAt), record.id);
  }

  #drop(record: SessionRecord): void {
    this.#records.delete(record.id);
    if (record.userId !== undefined) take(this.#byUser, record.userId, record.id);
    take(this.#byExpiry, slotOf(record.expiresAt), record.id);
  }
}

const slotOf = (instant: Instant): number => Math.floor(instant / SLOT);

function add<Key>(index: Map<Key, Set<SessionId>>, key: Key, id: SessionId): void {
  const ids = index.get(key);
  if (ids === undefined) index.set(key, new Set([id]));
  else ids.add(id);
}

function take<Key>(index: Map<Key, Set<SessionId>>, key: Key, id: SessionId): void {
  const ids = index.get(key);
  if (ids?.delete(id) && ids.size === 0) index.delete(key);
}
