import { checkCsrfToken, createCsrfToken } from "../csrf/token.ts";
import type { Duration, Instant } from "./clock.ts";
import { commit, needsCommit, touch } from "./commit.ts";
import { presentTexts } from "./core.ts";
import { CsrfTokenError, RecentAuthRequiredError, SessionEndedError } from "./errors.ts";
import { type LoginOptions, login } from "./login.ts";
import type { Flash } from "./record.ts";
import { newSecret, type SecretHash, type SessionId, sameHash } from "./token.ts";
import type { NamedCookie } from "./transport.ts";
import { nothing, type Outgoing, type UnitOfWork } from "./unit-of-work.ts";
import { endOld } from "./upgrade.ts";
import { end, rotate, update } from "./write.ts";

/**
 * What `session.data` holds unless `createSessions` is given a type: anything. Declare the keys that you use once, and
 * `req.session` knows their types: `declare module "coatcheck" { interface SessionDataShape { cart: Line[] } }`.
 */
export interface SessionDataShape {
  // biome-ignore lint/suspicious/noExplicitAny: what nobody declared has no type
  [key: string]: any;
}

/** One visitor's session, for the length of one request. */
export class Session<Data extends object = SessionDataShape> {
  readonly #work: UnitOfWork;
  /** What is being written: one thing after the other. */
  #writing: Promise<void> | undefined;
  /** Whether the request came without a session that could be opened. */
  readonly isNew: boolean;

  /** @internal Sessions come from `sessions.open` and the adapters. */
  constructor(work: UnitOfWork) {
    this.#work = work;
    this.isNew = work.record === undefined;
  }

  /** Public, stable name of the session. Safe to log; useless as a credential. */
  get id(): SessionId {
    return this.#work.id;
  }

  /** The user who logged in, or `undefined` for an anonymous visitor. */
  get userId(): string | undefined {
    return this.#work.userId;
  }

  get createdAt(): Instant {
    return this.#work.record?.createdAt ?? this.#work.core.clock.now();
  }

  /** Last activity that was written down. */
  get lastSeenAt(): Instant {
    return this.#work.record?.seenAt ?? this.#work.core.clock.now();
  }

  /** When the user last proved who they are. */
  get authenticatedAt(): Instant | undefined {
    return this.#work.record?.meta.authenticatedAt;
  }

  /** How they did, as given to `login` and `elevate`. */
  get methods(): readonly string[] {
    return this.#work.record?.meta.methods ?? [];
  }

  /** @internal When the secret was issued. */
  get secretAt(): Instant | undefined {
    return this.#work.record?.meta.secretAt;
  }

  /** When the session ends if nothing more happens. */
  get expiresAt(): Instant | undefined {
    return this.#work.record?.expiresAt;
  }

  /** @internal Value of the `Session-Expires` header: seconds left without activity, and with it. */
  get announcement(): string | undefined {
    const { record, core } = this.#work;
    if (!core.announceExpiry || record?.userId === undefined) return undefined;
    const left = (deadline: Instant) => Math.max(0, Math.floor((deadline - core.clock.now()) / 1000));
    const absolute = core.lifetime.absoluteDeadline(record);
    const idle = record.expiresAt < absolute ? `idle=${left(record.expiresAt)}, ` : "";
    return `${idle}absolute=${left(absolute)}`;
  }

  /**
   * Whether this request may not write, for a moment: its token was rotated out while it was on its way, or the store is
   * down and the route goes on all the same. What is changed is then answered with an error.
   */
  get readOnly(): boolean {
    return this.#work.refusal !== undefined;
  }

  /**
   * The application's data. Read, assign, mutate and delete as in any object; what changed is saved before the
   * response leaves. Values are written as JSON unless another codec is set.
   */
  get data(): Data {
    this.#work.looked = true;
    return this.#work.data.view as Data;
  }

  /**
   * Changes one key so that no concurrent request's change to it is lost: when another request was first, `fn` runs
   * again on the new value. `fn` must depend on nothing but its argument; it returns the new value, or mutates the old.
   */
  // biome-ignore lint/suspicious/noConfusingVoidType: a function that only mutates has no result
  update<Key extends keyof Data & string>(key: Key, fn: (value: Data[Key]) => Data[Key] | void): Data[Key] {
    this.#work.looked = true;
    return this.#work.data.update(key, fn as (value: unknown) => unknown) as Data[Key];
  }

  /**
   * Attaches a user. In one step the secret changes, the old token dies, both timeouts restart and the session is
   * listed under the user (row RN-01). What an anonymous visitor gathered is kept as `keepAtLogin` says; what another
   * user had is not.
   *
   * @throws SessionLimitError, StoreUnavailableError, HeadersSentError, InsecureTransportError
   */
  login(userId: string, options: LoginOptions = {}): Promise<void> {
    return this.#exclusively(async () => {
      if (typeof userId !== "string" || userId === "" || userId.length > 256)
        throw new TypeError("login: userId must be a text of 1 to 256 characters");
      await login(this.#work, userId, options);
    });
  }

  /**
   * The user has authenticated again, or with a further factor (step-up): the secret changes, the old token dies, both
   * timeouts restart, `methods` are added.
   *
   * @throws TypeError when nobody is logged in; SessionEndedError, StoreUnavailableError, HeadersSentError
   */
  elevate(options: Pick<LoginOptions, "methods"> = {}): Promise<void> {
    return this.#exclusively(async () => {
      if (this.userId === undefined) throw new TypeError("elevate: nobody is logged in; use login");
      await rotate(this.#work, "elevate", (meta, now) => ({
        meta: {
          authenticatedAt: now,
          methods: [...new Set([...(meta.methods ?? []), ...(options.methods ?? [])])],
          device: this.#work.connection.device,
        },
      }));
      this.#work.emit("elevated", {});
    });
  }

  /**
   * Changes the secret and nothing else: for a change of role, password or second factor, and around impersonation. The
   * old token dies at once. Does nothing for a session that was never stored.
   *
   * @throws SessionEndedError, StoreUnavailableError, HeadersSentError
   */
  renew(): Promise<void> {
    return this.#exclusively(async () => {
      if (this.#work.record === undefined) return;
      await rotate(this.#work, "renew");
      this.#work.emit("renewed", { reason: "requested" });
    });
  }

  /**
   * Ends the session: the record is gone when this resolves, copied cookies are useless, and the client is told to
   * forget its token. Harmless without a session. What is written to `data` afterwards belongs to a new, anonymous one.
   *
   * @throws StoreUnavailableError when the store cannot delete: the session is then still alive
   */
  logout(): Promise<void> {
    return this.#end("logout");
  }

  /** The same as `logout`, for a session that is not ended by its user. */
  destroy(): Promise<void> {
    return this.#end("destroyed");
  }

  /** Keeps a message for the next page that takes it. */
  flash(kind: string, message: string): void {
    if (typeof kind !== "string" || typeof message !== "string")
      throw new TypeError("flash: kind and message are texts");
    this.#work.flashes.push({ kind, message });
  }

  /**
   * Takes the waiting messages, of one kind or of all. Of parallel requests exactly one gets each message. Written to the
   * store at once.
   */
  takeFlash(kind?: string): Promise<Flash[]> {
    const wanted = (flash: Flash) => kind === undefined || flash.kind === kind;
    return this.#exclusively(async () => {
      const work = this.#work;
      work.looked = true;
      let taken: readonly Flash[] = [];
      if (work.record?.meta.flashes?.some(wanted) && work.refusal === undefined) {
        await update(work, (record) => {
          const { flashes = [], ...meta } = record.meta;
          taken = flashes.filter(wanted);
          if (taken.length === 0) return undefined;
          const left = flashes.filter((flash) => !wanted(flash));
          return { patch: { meta: left.length === 0 ? meta : { ...meta, flashes: left } } };
        });
      }
      const own = work.flashes.filter(wanted);
      work.flashes = work.flashes.filter((flash) => !wanted(flash));
      return [...taken, ...own];
    });
  }

  /**
   * A token for the hidden field `_csrf` of a form, or for the header `X-CSRF-Token`. Another text each time, bound to
   * the session's secret, so that a login makes older ones worthless. Makes a new session be kept.
   */
  async csrfToken(): Promise<string> {
    const work = this.#work;
    work.looked = true;
    work.secret ??= newSecret();
    if (work.record === undefined && work.refusal === undefined) work.needed = true;
    return createCsrfToken(work.id, work.secret);
  }

  /** @throws CsrfTokenError unless `token` came from `csrfToken()` of this session since its last login */
  async requireCsrfToken(token: unknown): Promise<void> {
    // A login form that is sent twice brings, the second time, what the first one rotated out.
    const { record, secret } = this.#work.superseded ?? this.#work;
    if (record === undefined || secret === undefined || !(await checkCsrfToken(record.id, secret, token))) {
      this.#work.emit("csrfRejected", { reason: "token" });
      throw new CsrfTokenError();
    }
  }

  /**
   * @param maxAge milliseconds; default `lifetime.recentAuth` (5 minutes)
   * @throws RecentAuthRequiredError unless the user authenticated less than `maxAge` ago
   */
  requireRecentAuth(maxAge: Duration = this.#work.core.lifetime.recentAuth): void {
    const at = this.authenticatedAt;
    if (this.userId === undefined || at === undefined || !(this.#work.core.clock.now() < at + maxAge))
      throw new RecentAuthRequiredError();
  }

  /**
   * Saves what changed. The adapters call this before the first byte of the response leaves; call it yourself only
   * to save earlier.
   *
   * @throws SessionConflictError, SessionEndedError, SessionTooLargeError, StoreUnavailableError; TypeError for a value
   *   that cannot be written as text
   */
  commit(): Promise<void> {
    return this.#exclusively(() => commit(this.#work));
  }

  /**
   * Reads the session again, for a connection that outlives its request: `data` is then up to date but for the keys that
   * were looked at. One store read; nothing for a session that was never stored. It is no activity unless `activity` is
   * true (default false).
   *
   * @throws SessionEndedError when the session has ended, or when its token was replaced by login, elevate or renew;
   *   StoreUnavailableError
   */
  reload(options: { readonly activity?: boolean } = {}): Promise<void> {
    return this.#exclusively(async () => {
      const work = this.#work;
      if (work.refusal !== undefined) throw work.refusal;
      if (work.record === undefined) return;
      const { strategy, lifetime, clock } = work.core;
      const record = await strategy.reread(work.record);
      if (record === undefined) throw new SessionEndedError("gone");
      if (lifetime.expired(record, clock.now()) !== undefined) throw new SessionEndedError("expired");
      const ours = work.secretHash as SecretHash;
      if (!sameHash(record.secretHash, ours)) {
        // A periodic renewal, unlike a rotation for security, says until when the old token may still be used.
        const { previousSecretHash, previousUntil } = record.meta;
        const renewed = previousUntil !== undefined && previousSecretHash !== undefined;
        if (!renewed || !sameHash(previousSecretHash, ours)) throw new SessionEndedError("rotated");
        work.secretHash = record.secretHash;
      }
      work.rebase(record, await presentTexts(work.core, record));
      if (options.activity === true && lifetime.touchDue(record, clock.now())) await touch(work);
    });
  }

  /** @internal The commit before the head of the response leaves, which ends the request's turn with the same write. */
  commitAtHead(): Promise<void> {
    return this.#exclusively(() => commit(this.#work, this.#work.lease?.holder));
  }

  /** @internal Ends the turn across processes, where no commit has done so. Nobody waits for it. */
  releaseLease(): void {
    if (this.#work.lease === undefined) return;
    const { record, holder } = this.#work.lease;
    this.#work.lease = undefined;
    // The guard has reported a failure, and the lease runs out by itself.
    this.#work.core.strategy.release(record, holder).catch(() => {});
  }

  toJSON(): object {
    return { id: this.id, isNew: this.isNew, userId: this.userId, createdAt: this.createdAt };
  }

  [Symbol.for("nodejs.util.inspect.custom")](): object {
    return { Session: this.toJSON() };
  }

  /** @internal Whether `commit` has anything to do. */
  get needsCommit(): boolean {
    return this.#writing !== undefined || needsCommit(this.#work);
  }

  /** @internal Whether the response is for this visitor alone. */
  get isPersonal(): boolean {
    return this.userId !== undefined || (this.#work.record !== undefined && this.#work.looked);
  }

  /** @internal What the response has to say. */
  get outgoing(): Outgoing {
    return this.#work.outgoing;
  }

  /** @internal What makes the client forget the cookie of another library. */
  get oldCookie(): NamedCookie | undefined {
    return this.#work.oldCookie;
  }

  /** @internal The session was opened by the cookie of another library: the client gets the token. */
  handOver(token: string): void {
    this.#work.unconfirmed = true;
    this.#work.send(token);
  }

  /** @internal The cookie of another library opens nothing any more. */
  clearOldCookie(): void {
    this.#work.clearOldCookie();
  }

  /** @internal From now on no token can be sent any more. */
  headSent(): void {
    this.#work.headSent = true;
    this.#work.outgoing = undefined;
  }

  /** @internal The client brought something that is to be forgotten. */
  clearAtClient(): void {
    this.#work.outgoing = "clear";
  }

  #end(how: "logout" | "destroyed"): Promise<void> {
    return this.#exclusively(async () => {
      const work = this.#work;
      work.assertHeadNotSent(how === "logout" ? "logout" : "destroy");
      // A rotated-out token cannot end the session of which it was: better refused than taken for done.
      if (work.refusal !== undefined && work.record === undefined) throw work.refused(work.refusal);
      if (work.record !== undefined) {
        await endOld(work);
        await end(work.core, work.record);
        work.emit(how, {});
      }
      work.leave(nothing, []);
    });
  }

  /** A handler may forget to await what the end of the response then waits for. */
  #exclusively<Result>(write: () => Promise<Result>): Promise<Result> {
    const running = this.#writing === undefined ? write() : this.#writing.then(write);
    const done = () => {
      if (this.#writing === settled) this.#writing = undefined;
    };
    const settled: Promise<void> = running.then(done, done);
    this.#writing = settled;
    return running;
  }
}
