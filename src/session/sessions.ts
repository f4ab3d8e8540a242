import { type CrossSiteCheck, isSafeMethod } from "../csrf/fetch-metadata.ts";
import type { SessionStore } from "../stores/store.ts";
import { ServerSide } from "../strategies/server-side.ts";
import type { MakeStrategy } from "../strategies/strategy.ts";
import { CleanUp } from "./clean-up.ts";
import { ClientCopy, type Copied, type SessionCache } from "./client-copy.ts";
import { type Clock, type Duration, days, seconds, systemClock } from "./clock.ts";
import { jsonCodec } from "./codec.ts";
import { Connection } from "./connection.ts";
import type { SessionCore } from "./core.ts";
import { type CoatcheckError, CrossSiteRequestError, StoreUnavailableError } from "./errors.ts";
import {
  type SessionEvent,
  type SessionEventDetails,
  type SessionEventListener,
  SessionEvents,
  type SessionEventType,
} from "./events.ts";
import { Exchange } from "./exchange.ts";
import { judge, type Report } from "./judge.ts";
import { LifetimePolicy } from "./lifetime.ts";
import type { RouteOptions, SessionsSettings } from "./options.ts";
import type { RevocationFeed } from "./revocation-feed.ts";
import { RevocationWriter } from "./revocation-writer.ts";
import { DataSchema } from "./schema.ts";
import { Session, type SessionDataShape } from "./session.ts";
import { guardStore, guardWith } from "./store-guard.ts";
import type { Presented, RequestFacts, Transport } from "./transport.ts";
import { type EndTurn, Turns } from "./turns.ts";
import { type Beginning, UnitOfWork } from "./unit-of-work.ts";
import { Upgrade } from "./upgrade.ts";
import { type SessionsOfUser, UserSessions } from "./user-sessions.ts";

/** The sessions of one application. */
export class Sessions<Data extends object = SessionDataShape> {
  readonly #core: SessionCore;
  readonly #store: SessionStore | undefined;
  readonly #transport: Transport;
  readonly #cache: SessionCache | undefined;
  readonly #crossSite: CrossSiteCheck | undefined;
  readonly #turns: Turns | undefined;
  readonly #turnWait: Duration;
  readonly #leases: boolean;
  readonly #cleanUp: CleanUp | undefined;

  /** @internal Use `createSessions`. */
  constructor(
    settings: SessionsSettings<Data> & { readonly initial?: Data },
    transport: Transport,
    crossSite: CrossSiteCheck | undefined,
  ) {
    const { clock = systemClock, codec = jsonCodec, turns = {}, storeTimeout = seconds(2) } = settings;
    const needsStore = settings.strategy === undefined || settings.store !== undefined;
    if (needsStore && typeof settings.store?.read !== "function")
      throw new TypeError("createSessions needs a store, such as sqliteStore(path) of coatcheck/sqlite");
    assertWait("storeTimeout", storeTimeout);
    for (const option of ["cache", "sessionsPerUser", "upgradeFrom"] as const)
      if (settings.strategy !== undefined && settings[option] !== undefined)
        throw new TypeError(`${option} needs sessions that a store keeps: leave strategy out`);
    const { wait = seconds(5), acrossProcesses = true } = turns === false ? {} : turns;
    assertWait("turns.wait", wait);
    const { maxDataBytes = 65_536, onConflict } = settings;
    if (!(maxDataBytes > 0)) throw new TypeError("maxDataBytes must be a positive number");
    if (
      onConflict !== undefined &&
      typeof onConflict !== "function" &&
      onConflict !== "reject" &&
      onConflict !== "overwrite"
    )
      throw new TypeError('onConflict must be "reject", "overwrite" or a function');
    const initial = new Map<string, string>();
    for (const [key, value] of Object.entries(settings.initial ?? {})) {
      const text = value === undefined ? undefined : codec.stringify(value);
      if (text !== undefined) initial.set(key, text);
    }
    const events = new SessionEvents();
    const { upgradeFrom } = settings;
    if (upgradeFrom !== undefined && !transport.ambient)
      throw new TypeError("upgradeFrom needs a transport by cookie: the cross-site check protects the old cookie too");
    const lifetime = new LifetimePolicy(settings.lifetime, upgradeFrom?.grace);
    const store = settings.store && guardStore(settings.store, clock, storeTimeout, events);
    const revocations = new RevocationWriter(store?.revocations, clock, events, settings.revocation);
    const { strategy: makeStrategy = serverSide } = settings;
    const { carrier, maxToken } = transport;
    const feed = (life: Duration) => revocations.feed(life);
    const strategy = makeStrategy({ store, carrier, maxToken, clock, longestLife: lifetime.longest, feed });
    const { beside } = transport;
    if (settings.cache !== undefined && beside === undefined)
      throw new TypeError("cache needs the session in a cookie");
    this.#cache = beside && settings.cache?.({ clock, beside, feed: store?.revocations && feed });
    this.#store = store;
    const core = {
      strategy,
      clock,
      lifetime,
      format: { codec, initial, onConflict, maxBytes: maxDataBytes },
      schema: new DataSchema(settings),
      events,
      keepAtLogin: settings.keepAtLogin ?? true,
      users: new UserSessions(strategy.users, clock, lifetime, events, revocations, settings.sessionsPerUser),
      revocations,
      announceExpiry: settings.announceExpiry ?? false,
    };
    const upgrade =
      upgradeFrom &&
      settings.store &&
      new Upgrade(upgradeFrom, core, settings.store, guardWith(clock, storeTimeout, events));
    this.#core = { ...core, upgrade };
    this.#transport = transport;
    this.#crossSite = crossSite;
    this.#turns = turns === false ? undefined : new Turns(clock, wait);
    this.#turnWait = wait;
    this.#leases = acrossProcesses && settings.store?.release !== undefined;
    this.#cleanUp = store && new CleanUp(store, clock, events);
  }

  /**
   * Opens the session of a request: for those who write an adapter; applications use one of `coatcheck/express` and its
   * kin. Anything but one well-formed token of a living session makes an anonymous request, never an error.
   *
   * @throws CrossSiteRequestError, StoreUnavailableError, CookieHeaderTooLargeError, SessionDataError
   */
  async open(request: RequestFacts, route: RouteOptions = {}): Promise<Exchange<Data>> {
    const presented = this.#transport.read(request);
    // Frameworks that hand WebSocket upgrades to their handlers ask for them like any GET (row CS-11).
    const upgrade = request.header("upgrade")?.toLowerCase() === "websocket";
    if (route.crossSite !== "allow") this.#assertSameSite(request, presented, upgrade);
    return this.#open(request, route, presented, isSafeMethod(request.method) && !upgrade);
  }

  /**
   * Opens the session for a WebSocket upgrade, which no page of another site may ask for (row CS-11). The session can be
   * read; what is written to it is only kept by `session.commit()`.
   *
   * @throws the same as `open`
   */
  async openUpgrade(request: RequestFacts): Promise<Session<Data>> {
    const presented = this.#transport.read(request);
    this.#assertSameSite(request, presented, true);
    const exchange = await this.#open(request, { turns: false }, presented, false);
    exchange.responseChanges();
    return exchange.session;
  }

  /** The sessions of a user: list them, end one, end all. */
  forUser(userId: string): SessionsOfUser {
    return this.#core.users.of(userId);
  }

  /**
   * Ends every session of everybody; the number ended. With `upgradeFrom`, those of the other library too: rejects when that
   * cannot be done, and the native ones are ended all the same.
   */
  async revokeEveryone(): Promise<number> {
    try {
      await this.#core.upgrade?.endAll();
    } catch (error) {
      await this.#endNative();
      throw error;
    }
    return this.#endNative();
  }

  async #endNative(): Promise<number> {
    // A wrong count is no reason to leave anybody logged in.
    await this.#cleanUp?.forgetClaim().catch(() => {});
    return this.#core.users.revokeEveryone();
  }

  /**
   * @internal For what keeps records of its own among the sessions: refresh tokens.
   *
   * @throws TypeError when there is no store
   */
  records(): { readonly core: SessionCore; readonly store: SessionStore } {
    if (this.#store === undefined)
      throw new TypeError("These sessions have no store to keep refresh tokens in: add one");
    this.#cleanUp?.start();
    return { core: this.#core, store: this.#store };
  }

  /**
   * @internal The cross-site check, for what else comes in a cookie.
   *
   * @throws CrossSiteRequestError
   */
  assertSameSite(request: RequestFacts, transport: Transport, hasToken: boolean): void {
    this.#checkSite(request, transport, hasToken, false);
  }

  /**
   * The revocation feed, for whoever checks something without reading the store that must die with its session. From now on
   * every ending of a session is written to the store's log before it takes effect, and kept for at least `lifetime`
   * milliseconds: the longest that such a thing lives. There is one feed, however often it is asked for.
   *
   * @throws TypeError when the store keeps no revocations
   */
  revocationFeed(lifetime: Duration): RevocationFeed {
    return this.#core.revocations.feed(lifetime);
  }

  /** @internal The clock that all time is taken from. */
  get clock(): Clock {
    return this.#core.clock;
  }

  /** Listens to events of one type; the returned function stops it. What a listener throws is swallowed. */
  on<Type extends SessionEventType>(type: Type, listener: SessionEventListener<Type>): () => void {
    return this.#core.events.on(type, listener);
  }

  /** Removes expired records now; the number removed. It happens every five minutes by itself. */
  async cleanUp(): Promise<number> {
    return (await this.#cleanUp?.run()) ?? 0;
  }

  /** Stops the clean-up and the revocation feed, and closes the store, as far as the store opened anything itself. */
  async close(): Promise<void> {
    await Promise.all([this.#cleanUp?.stop(), this.#core.revocations.stop()]);
    await this.#store?.close?.();
  }

  async #open(
    request: RequestFacts,
    route: RouteOptions,
    presented: Presented,
    mayUseCopy: boolean,
  ): Promise<Exchange<Data>> {
    this.#cleanUp?.start();
    const opening = this.#opening(request, route, mayUseCopy);
    const exchange = await this.#openToken(opening, presented);
    const { session } = exchange;
    if (this.#core.upgrade === undefined || presented.kind === "duplicate") return exchange;
    return session.isNew && !session.readOnly ? this.#openOld(opening, exchange) : exchange;
  }

  /** What all attempts to open a session for one request have in common. */
  #opening(request: RequestFacts, route: RouteOptions, mayUseCopy: boolean): Opening<Data> {
    const connection = new Connection(request, this.#transport);
    const now = this.#core.clock.now();
    return {
      request,
      route,
      mayUseCopy,
      connection,
      report: (type, details, facts) => this.#emit(connection, type, details, facts),
      begin: (beginning, refusal, endTurn, copied) => {
        const { passive = false } = route;
        const recordAt = copied?.recordAt ?? now;
        const work = new UnitOfWork(this.#core, connection, beginning, { passive, recordAt, refusal });
        const copy = this.#cache && new ClientCopy(this.#cache, request, work, copied !== undefined);
        return new Exchange(new Session<Data>(work), request, this.#transport, endTurn, copy);
      },
    };
  }

  /** Opens the session that another library's cookie has become or becomes now. `anonymous` if there is none. */
  async #openOld(opening: Opening<Data>, anonymous: Exchange<Data>): Promise<Exchange<Data>> {
    const upgrade = this.#core.upgrade as Upgrade;
    const { request, route, connection, report, begin } = opening;
    const ticket = upgrade.present(request);
    if (ticket === undefined) return anonymous;
    anonymous.end();
    connection.assertSecure();
    let token: string | undefined;
    try {
      token = await upgrade.tokenFor(ticket, connection, report);
    } catch (error) {
      if (error instanceof StoreUnavailableError && route.storeDown === "anonymous")
        return begin(ANONYMOUS, error, noTurn);
      throw error;
    }
    const exchange = token === undefined ? anonymous : await this.#openToken(opening, { kind: "token", text: token });
    const { session } = exchange;
    if (session.readOnly) return exchange;
    if (token === undefined || session.isNew) session.clearOldCookie();
    else session.handOver(token);
    return exchange;
  }

  async #openToken(opening: Opening<Data>, presented: Presented): Promise<Exchange<Data>> {
    const { request, route, mayUseCopy, report, begin } = opening;
    const text = presented.kind === "token" ? presented.text : undefined;
    if (text === undefined || !this.#core.strategy.wellFormed(text)) {
      const exchange = begin(ANONYMOUS, undefined, noTurn);
      if (presented.kind === "duplicate") {
        report("duplicateCookie", {});
        exchange.session.clearAtClient();
      } else if (text !== undefined) report("malformedToken", {});
      return exchange;
    }

    const { strategy } = this.#core;
    const mayTakeTurn = this.#turns !== undefined && route.turns !== false && !isSafeMethod(request.method);
    const takesTurn = mayTakeTurn && strategy.takesTurns(text);
    const endTurn = takesTurn ? await this.#turns.take(text, () => report("turnTimedOut", {})) : noTurn;
    try {
      const leaseFor = takesTurn && this.#leases ? this.#turnWait : undefined;
      const copied = mayUseCopy ? await this.#copied(request, text) : undefined;
      const { beginning, refusal } = await judge(this.#core, text, report, leaseFor, copied?.opened);
      return begin(beginning, refusal, endTurn, copied);
    } catch (error) {
      if (error instanceof StoreUnavailableError && route.storeDown === "anonymous")
        return begin(ANONYMOUS, error, endTurn);
      endTurn();
      throw error;
    }
  }

  /** The client's copy of the session, unless the store may know better. */
  async #copied(request: RequestFacts, text: string): Promise<Copied | undefined> {
    const copied = await this.#cache?.find(request, text);
    const { lifetime, clock } = this.#core;
    const counts = copied !== undefined && lifetime.expired(copied.opened.record, clock.now()) === undefined;
    return counts ? copied : undefined;
  }

  #assertSameSite(request: RequestFacts, presented: Presented, upgrade: boolean): void {
    const hasToken = presented.kind !== "none" || this.#core.upgrade?.present(request) !== undefined;
    this.#checkSite(request, this.#transport, hasToken, upgrade);
  }

  #checkSite(request: RequestFacts, transport: Transport, hasToken: boolean, upgrade: boolean): void {
    if (this.#crossSite === undefined || !transport.ambient) return;
    try {
      if (upgrade) this.#crossSite.assertUpgradeAllowed(request, hasToken);
      else this.#crossSite.assertAllowed(request, hasToken);
    } catch (error) {
      if (error instanceof CrossSiteRequestError)
        this.#emit(new Connection(request, transport), "csrfRejected", { reason: error.reason });
      throw error;
    }
  }

  #emit<Type extends SessionEventType>(
    connection: Connection,
    type: Type,
    details: SessionEventDetails[Type],
    facts?: object,
  ): void {
    const { events, clock } = this.#core;
    if (!events.heard(type)) return;
    const common = { at: clock.now(), device: connection.device, ...facts };
    events.emit({ type, ...common, ...(details as object) } as SessionEvent<Type>);
  }
}

/** One request whose session is being opened. */
interface Opening<Data extends object> {
  readonly request: RequestFacts;
  readonly route: RouteOptions;
  /** Whether the session may be opened from the client's copy. */
  readonly mayUseCopy: boolean;
  readonly connection: Connection;
  readonly report: Report;
  begin(beginning: Beginning, refusal: CoatcheckError | undefined, endTurn: EndTurn, copied?: Copied): Exchange<Data>;
}

/** Timers that are set to more than 2^31 ms go off at once. */
function assertWait(name: string, length: Duration): void {
  if (!(length > 0 && length <= days(1)))
    throw new TypeError(`${name} must be a positive number of milliseconds, at most a day`);
}

const serverSide: MakeStrategy = ({ store }) => new ServerSide(store as SessionStore);
const ANONYMOUS: Beginning = { kind: "anonymous" };
const noTurn: EndTurn = () => {};
