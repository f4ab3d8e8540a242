import type { Instant } from "../session/clock.ts";
import type { LeaseWish, SessionPatch, SessionRecord } from "../session/record.ts";
import {
  formatToken,
  hashSecret,
  parseToken,
  type SecretHash,
  type SessionId,
  type SessionSecret,
  sameHash,
} from "../session/token.ts";
import type { SessionStore } from "../stores/store.ts";
import type { Opened, Strategy, Updated, UserRecords } from "./strategy.ts";

/** The record lives in a store; the client holds `<id>.<secret>`, of which the store knows only a hash. */
export class ServerSide implements Strategy {
  readonly keptInStore = true;
  readonly #store: SessionStore;

  constructor(store: SessionStore) {
    this.#store = store;
  }

  get users(): UserRecords {
    return this.#store;
  }

  takesTurns(): boolean {
    return true;
  }

  writesToClient(): boolean {
    return false;
  }

  wellFormed(text: string): boolean {
    return parseToken(text) !== undefined;
  }

  async open(text: string, lease?: LeaseWish): Promise<Opened> {
    const token = parseToken(text);
    if (token === undefined) return { outcome: "malformed" };
    const hashing = hashSecret(token.secret);
    const secretHash = typeof hashing === "string" ? hashing : await hashing;
    const record = await this.#store.read(token.id, lease && { ...lease, secretHash });
    if (record === undefined) return { outcome: "unknown", reason: "no-session" };
    const { secret } = token;
    if (sameHash(record.secretHash, secretHash)) return { outcome: "current", record, secret, secretHash };
    const { previousSecretHash } = record.meta;
    if (previousSecretHash !== undefined && sameHash(previousSecretHash, secretHash))
      return { outcome: "previous", record, secret, secretHash };
    return { outcome: "unknown", reason: "wrong-secret" };
  }

  async create(record: SessionRecord, secret: SessionSecret): Promise<string> {
    try {
      await this.#store.create(record);
    } catch (error) {
      if (!(await this.#holds(record.id, record.secretHash))) throw error;
    }
    return formatToken({ id: record.id, secret });
  }

  reread(record: SessionRecord): Promise<SessionRecord | undefined> {
    return this.#store.read(record.id);
  }

  async update(record: SessionRecord, patch: SessionPatch, secret: SessionSecret): Promise<Updated> {
    const { secretHash } = patch;
    try {
      const outcome = await this.#store.update(record.id, record.version, patch);
      if (outcome !== "updated" || secretHash === undefined) return { outcome };
    } catch (error) {
      if (secretHash === undefined || !(await this.#holds(record.id, secretHash))) throw error;
    }
    return { outcome: "updated", token: formatToken({ id: record.id, secret }) };
  }

  async touch(record: SessionRecord, seenAt: Instant, expiresAt: Instant): Promise<undefined> {
    await this.#store.touch(record.id, seenAt, expiresAt);
  }

  async remove(record: SessionRecord): Promise<void> {
    await this.#store.remove(record.id);
  }

  /**
   * Whether a write that failed was made all the same, and only its answer is lost: a secret that nobody else can know
   * proves it. Without this the client would never get a token that is in force.
   */
  async #holds(id: SessionId, secretHash: SecretHash): Promise<boolean> {
    const record = await this.#store.read(id).catch(() => undefined);
    return record !== undefined && sameHash(record.secretHash, secretHash);
  }

  async release(record: SessionRecord, holder: string): Promise<void> {
    await this.#store.release?.(record.id, holder);
  }
}
