import { checkCsrfToken, createCsrfToken } from "../csrf/token.ts";
import type { Updated } from "../strategies/strategy.ts";
import type { Duration, Instant } from "./clock.ts";
import { type Connection, patchAgainst, presentTexts, type SessionCore } from "./core.ts";
import { SessionData, utf8Length } from "./data.ts";
import {
  type CoatcheckError,
  CsrfTokenError,
  HeadersSentError,
  RecentAuthRequiredError,
  SessionConflictError,
  SessionEndedError,
  SessionLimitError,
  SessionTooLargeError,
  StoreUnavailableError,
} from "./errors.ts";
import type { SessionEvent, SessionEventDetails, SessionEventType } from "./events.ts";
import { IN_FLIGHT } from "./lifetime.ts";
import {
  applyPatch,
  type Flash,
  patchData,
  type SessionMeta,
  type SessionPatch,
  type SessionRecord,
} from "./record.ts";
import {
  hashSecret,
  newSecret,
  newSessionId,
  type SecretHash,
  type SessionId,
  type SessionSecret,
  sameHash,
} from "./token.ts";

/**
 * What `session.data` holds unless `createSessions` is given a type: anything. Declare the keys that you use once, and
 * `req.session` knows their types: `declare module "coatcheck" { interface SessionDataShape { cart: Line[] } }`.
 */
export interface SessionDataShape {
  // biome-ignore lint/suspicious/noExplicitAny: what nobody declared has no type
  [key: string]: any;
}

export interface LoginOptions {
  /** How the user proved who they are, as RFC 8176 values such as `"pwd"` or `"otp"`. Shown in the list of devices. */
  readonly methods?: readonly string[];
  /** "Remember me": the longer limits of `lifetime.remember`, and a cookie that survives the browser. Default false. */
  readonly remember?: boolean;
}

/** How a commit has to go about it. */
type State =
  /** Nothing changed: no write, no Set-Cookie. */
  | "untouched"
  /** Only the last activity is due to be written down. */
  | "touched"
  /** The data of an existing session changed. */
  | "changed"
  /** The client needs another token: the session is new, or its secret is due to be renewed. */
  | "replaced"
  /** The session was ended, which is written already; the client is told to forget its token. */
  | "destroyed";

/** What the response has to tell the client about its token. */
export type Outgoing = { readonly token: string; readonly lifetime: Duration | undefined } | "clear" | undefined;

type Texts = ReadonlyMap<string, string>;

/** What a commit writes. */
interface Change {
  readonly patch: SessionPatch;
  /** The data's texts afterwards, when this request's changes of them are part of the patch. */
  readonly texts?: Texts;
  /** How many of this request's flash messages are. */
  readonly flashes?: number;
}

/** A session for a user who could not be given the one that the request came with. */
interface NewLogin {
  readonly userId: string;
  readonly meta: Partial<SessionMeta>;
  /** Which keys the user takes along. */
  readonly keep: (key: string) => boolean;
  /** Texts that lie under those. */
  readonly under: Texts;
  /** Whether this request's flash messages go along: not those for another user. */
  readonly flashes: boolean;
}

/** What a session begins with, as `sessions.open` judged the token. */
export type Beginning =
  | { readonly kind: "anonymous" }
  | {
      readonly kind: "stored";
      readonly record: SessionRecord;
      readonly texts: Texts;
      readonly secret: SessionSecret;
      readonly secretHash: SecretHash;
      /** The holder under which this request has the session's lease. */
      readonly lease?: string | undefined;
    }
  /** The token was rotated out a moment ago, so another request of this visitor holds the session. */
  | {
      readonly kind: "superseded";
      readonly record: SessionRecord;
      readonly texts: Texts;
      /** The rotated-out one. */
      readonly secret: SessionSecret;
    };

const NO_TEXTS: Texts = new Map();
const everything = (): boolean => true;
const nothing = (): boolean => false;

/** How often a commit is tried again when other requests keep being first. */
const ATTEMPTS = 32;
const MAX_FLASH_BYTES = 8192;

/** One visitor's session, for the length of one request. */
export class Session<Data extends object = SessionDataShape> {
  readonly #core: SessionCore;
  readonly #connection: Connection;
  readonly #passive: boolean;
  #id: SessionId | undefined;
  #secret: SessionSecret | undefined;
  /** Hash of the secret that this request is entitled by. */
  #secretHash: SecretHash | undefined;
  #record: SessionRecord | undefined;
  #data: SessionData | undefined;
  #texts: Texts = NO_TEXTS;
  #flashes: Flash[] = [];
  /** A new session that has to be kept although it holds no data: something depends on its secret. */
  #needed = false;
  /** Why this request may not write. */
  #refusal: CoatcheckError | undefined;
  /** Where a rotated-out token led. Only a login by the same user may take its data over. */
  #superseded: Extract<Beginning, { kind: "superseded" }> | undefined;
  #lease: { readonly holder: string; readonly record: SessionRecord } | undefined;
  /** An update of the record as it was at `version` that may have been made or not. It must not be made twice. */
  #doubt: { readonly version: number; readonly error: StoreUnavailableError } | undefined;
  #outgoing: Outgoing;
  /** Activity has been written down or the secret renewed: once for a request, whether or not it came off. */
  #upkeepDone = false;
  #headSent = false;
  #work: Promise<void> | undefined;
  /** Whether the request came without a session that could be opened. */
  readonly isNew: boolean;

  /** @internal Sessions come from `sessions.open` and the adapters. */
  constructor(
    core: SessionCore,
    connection: Connection,
    beginning: Beginning,
    options: { readonly passive: boolean; readonly refusal?: CoatcheckError | undefined },
  ) {
    this.#core = core;
    this.#connection = connection;
    this.#passive = options.passive;
    this.#refusal = options.refusal;
    this.isNew = beginning.kind !== "stored";
    if (beginning.kind === "stored") {
      this.#id = beginning.record.id;
      this.#record = beginning.record;
      this.#secret = beginning.secret;
      this.#secretHash = beginning.secretHash;
      this.#texts = beginning.texts;
      if (beginning.lease !== undefined) this.#lease = { holder: beginning.lease, record: beginning.record };
    } else if (beginning.kind === "superseded") {
      this.#superseded = beginning;
    }
  }

  /** Public, stable name of the session. Safe to log; useless as a credential. */
  get id(): SessionId {
    this.#id ??= newSessionId();
    return this.#id;
  }

  /** The user who logged in, or `undefined` for an anonymous visitor. */
  get userId(): string | undefined {
    return this.#record?.userId;
  }

  get createdAt(): Instant {
    return this.#record?.createdAt ?? this.#core.clock.now();
  }

  /** Last activity that was written down. */
  get lastSeenAt(): Instant {
    return this.#record?.seenAt ?? this.#core.clock.now();
  }

  /** When the user last proved who they are. */
  get authenticatedAt(): Instant | undefined {
    return this.#record?.meta.authenticatedAt;
  }

  /** How they did, as given to `login` and `elevate`. */
  get methods(): readonly string[] {
    return this.#record?.meta.methods ?? [];
  }

  /** When the session ends if nothing more happens. */
  get expiresAt(): Instant | undefined {
    return this.#record?.expiresAt;
  }

  /**
   * Whether this request may not write, for a moment: its token was rotated out while it was on its way, or the store is
   * down and the route goes on all the same. What is changed is then answered with an error.
   */
  get readOnly(): boolean {
    return this.#refusal !== undefined;
  }

  /**
   * The application's data. Read, assign, mutate and delete as in any object; what changed is saved before the
   * response leaves. Values are written as JSON unless another codec is set.
   */
  get data(): Data {
    return this.#sessionData().view as Data;
  }

  /**
   * Changes one key so that no concurrent request's change to it is lost: when another request was first, `fn` runs
   * again on the new value. `fn` must depend on nothing but its argument; it returns the new value, or mutates the old.
   */
  // biome-ignore lint/suspicious/noConfusingVoidType: a function that only mutates has no result
  update<Key extends keyof Data & string>(key: Key, fn: (value: Data[Key]) => Data[Key] | void): Data[Key] {
    return this.#sessionData().update(key, fn as (value: unknown) => unknown) as Data[Key];
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
      this.#assertCanSend("login");
      if (this.#refusal instanceof StoreUnavailableError) throw this.#refusal;
      const { users } = this.#core;
      const wasAnonymous = this.#record?.userId === undefined && this.#superseded === undefined;
      if (!(await users.hasRoom(userId, this.#record?.userId === userId ? this.id : undefined)))
        throw this.#limitReached(userId);
      const authenticated = { methods: options.methods ?? [], remember: options.remember ?? false };
      if (this.#keepsAll(userId)) {
        // They proved who they are: if another request ended this session meanwhile, they get one of their own.
        if (!(await this.#loginInPlace(userId, authenticated))) await this.#loginAnew(userId, authenticated);
      } else {
        const left = this.#refusal === undefined ? this.#record : undefined;
        await this.#loginAnew(userId, authenticated);
        if (left !== undefined) await this.#core.strategy.remove(left);
      }
      if (!(await users.enforceLimit(this.#record as SessionRecord))) {
        // Racing logins agreed that this one is the surplus. What an anonymous visitor gathered goes on anonymously.
        if (wasAnonymous) this.#leave(everything, [...(this.#record?.meta.flashes ?? []), ...this.#flashes]);
        else this.#leave(nothing, []);
        throw this.#limitReached(userId);
      }
      this.#emit("login", {});
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
      await this.#rotate("elevate", (meta, now) => ({
        meta: {
          authenticatedAt: now,
          methods: [...new Set([...(meta.methods ?? []), ...(options.methods ?? [])])],
          device: this.#connection.device,
        },
      }));
      this.#emit("elevated", {});
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
      if (this.#record === undefined) return;
      await this.#rotate("renew");
      this.#emit("renewed", { reason: "requested" });
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
    this.#flashes.push({ kind, message });
  }

  /**
   * Takes the waiting messages, of one kind or of all. Of parallel requests exactly one gets each message. Written to the
   * store at once.
   */
  async takeFlash(kind?: string): Promise<Flash[]> {
    const wanted = (flash: Flash) => kind === undefined || flash.kind === kind;
    const taken: Flash[] = [];
    await this.#exclusively(async () => {
      if (this.#record?.meta.flashes?.some(wanted) && this.#refusal === undefined) {
        let stored: readonly Flash[] = [];
        await this.#update((record) => {
          stored = (record.meta.flashes ?? []).filter(wanted);
          const { flashes = [], ...meta } = record.meta;
          const left = flashes.filter((flash) => !wanted(flash));
          if (stored.length === 0) return undefined;
          return { patch: { meta: left.length === 0 ? meta : { ...meta, flashes: left } } };
        });
        taken.push(...stored);
      }
      taken.push(...this.#flashes.filter(wanted));
      this.#flashes = this.#flashes.filter((flash) => !wanted(flash));
    });
    return taken;
  }

  /**
   * A token for the hidden field `_csrf` of a form, or for the header `X-CSRF-Token`. Another text each time, bound to
   * the session's secret, so that a login makes older ones worthless. Makes a new session be kept.
   */
  async csrfToken(): Promise<string> {
    this.#secret ??= newSecret();
    if (this.#record === undefined && this.#refusal === undefined) this.#needed = true;
    return createCsrfToken(this.id, this.#secret);
  }

  /** @throws CsrfTokenError unless `token` came from `csrfToken()` of this session since its last login */
  async requireCsrfToken(token: unknown): Promise<void> {
    // A login form that is sent twice brings, the second time, what the first one rotated out.
    const { record, secret } = this.#superseded ?? { record: this.#record, secret: this.#secret };
    if (record === undefined || secret === undefined || !(await checkCsrfToken(record.id, secret, token))) {
      this.#emit("csrfRejected", { reason: "token" });
      throw new CsrfTokenError();
    }
  }

  /**
   * @param maxAge milliseconds; default `lifetime.recentAuth` (5 minutes)
   * @throws RecentAuthRequiredError unless the user authenticated less than `maxAge` ago
   */
  requireRecentAuth(maxAge: Duration = this.#core.lifetime.recentAuth): void {
    const at = this.authenticatedAt;
    if (this.userId === undefined || at === undefined || !(this.#core.clock.now() < at + maxAge))
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
    return this.#exclusively(() => this.#commit());
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
      if (this.#refusal !== undefined) throw this.#refusal;
      if (this.#record === undefined) return;
      const { strategy, lifetime, clock } = this.#core;
      const record = await strategy.reread(this.#record);
      if (record === undefined) throw new SessionEndedError("gone");
      if (lifetime.expired(record, clock.now()) !== undefined) throw new SessionEndedError("expired");
      if (!sameHash(record.secretHash, this.#secretHash as SecretHash)) {
        // A periodic renewal, unlike a rotation for security, says until when the old token may still be used.
        const { previousSecretHash, previousUntil } = record.meta;
        const renewed = previousUntil !== undefined && previousSecretHash !== undefined;
        if (!renewed || !sameHash(previousSecretHash, this.#secretHash as SecretHash))
          throw new SessionEndedError("rotated");
        this.#secretHash = record.secretHash;
      }
      this.#rebase(record, await presentTexts(this.#core, record));
      if (options.activity === true && lifetime.touchDue(record, clock.now())) await this.#touch();
    });
  }

  /** @internal The commit before the head of the response leaves, which ends the request's turn with the same write. */
  commitAtHead(): Promise<void> {
    return this.#exclusively(() => this.#commit(this.#lease?.holder));
  }

  /** @internal Ends the turn across processes, where no commit has done so. Nobody waits for it. */
  releaseLease(): void {
    if (this.#lease === undefined) return;
    const { record, holder } = this.#lease;
    this.#lease = undefined;
    // The guard has reported a failure, and the lease runs out by itself.
    this.#core.strategy.release(record, holder).catch(() => {});
  }

  toJSON(): object {
    return { id: this.id, isNew: this.isNew, userId: this.userId, createdAt: this.createdAt };
  }

  [Symbol.for("nodejs.util.inspect.custom")](): object {
    return { Session: this.toJSON() };
  }

  // ---- for the exchange ------------------------------------------------------------------------------------------

  /** @internal Whether `commit` has anything to do. */
  get needsCommit(): boolean {
    return this.#work !== undefined || (this.#state() !== "untouched" && this.#state() !== "destroyed");
  }

  /** @internal What the response has to say. */
  get outgoing(): Outgoing {
    return this.#outgoing;
  }

  /** @internal From now on no token can be sent any more. */
  headSent(): void {
    this.#headSent = true;
    this.#outgoing = undefined;
  }

  /** @internal The client brought something that is to be forgotten. */
  clearAtClient(): void {
    this.#outgoing = "clear";
  }

  // ---- how it is done --------------------------------------------------------------------------------------------

  #state(): State {
    const changed = this.#flashes.length > 0 || this.#data?.changed === true;
    if (this.#record === undefined) {
      if (changed || this.#needed) return "replaced";
      return this.#outgoing === "clear" ? "destroyed" : "untouched";
    }
    if (changed) return "changed";
    if (this.#passive || this.#upkeepDone || this.#refusal !== undefined) return "untouched";
    if (this.#renewalDue()) return "replaced";
    return this.#core.lifetime.touchDue(this.#record, this.#core.clock.now()) ? "touched" : "untouched";
  }

  async #commit(release?: string): Promise<void> {
    const state = this.#state();
    switch (state) {
      case "untouched":
      case "destroyed":
        return;
      case "touched":
        return this.#touch();
      case "changed":
        await this.#save(release);
        if (this.#renewalDue()) await this.#renewPeriodically();
        return;
      case "replaced":
        if (this.#record !== undefined) return this.#renewPeriodically();
        if (this.#refusal !== undefined) throw this.#refused(this.#refusal);
        return this.#create("commit");
      default:
        return state satisfies never;
    }
  }

  async #touch(): Promise<void> {
    this.#upkeepDone = true;
    const record = this.#record as SessionRecord;
    const now = this.#core.clock.now();
    // A slow handler: what has ended meanwhile stays ended.
    if (this.#core.lifetime.expired(record, now) !== undefined) return;
    try {
      const token = await this.#core.strategy.touch(record, now, this.#core.lifetime.deadline(record, now));
      if (token !== undefined) this.#send(token);
    } catch (error) {
      // Nothing of the visitor's is lost, so the answer need not fail; the guard has reported it.
      if (!(error instanceof StoreUnavailableError)) throw error;
    }
  }

  async #save(release: string | undefined): Promise<void> {
    const saved = await this.#update((record, texts) => {
      const change = this.#changes(record, texts);
      if (release === undefined || change === undefined) return change;
      return { ...change, patch: { ...change.patch, release } };
    });
    if (saved && release !== undefined) this.#lease = undefined;
  }

  #renewalDue(): boolean {
    if (this.#record === undefined || this.#headSent || this.#passive || this.#refusal !== undefined) return false;
    if (this.#upkeepDone) return false;
    return this.#core.lifetime.renewalDue(this.#record, this.#core.clock.now());
  }

  /** The secret is old enough to be changed. Of concurrent requests one wins, and the others need do nothing. */
  async #renewPeriodically(): Promise<void> {
    this.#upkeepDone = true;
    try {
      const rotated = await this.#rotate("renew", undefined, this.#core.clock.now() + IN_FLIGHT);
      if (rotated) this.#emit("renewed", { reason: "periodic" });
    } catch (error) {
      if (!(error instanceof SessionEndedError || error instanceof StoreUnavailableError)) throw error;
    }
  }

  /** Stores a new record and goes on as its session. When that fails, this session is as it was. */
  async #create(operation: string, login?: NewLogin): Promise<void> {
    this.#assertCanSend(operation);
    const { clock, lifetime, schema, strategy } = this.#core;
    const id = login === undefined ? this.id : newSessionId();
    const secret = (login === undefined ? this.#secret : undefined) ?? newSecret();
    const secretHash = await hashSecret(secret);
    const now = clock.now();
    const keep = login?.keep ?? everything;
    const flashed = this.#flashes.length;
    const flashes = login?.flashes === false ? [] : this.#flashes.slice();
    const meta: SessionMeta = {
      secretAt: now,
      device: this.#connection.device,
      ...login?.meta,
      ...(flashes.length === 0 ? undefined : { flashes: checkedFlashes(flashes) }),
      ...(schema.version === 0 ? undefined : { dataVersion: schema.version }),
    };
    const record: SessionRecord = {
      id,
      secretHash,
      version: 1,
      createdAt: now,
      seenAt: now,
      expiresAt: lifetime.deadline({ createdAt: now, meta }, now),
      ...(login === undefined ? undefined : { userId: login.userId }),
      meta,
      data: this.#sessionData().texts(keep, login?.under),
    };
    let token: string;
    try {
      token = await strategy.create(record, secret);
    } catch (error) {
      // The record may exist after all: never try the same id twice.
      if (login === undefined) {
        this.#id = undefined;
        this.#secret = undefined;
      }
      throw error;
    }
    this.#id = id;
    this.#record = record;
    this.#secret = secret;
    this.#secretHash = secretHash;
    this.#refusal = undefined;
    this.#superseded = undefined;
    this.#doubt = undefined;
    this.#needed = false;
    this.#flashes = login?.flashes === false ? [] : this.#flashes.slice(flashed);
    this.#sessionData().moveTo(record.data, keep);
    this.#send(token);
    this.#emit("created", {});
  }

  /** Whether the stored session can be given to the user with all that it holds. */
  #keepsAll(userId: string): boolean {
    if (this.#record === undefined || this.#refusal !== undefined) return false;
    const owner = this.#record.userId;
    return owner === undefined ? this.#core.keepAtLogin === true : owner === userId;
  }

  /** `false` when the session ended, or was given another secret, while the user was typing the password. */
  async #loginInPlace(userId: string, { methods, remember }: Required<LoginOptions>): Promise<boolean> {
    try {
      await this.#rotate("login", (_meta, now) => ({
        userId,
        meta: { authenticatedAt: now, methods, remember, device: this.#connection.device },
      }));
      return true;
    } catch (error) {
      if (error instanceof SessionEndedError) return false;
      throw error;
    }
  }

  #loginAnew(userId: string, { methods, remember }: Required<LoginOptions>): Promise<void> {
    const meta = { authenticatedAt: this.#core.clock.now(), methods, remember };
    // A double-clicked login: its first request rotated the secret away that the second one brings.
    if (this.#superseded?.record.userId === userId)
      return this.#create("login", { userId, meta, keep: everything, under: this.#superseded.texts, flashes: true });
    const flashes = this.userId === undefined || this.userId === userId;
    return this.#create("login", { userId, meta, keep: this.#keptByUser(userId), under: NO_TEXTS, flashes });
  }

  /** What a user may take over into a session of their own. */
  #keptByUser(userId: string): (key: string) => boolean {
    const owner = this.#record?.userId;
    if (owner !== undefined) return owner === userId ? everything : nothing;
    const { keepAtLogin } = this.#core;
    if (typeof keepAtLogin === "boolean") return keepAtLogin ? everything : nothing;
    return (key) => keepAtLogin.includes(key);
  }

  /** The session is over: these messages, and what `keep` lets through of its data, belong to a new, anonymous one. */
  #leave(keep: (key: string) => boolean, flashes: Flash[]): void {
    this.#sessionData().restart(keep);
    this.#flashes = flashes;
    this.#id = undefined;
    this.#secret = undefined;
    this.#secretHash = undefined;
    this.#record = undefined;
    this.#superseded = undefined;
    this.#refusal = undefined;
    this.#doubt = undefined;
    this.#needed = false;
    this.#outgoing = "clear";
  }

  #end(how: "logout" | "destroyed"): Promise<void> {
    return this.#exclusively(async () => {
      this.#assertCanSend(how === "logout" ? "logout" : "destroy", false);
      // A rotated-out token cannot end the session of which it was: better refused than taken for done.
      if (this.#refusal !== undefined && this.#record === undefined) throw this.#refused(this.#refusal);
      if (this.#record !== undefined) {
        await this.#core.strategy.remove(this.#record);
        this.#emit(how, {});
      }
      this.#leave(nothing, []);
    });
  }

  /**
   * Gives the session another secret, together with this request's changes and those of `change`, and hands it to the
   * client. With `graceUntil`, the periodic kind: the old secret may read until then.
   */
  async #rotate(
    operation: string,
    change?: (meta: SessionMeta, now: Instant) => { readonly userId?: string; readonly meta: Partial<SessionMeta> },
    graceUntil?: Instant,
  ): Promise<boolean> {
    this.#assertCanSend(operation);
    const secret = newSecret();
    const secretHash = await hashSecret(secret);
    const { clock, lifetime } = this.#core;
    return this.#update(
      (record, texts) => {
        const now = clock.now();
        // Another request has renewed it already.
        if (graceUntil !== undefined && !lifetime.renewalDue(record, now)) return undefined;
        const changes = this.#changes(record, texts);
        const { previousUntil: _, ...meta } = changes?.patch.meta ?? record.meta;
        const changed = change?.(meta, now);
        const rotated: SessionMeta = {
          ...meta,
          ...changed?.meta,
          secretAt: now,
          previousSecretHash: record.secretHash,
          ...(graceUntil === undefined ? undefined : { previousUntil: graceUntil }),
        };
        const expiresAt = lifetime.deadline({ createdAt: record.createdAt, meta: rotated }, now);
        const userId = changed?.userId ?? record.userId;
        return { ...changes, patch: { ...changes?.patch, userId, meta: rotated, secretHash, seenAt: now, expiresAt } };
      },
      { secret, secretHash },
    );
  }

  /** What this request changes in `record`, whose data is `texts`, or `undefined` when it changes nothing. */
  #changes(record: SessionRecord, texts: Texts): Change | undefined {
    const planned = this.#data?.plan(texts);
    const flashes = this.#flashes.length;
    if (planned === undefined && flashes === 0) return undefined;
    const { lifetime, schema, clock } = this.#core;
    const seenAt = Math.max(record.seenAt, clock.now());
    const migrated = planned !== undefined && schema.version !== (record.meta.dataVersion ?? 0);
    const meta: Partial<SessionMeta> = {
      ...(migrated ? { dataVersion: schema.version } : undefined),
      ...(flashes === 0 ? undefined : { flashes: checkedFlashes([...(record.meta.flashes ?? []), ...this.#flashes]) }),
    };
    const patch = {
      ...(planned === undefined ? undefined : patchAgainst(record, texts, planned)),
      ...(this.#passive ? undefined : { seenAt, expiresAt: lifetime.deadline(record, seenAt) }),
      ...(Object.keys(meta).length === 0 ? undefined : { meta: { ...record.meta, ...meta } }),
    };
    return { patch, texts: patchData(texts, planned ?? {}), flashes };
  }

  /**
   * Writes what `make` answers, whatever other requests do meanwhile: when one was first, `make` is asked again about
   * the newer record. Never writes to a session that has ended or whose secret was changed for security. `false` when
   * there was nothing to write.
   */
  async #update(
    make: (record: SessionRecord, texts: Texts) => Change | undefined,
    rotated?: { readonly secret: SessionSecret; readonly secretHash: SecretHash },
  ): Promise<boolean> {
    if (this.#refusal !== undefined) throw this.#refused(this.#refusal);
    const { clock, lifetime, strategy } = this.#core;
    const secret = rotated?.secret ?? (this.#secret as SessionSecret);
    let record = this.#record as SessionRecord;
    // A slow handler: perhaps another request has kept the session alive.
    if (lifetime.expired(record, clock.now()) !== undefined) record = await this.#reread(record);
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      if (this.#doubt !== undefined && this.#doubt.version !== record.version) throw this.#doubt.error;
      if (lifetime.expired(record, clock.now()) !== undefined) throw this.#late("expired");
      if (!this.#entitledTo(record)) throw this.#late("rotated");
      const texts = await presentTexts(this.#core, record);
      if (record !== this.#record) this.#rebase(record, texts);
      let change: Change | undefined;
      try {
        change = make(record, texts);
      } catch (error) {
        throw this.#reported(error);
      }
      if (change === undefined) return false;
      const { patch } = change;
      const updated = await this.#undoubted(record, () => strategy.update(record, patch, secret));
      if (updated.outcome === "missing") throw this.#late("gone");
      if (updated.outcome === "updated") {
        this.#adopt(applyPatch(record, patch), change);
        this.#secret = secret;
        if (rotated !== undefined) this.#secretHash = rotated.secretHash;
        if (updated.token !== undefined) this.#send(updated.token);
        return true;
      }
      record = await this.#reread(record);
    }
    throw this.#reported(new SessionConflictError([]));
  }

  #reported(error: unknown): unknown {
    if (error instanceof SessionConflictError) this.#emit("conflict", { keys: error.keys });
    return error;
  }

  /**
   * An update whose answer is lost may have been made. It can be tried again on the same version, where it succeeds only
   * if it was not; on any later one it might be made twice.
   */
  async #undoubted(record: SessionRecord, update: () => Promise<Updated>): Promise<Updated> {
    try {
      const updated = await update();
      if (updated.outcome === "updated") this.#doubt = undefined;
      return updated;
    } catch (error) {
      if (error instanceof StoreUnavailableError) this.#doubt = { version: record.version, error };
      throw error;
    }
  }

  async #reread(record: SessionRecord): Promise<SessionRecord> {
    const fresh = await this.#core.strategy.reread(record);
    if (fresh === undefined) throw this.#late("gone");
    return fresh;
  }

  /** Whether the secret that this request came with still counts: nothing but a periodic renewal may have changed it. */
  #entitledTo(record: SessionRecord): boolean {
    const ours = this.#secretHash as SecretHash;
    if (sameHash(record.secretHash, ours)) return true;
    const { previousSecretHash, previousUntil = 0 } = record.meta;
    return (
      previousSecretHash !== undefined && sameHash(previousSecretHash, ours) && this.#core.clock.now() < previousUntil
    );
  }

  /** Another request was first. */
  #rebase(record: SessionRecord, texts: Texts): void {
    this.#record = record;
    if (this.#data === undefined) this.#texts = texts;
    else this.#data.adopt(texts);
  }

  #adopt(record: SessionRecord, { texts, flashes = 0 }: Change): void {
    this.#record = record;
    this.#flashes = this.#flashes.slice(flashes);
    if (texts === undefined) return;
    if (this.#data === undefined) this.#texts = texts;
    else this.#data.settle(texts);
  }

  #send(token: string): void {
    const { lifetime, clock } = this.#core;
    const record = this.#record as SessionRecord;
    const kept = record.meta.remember ? lifetime.absoluteDeadline(record) - clock.now() : undefined;
    this.#outgoing = { token, lifetime: kept };
  }

  #sessionData(): SessionData {
    this.#data ??= new SessionData(this.#core.format, this.#texts);
    return this.#data;
  }

  #assertCanSend(operation: string, secure = true): void {
    if (this.#headSent) throw new HeadersSentError(operation);
    if (secure) this.#connection.assertSecure();
  }

  #late(reason: "gone" | "expired" | "rotated"): SessionEndedError {
    this.#emit("lateWrite", { reason });
    return new SessionEndedError(reason);
  }

  #refused(refusal: CoatcheckError): CoatcheckError {
    return refusal instanceof SessionEndedError ? this.#late(refusal.reason) : refusal;
  }

  #limitReached(userId: string): SessionLimitError {
    this.#core.events.emit({ type: "limitReached", at: this.#core.clock.now(), userId });
    return new SessionLimitError(this.#core.users.max);
  }

  #emit<Type extends SessionEventType>(type: Type, details: SessionEventDetails[Type]): void {
    const { events, clock } = this.#core;
    if (!events.heard(type)) return;
    const facts = { sessionId: this.#id, userId: this.userId, device: this.#connection.device };
    events.emit({ type, at: clock.now(), ...facts, ...(details as object) } as SessionEvent<Type>);
  }

  /** One after the other: a handler may forget to await what the end of the response then waits for. */
  #exclusively<Result>(work: () => Promise<Result>): Promise<Result> {
    const running = this.#work === undefined ? work() : this.#work.then(work);
    const done = () => {
      if (this.#work === settled) this.#work = undefined;
    };
    const settled: Promise<void> = running.then(done, done);
    this.#work = settled;
    return running;
  }
}

/** @throws SessionTooLargeError */
function checkedFlashes(flashes: readonly Flash[]): readonly Flash[] {
  const bytes = utf8Length(JSON.stringify(flashes));
  if (bytes <= MAX_FLASH_BYTES) return flashes;
  if (flashes.length === 1) throw new SessionTooLargeError(bytes, MAX_FLASH_BYTES);
  // Messages that no page ever takes must not stop those that follow.
  return checkedFlashes(flashes.slice(1));
}
