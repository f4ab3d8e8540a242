import type { Instant } from "../session/clock.ts";
import type { LeaseRequest, SessionPatch, SessionRecord } from "../session/record.ts";
import type { SessionId } from "../session/token.ts";
import type { RevocationLog } from "../stores/revocation-log.ts";
import type { SessionStore } from "../stores/store.ts";

/** The verbs that can be made to fail. */
export type StoreVerb =
  | Exclude<keyof SessionStore, "close" | "revocations">
  | `revocations.${"append" | "read" | "removeExpired"}`;

/** Calls that are being held back. */
export interface Hold {
  /** Resolves when the first call is being held. */
  readonly reached: Promise<void>;
  /** Lets the held calls go on, and holds no more. */
  release(): void;
}

interface Fault {
  readonly verb: StoreVerb | "every";
  readonly error: unknown;
  /** Whether the verb is carried out before it rejects. */
  readonly lost: boolean;
  times: number;
}

interface Gate {
  readonly verb: StoreVerb | "every";
  readonly opened: Promise<void>;
  arrive(): void;
  open(): void;
}

/**
 * A store around another one that fails, hangs or loses its answers when told to. `"every"` stands for every verb.
 *
 * A held call waits first, then it meets the failures that are set at that time, the oldest first.
 */
export class UnreliableStore implements SessionStore {
  readonly #store: SessionStore;
  readonly #calls = new Map<StoreVerb, number>();
  #faults: Fault[] = [];
  #gates: Gate[] = [];
  /** Only there when the store that is wrapped grants leases. */
  readonly release?: (id: SessionId, holder: string) => Promise<void>;
  /** Only there when the store that is wrapped has a log. */
  readonly revocations?: RevocationLog;

  constructor(store: SessionStore) {
    this.#store = store;
    if (store.release !== undefined)
      this.release = (id, holder) => this.#perform("release", async () => store.release?.(id, holder));
    if (store.revocations !== undefined) this.revocations = this.#unreliableLog(store.revocations);
  }

  /** How often a verb was called, or all of them together. Failed and held calls count. */
  calls(verb: StoreVerb | "every" = "every"): number {
    if (verb !== "every") return this.#calls.get(verb) ?? 0;
    return [...this.#calls.values()].reduce((sum, count) => sum + count, 0);
  }

  /** The next calls of a verb reject and change nothing. Default: one call, with an `Error`. */
  failNext(verb: StoreVerb | "every", options: { readonly times?: number; readonly error?: unknown } = {}): void {
    const { times = 1, error = new Error("the store failed, as it was told to") } = options;
    this.#faults.push({ verb, error, lost: false, times });
  }

  /** Every call of a verb rejects and changes nothing, until `recover`. */
  fail(verb: StoreVerb | "every" = "every", error?: unknown): void {
    this.failNext(verb, { times: Number.POSITIVE_INFINITY, ...(error === undefined ? undefined : { error }) });
  }

  /** The next calls of a verb are carried out and then reject: the answer was lost on its way. Default: one call. */
  loseAnswer(verb: StoreVerb | "every", options: { readonly times?: number; readonly error?: unknown } = {}): void {
    const { times = 1, error = new Error("the answer was lost, as it was told to be") } = options;
    this.#faults.push({ verb, error, lost: true, times });
  }

  /** Calls of a verb hang, before anything is carried out, until they are released or the store recovers. */
  hold(verb: StoreVerb | "every" = "every"): Hold {
    let arrive = () => {};
    let open = () => {};
    const reached = new Promise<void>((resolve) => {
      arrive = resolve;
    });
    const opened = new Promise<void>((resolve) => {
      open = resolve;
    });
    const gate: Gate = { verb, opened, arrive, open };
    this.#gates.push(gate);
    return {
      reached,
      release: () => {
        this.#gates = this.#gates.filter((other) => other !== gate);
        open();
      },
    };
  }

  /** Everything works again; held calls go on. The counts stay. */
  recover(): void {
    const gates = this.#gates;
    this.#faults = [];
    this.#gates = [];
    for (const gate of gates) gate.open();
  }

  create(record: SessionRecord): Promise<void> {
    return this.#perform("create", () => this.#store.create(record));
  }

  read(id: SessionId, lease?: LeaseRequest): Promise<SessionRecord | undefined> {
    return this.#perform("read", () => this.#store.read(id, lease));
  }

  update(id: SessionId, version: number, patch: SessionPatch): Promise<"updated" | "stale" | "missing"> {
    return this.#perform("update", () => this.#store.update(id, version, patch));
  }

  touch(id: SessionId, seenAt: Instant, expiresAt: Instant): Promise<boolean> {
    return this.#perform("touch", () => this.#store.touch(id, seenAt, expiresAt));
  }

  remove(id: SessionId, userId?: string): Promise<boolean> {
    return this.#perform("remove", () => this.#store.remove(id, userId));
  }

  listByUser(userId: string): Promise<SessionRecord[]> {
    return this.#perform("listByUser", () => this.#store.listByUser(userId));
  }

  removeByUser(userId: string, except?: SessionId): Promise<number> {
    return this.#perform("removeByUser", () => this.#store.removeByUser(userId, except));
  }

  removeAll(): Promise<number> {
    return this.#perform("removeAll", () => this.#store.removeAll());
  }

  removeExpired(now: Instant, limit: number): Promise<number> {
    return this.#perform("removeExpired", () => this.#store.removeExpired(now, limit));
  }

  /** Fails or hangs before the first record. */
  async *all(): AsyncGenerator<SessionRecord> {
    yield* await this.#perform("all", async () => this.#store.all());
  }

  async close(): Promise<void> {
    await this.#store.close?.();
  }

  #unreliableLog(log: RevocationLog): RevocationLog {
    return {
      append: (entry) => this.#perform("revocations.append", () => log.append(entry)),
      read: (cursor) => this.#perform("revocations.read", () => log.read(cursor)),
      removeExpired: (now, limit) => this.#perform("revocations.removeExpired", () => log.removeExpired(now, limit)),
      ...(log.watch === undefined ? undefined : { watch: log.watch.bind(log) }),
    };
  }

  async #perform<Result>(verb: StoreVerb, carryOut: () => Promise<Result>): Promise<Result> {
    this.#calls.set(verb, (this.#calls.get(verb) ?? 0) + 1);
    const concerns = (target: { readonly verb: StoreVerb | "every" }) =>
      target.verb === verb || target.verb === "every";
    const gates = this.#gates.filter(concerns);
    for (const gate of gates) gate.arrive();
    await Promise.all(gates.map((gate) => gate.opened));
    const fault = this.#faults.find(concerns);
    if (fault === undefined) return carryOut();
    if (--fault.times <= 0) this.#faults.splice(this.#faults.indexOf(fault), 1);
    if (fault.lost) await carryOut();
    throw fault.error;
  }
}
