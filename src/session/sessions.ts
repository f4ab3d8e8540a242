import { type CrossSiteCheck, isSafeMethod } from "../csrf/fetch-metadata.ts";
import type { SessionStore } from "../stores/store.ts";
import { ServerSide } from "../strategies/server-side.ts";
import type { Opened } from "../strategies/strategy.ts";
import { CleanUp } from "./clean-up.ts";
import { type Clock, type Duration, seconds, systemClock } from "./clock.ts";
import { type Codec, jsonCodec } from "./codec.ts";
import { type Connection, presentTexts, type SessionCore } from "./core.ts";
import { base64url, randomBytes } from "./crypto.ts";
import type { ConflictPolicy } from "./data.ts";
import { CorruptRecordError, CrossSiteRequestError, SessionEndedError, StoreUnavailableError } from "./errors.ts";
import {
  printable,
  type SessionEvent,
  type SessionEventDetails,
  type SessionEventListener,
  SessionEvents,
  type SessionEventType,
} from "./events.ts";
import { Exchange } from "./exchange.ts";
import { IN_FLIGHT, type LifetimeOptions, LifetimePolicy, type LifetimePreset } from "./lifetime.ts";
import type { DeviceFacts } from "./record.ts";
import { DataSchema, type SchemaOptions } from "./schema.ts";
import { type Beginning, Session, type SessionDataShape } from "./session.ts";
import { guardStore } from "./store-guard.ts";
import type { RequestFacts, Transport } from "./transport.ts";
import { type EndTurn, Turns } from "./turns.ts";
import { type SessionLimit, type SessionsOfUser, UserSessions } from "./user-sessions.ts";

/** What the sessions of an application are made of, apart from transport and CSRF. All have safe defaults but the store. */
export interface SessionsSettings<Data extends object> extends SchemaOptions<Data> {
  /** Where records are kept. */
  readonly store: SessionStore;
  /** Timeouts: a preset, or limits in milliseconds. Default 30 minutes idle, 12 hours absolute. */
  readonly lifetime?: LifetimeOptions | LifetimePreset;
  /** How values are written as text. Default JSON. */
  readonly codec?: Codec;
  /** What happens when two requests assign one key of one session at the same time. Default `"reject"`: HTTP 409. */
  readonly onConflict?: ConflictPolicy;
  /** Whether what an anonymous visitor gathered stays at login: all, none, or these keys. Default true. */
  readonly keepAtLogin?: boolean | readonly (keyof Data & string)[];
  /** How many sessions a user may have. Default no limit. */
  readonly sessionsPerUser?: SessionLimit;
  /** How unsafe requests of one session take turns; `false` for not at all. */
  readonly turns?: TurnsOptions | false;
  /** How long the store may take to answer, in milliseconds. Default 2000. */
  readonly storeTimeout?: Duration;
  /** Most bytes that the data of a session may take. Default 65536. */
  readonly maxDataBytes?: number;
  /** Default: the machine's. */
  readonly clock?: Clock;
}

/** Values that a session shows before they are set. Required when `Data` has keys that are not optional. */
export type InitialData<Data extends object> =
  Partial<Data> extends Data ? { readonly initial?: Data } : { readonly initial: Data };

export interface TurnsOptions {
  /** How long a request waits for its turn before it goes ahead without, in milliseconds. Default 5000. */
  readonly wait?: Duration;
  /** Whether turns hold across processes too, by a lease, in stores that grant leases. Default true. */
  readonly acrossProcesses?: boolean;
}

/** What a route may want otherwise than the rest. */
export interface RouteOptions {
  /** Requests of this route do not count as activity: polling, beacons (row LT-07). Default false. */
  readonly passive?: boolean;
  /** Whether unsafe requests of this route take turns. Default true. */
  readonly turns?: boolean;
  /** `"allow"` exempts the route from the cross-site check: webhooks with their own signature. Default `"refuse"`. */
  readonly crossSite?: "refuse" | "allow";
  /** When the store is down: answer 503, or go on without a session that can be written. Default `"refuse"`. */
  readonly storeDown?: "refuse" | "anonymous";
}

/** The sessions of one application. */
export class Sessions<Data extends object = SessionDataShape> {
  readonly #core: SessionCore;
  readonly #store: SessionStore;
  readonly #transport: Transport;
  readonly #crossSite: CrossSiteCheck | undefined;
  readonly #turns: Turns | undefined;
  readonly #turnWait: Duration;
  readonly #leases: boolean;
  readonly #cleanUp: CleanUp;

  /** @internal Use `createSessions`. */
  constructor(
    settings: SessionsSettings<Data> & { readonly initial?: Data },
    transport: Transport,
    crossSite: CrossSiteCheck | undefined,
  ) {
    const { clock = systemClock, codec = jsonCodec, turns = {}, storeTimeout = seconds(2) } = settings;
    if (typeof settings.store?.read !== "function")
      throw new TypeError("createSessions needs a store, such as sqliteStore(path) of coatcheck/sqlite");
    if (!(storeTimeout > 0)) throw new TypeError("storeTimeout must be a positive number of milliseconds");
    const { wait = seconds(5), acrossProcesses = true } = turns === false ? {} : turns;
    if (!(wait > 0)) throw new TypeError("turns.wait must be a positive number of milliseconds");
    const { maxDataBytes = 65_536, onConflict = "reject" } = settings;
    if (!(maxDataBytes > 0)) throw new TypeError("maxDataBytes must be a positive number");
    if (typeof onConflict !== "function" && onConflict !== "reject" && onConflict !== "overwrite")
      throw new TypeError('onConflict must be "reject", "overwrite" or a function');
    const initial = new Map<string, string>();
    for (const [key, value] of Object.entries(settings.initial ?? {})) {
      const text = value === undefined ? undefined : codec.stringify(value);
      if (text !== undefined) initial.set(key, text);
    }
    const events = new SessionEvents();
    const lifetime = new LifetimePolicy(settings.lifetime);
    const store = guardStore(settings.store, clock, storeTimeout, events);
    this.#store = store;
    this.#core = {
      strategy: new ServerSide(store),
      clock,
      lifetime,
      format: { codec, initial, onConflict, maxBytes: maxDataBytes },
      schema: new DataSchema(settings),
      events,
      keepAtLogin: settings.keepAtLogin ?? true,
      users: new UserSessions(store, clock, lifetime, events, settings.sessionsPerUser),
    };
    this.#transport = transport;
    this.#crossSite = crossSite;
    this.#turns = turns === false ? undefined : new Turns(clock, wait);
    this.#turnWait = wait;
    this.#leases = acrossProcesses && settings.store.release !== undefined;
    this.#cleanUp = new CleanUp(store, clock, events);
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
    if (route.crossSite !== "allow") this.#assertSameSite(request, presented.kind !== "none", upgrade);
    return this.#open(request, route, presented);
  }

  /**
   * Opens the session for a WebSocket upgrade, which no page of another site may ask for (row CS-11). The session can be
   * read; what is written to it is only kept by `session.commit()`.
   *
   * @throws the same as `open`
   */
  async openUpgrade(request: RequestFacts): Promise<Session<Data>> {
    const presented = this.#transport.read(request);
    this.#assertSameSite(request, presented.kind !== "none", true);
    const exchange = await this.#open(request, { turns: false }, presented);
    exchange.responseChanges();
    return exchange.session;
  }

  /** The sessions of a user: list them, end one, end all. */
  forUser(userId: string): SessionsOfUser {
    return this.#core.users.of(userId);
  }

  /** Ends every session of everybody; the number ended. */
  revokeEveryone(): Promise<number> {
    return this.#core.users.revokeEveryone();
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
  cleanUp(): Promise<number> {
    return this.#cleanUp.run();
  }

  /** Stops the clean-up and closes the store, as far as the store opened anything itself. */
  async close(): Promise<void> {
    await this.#cleanUp.stop();
    await this.#store.close?.();
  }

  async #open(
    request: RequestFacts,
    route: RouteOptions,
    presented: ReturnType<Transport["read"]>,
  ): Promise<Exchange<Data>> {
    this.#cleanUp.start();
    const connection = this.#connection(request);
    const begin = (beginning: Beginning, refusal?: SessionEndedError | StoreUnavailableError) =>
      new Session<Data>(this.#core, connection, beginning, { passive: route.passive ?? false, refusal });
    const exchange = (session: Session<Data>, endTurn: EndTurn) =>
      new Exchange(session, request, this.#transport, endTurn);

    const text = presented.kind === "token" ? presented.text : undefined;
    if (text === undefined || !this.#core.strategy.wellFormed(text)) {
      const session = begin({ kind: "anonymous" });
      if (presented.kind === "duplicate") {
        this.#emit(connection, "duplicateCookie", {});
        session.clearAtClient();
      } else if (text !== undefined) this.#emit(connection, "malformedToken", {});
      return exchange(session, noTurn);
    }

    const takesTurn = this.#turns !== undefined && route.turns !== false && !isSafeMethod(request.method);
    const endTurn = takesTurn ? await this.#turns.take(text, () => this.#emit(connection, "turnTimedOut", {})) : noTurn;
    try {
      const { beginning, refusal } = await this.#judge(text, connection, takesTurn && this.#leases);
      return exchange(begin(beginning, refusal), endTurn);
    } catch (error) {
      if (error instanceof StoreUnavailableError && route.storeDown === "anonymous")
        return exchange(begin({ kind: "anonymous" }, error), endTurn);
      endTurn();
      throw error;
    }
  }

  /** What a well-formed token is good for, now. */
  async #judge(
    text: string,
    connection: Connection,
    leased: boolean,
  ): Promise<{ beginning: Beginning; refusal?: SessionEndedError }> {
    const { strategy, lifetime, clock } = this.#core;
    const anonymous = { beginning: { kind: "anonymous" } } as const;
    try {
      const holder = leased ? base64url(randomBytes(9)) : undefined;
      const opened =
        holder === undefined ? await strategy.open(text) : await this.#openLeased(text, holder, connection);
      switch (opened.outcome) {
        case "malformed":
          return anonymous;
        case "unknown":
          this.#emit(connection, "unknownToken", { reason: opened.reason });
          return anonymous;
      }
      const { outcome, record } = opened;
      const now = clock.now();
      const facts = { sessionId: record.id, ...(record.userId === undefined ? undefined : { userId: record.userId }) };
      const reason = lifetime.expired(record, now);
      if (reason !== undefined) {
        this.#emit(connection, "expired", { reason }, facts);
        return anonymous;
      }
      if (outcome === "current") {
        const lease = record.lease?.holder === holder ? holder : undefined;
        return { beginning: { kind: "stored", ...opened, texts: await presentTexts(this.#core, record), lease } };
      }
      // The grace of a periodic renewal is for reading only; a security rotation has none (row RN-04).
      const refusal = new SessionEndedError("rotated");
      if (now < (record.meta.previousUntil ?? 0))
        return { beginning: { kind: "stored", ...opened, texts: await presentTexts(this.#core, record) }, refusal };
      const inFlight = now < record.meta.secretAt + IN_FLIGHT;
      this.#emit(connection, "secretReused", { reason: inFlight ? "in-flight" : "replayed" }, facts);
      // Were this a new visitor, their first write would overwrite the cookie that the rotation has just sent.
      if (inFlight)
        return {
          beginning: {
            kind: "superseded",
            record,
            texts: await presentTexts(this.#core, record),
            secret: opened.secret,
          },
          refusal,
        };
      return anonymous;
    } catch (error) {
      if (!(error instanceof CorruptRecordError)) throw error;
      this.#emit(connection, "corruptRecord", {});
      return anonymous;
    }
  }

  /** Opens a token with the session's lease, waiting while a request in another process has it. */
  async #openLeased(text: string, holder: string, connection: Connection): Promise<Opened> {
    const { strategy, clock } = this.#core;
    const deadline = clock.now() + this.#turnWait;
    for (;;) {
      const now = clock.now();
      const opened = await strategy.open(text, { holder, now, until: now + this.#turnWait });
      const lease = opened.outcome === "current" ? opened.record.lease : undefined;
      if (lease === undefined || lease.holder === holder) return opened;
      if (clock.now() >= deadline) {
        this.#emit(connection, "turnTimedOut", {});
        return opened;
      }
      const pause = LEASE_POLL * (1 + ((randomBytes(1)[0] as number) % 4));
      await new Promise<void>((resolve) => clock.schedule(resolve, pause));
    }
  }

  #assertSameSite(request: RequestFacts, hasToken: boolean, upgrade: boolean): void {
    if (this.#crossSite === undefined || !this.#transport.ambient) return;
    try {
      if (upgrade) this.#crossSite.assertUpgradeAllowed(request, hasToken);
      else this.#crossSite.assertAllowed(request, hasToken);
    } catch (error) {
      if (error instanceof CrossSiteRequestError)
        this.#emit(this.#connection(request), "csrfRejected", { reason: error.reason });
      throw error;
    }
  }

  #connection(request: RequestFacts): Connection {
    let device: DeviceFacts | undefined;
    return {
      get device() {
        device ??= deviceOf(request);
        return device;
      },
      assertSecure: () => this.#transport.assertSecure(request),
    };
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

/** The shortest pause before a lease that another process holds is asked for again; the longest is four times it. */
const LEASE_POLL: Duration = 4;

const noTurn: EndTurn = () => {};

function deviceOf(request: RequestFacts): DeviceFacts {
  const userAgent = request.header("user-agent");
  const ip = request.ip === undefined ? undefined : truncatedIp(request.ip);
  return {
    ...(userAgent === undefined ? undefined : { userAgent: printable(userAgent, 256) }),
    ...(ip === undefined ? undefined : { ip }),
  };
}

/** The network of an address: a /24 of IPv4, a /48 of IPv6. What is no address is left out. */
function truncatedIp(ip: string): string | undefined {
  const v4 = /^(?:::ffff:)?(\d{1,3}\.\d{1,3}\.\d{1,3})\.\d{1,3}$/i.exec(ip);
  if (v4 !== null) return `${v4[1]}.0`;
  if (!/^[0-9a-f:]{2,39}$/i.test(ip)) return undefined;
  const [head = "", tail] = ip.toLowerCase().split("::");
  const groups = head === "" ? [] : head.split(":");
  if (tail === undefined && groups.length !== 8) return undefined;
  return `${[...groups, "0", "0", "0"].slice(0, 3).join(":")}::`;
}
