import {
  createSessions,
  type Exchange,
  headerTransport,
  type RequestFacts,
  type RouteOptions,
  type Session,
  type SessionEvent,
  type SessionEventType,
  type Sessions,
} from "coatcheck";
import { memoryStore } from "coatcheck/memory";
import { TestClock, UnreliableStore } from "coatcheck/testing";
import fc from "fast-check";
import type { SessionsSettings } from "../../src/session/options.ts";
import { parseToken, type SessionId } from "../../src/session/token.ts";
import type { SessionRecord, SessionStore } from "../../src/stores/store.ts";

/** The data of the visitors in these tests. */
export interface Visit {
  n?: number;
  theme?: string;
  cart?: string[];
  secret?: string;
  anything?: unknown;
}

export type VisitSession = Session<Visit>;

const EVENT_TYPES: Record<SessionEventType, true> = {
  created: true,
  upgraded: true,
  login: true,
  elevated: true,
  renewed: true,
  expired: true,
  logout: true,
  destroyed: true,
  revoked: true,
  limitReached: true,
  secretReused: true,
  unknownToken: true,
  malformedToken: true,
  duplicateCookie: true,
  csrfRejected: true,
  tokenRejected: true,
  refreshed: true,
  refreshReused: true,
  refreshRefused: true,
  conflict: true,
  lateWrite: true,
  turnTimedOut: true,
  corruptRecord: true,
  storeUnavailable: true,
  cleanedUp: true,
  revocationsBehind: true,
  revocationsCaughtUp: true,
};

export type Settings = Partial<SessionsSettings<Visit>>;

/** Sessions over a memory store that can be made to fail, with a clock that stands still and all events recorded. */
export function setUp(settings: Settings = {}) {
  const clock = (settings.clock as TestClock | undefined) ?? new TestClock();
  const inner = settings.store ?? memoryStore();
  const store = new UnreliableStore(inner);
  const sessions = createSessions<Visit>({ clock, transport: headerTransport(), ...settings, store });
  const events = recorded(sessions);
  return {
    clock,
    store,
    sessions,
    events,
    client: (token?: string) => new Client(sessions, token),
    /** What the store holds, read past everything that may fail. */
    stored: (id: string): Promise<SessionRecord | undefined> => inner.read(id as SessionId),
    types: () => events.map((event) => event.type),
  };
}

export function recorded<Data extends object>(sessions: Sessions<Data>): SessionEvent[] {
  const events: SessionEvent[] = [];
  for (const type of Object.keys(EVENT_TYPES) as SessionEventType[])
    sessions.on(type, (event) => void events.push(event as SessionEvent));
  return events;
}

export interface RequestOptions extends RouteOptions {
  readonly method?: string;
  readonly userAgent?: string;
  readonly ip?: string;
}

/** A client that keeps the token it is given and sends it along, through what an adapter does. */
export class Client {
  readonly #sessions: Sessions<Visit>;
  token: string | undefined;
  /** How often a response has changed the token. */
  changes = 0;

  constructor(sessions: Sessions<Visit>, token?: string) {
    this.#sessions = sessions;
    this.token = token;
  }

  /** Another client with the same token, such as a thief. */
  copy(): Client {
    return new Client(this.#sessions, this.token);
  }

  /** A whole request: opens, runs the handler, saves, takes the new token. Rejects with the error of the answer. */
  async request<Result>(
    handler: (session: VisitSession) => Result | Promise<Result>,
    options: RequestOptions = {},
  ): Promise<Result> {
    const open = await this.open(options);
    let result: Result;
    try {
      result = await handler(open.session);
    } catch (error) {
      open.answer();
      throw error;
    }
    await open.finish();
    return result;
  }

  /** A request that is still being handled. */
  async open({ method = "GET", userAgent, ip, ...route }: RequestOptions = {}): Promise<OpenRequest> {
    const headers: Record<string, string | undefined> = {
      authorization: this.token === undefined ? undefined : `Bearer ${this.token}`,
      "user-agent": userAgent,
    };
    const facts: RequestFacts = { method, header: (name) => headers[name], secure: true, host: "shop.example", ip };
    return new OpenRequest(await this.#sessions.open(facts, route), (token) => {
      this.changes++;
      this.token = token;
    });
  }
}

export class OpenRequest {
  readonly #exchange: Exchange<Visit>;
  readonly #take: (token: string | undefined) => void;

  constructor(exchange: Exchange<Visit>, take: (token: string | undefined) => void) {
    this.#exchange = exchange;
    this.#take = take;
  }

  get session(): VisitSession {
    return this.#exchange.session;
  }

  get exchange(): Exchange<Visit> {
    return this.#exchange;
  }

  /** Saves and answers; rejects when saving fails, and then the answer is an error. */
  async finish(): Promise<void> {
    try {
      if (this.#exchange.needsCommit) await this.#exchange.commit();
    } finally {
      this.answer();
    }
  }

  answer(): void {
    const sent = this.#exchange.responseChanges().headers.find(([name]) => name === "Session-Token");
    if (sent !== undefined) this.#take(sent[1] === "" ? undefined : sent[1]);
    this.#exchange.end();
  }
}

/** The id in a token. */
export function idOf(token: string | undefined): SessionId {
  const parsed = parseToken(token ?? "");
  if (parsed === undefined) throw new Error("the client has no token");
  return parsed.id;
}

/** Whether a token opens its session with all rights, without leaving a trace. */
export async function opens(sessions: Sessions<Visit>, token: string | undefined): Promise<boolean> {
  const client = new Client(sessions, token);
  const open = await client.open({ passive: true });
  const alive = !open.session.isNew;
  open.answer();
  return alive;
}

/** What becomes of promises: the values, and the reasons. */
export async function outcomes<T>(promises: Iterable<Promise<T>>): Promise<{ values: T[]; errors: unknown[] }> {
  const settled = await Promise.allSettled(promises);
  return {
    values: settled.flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value] : [])),
    errors: settled.flatMap((outcome) => (outcome.status === "rejected" ? [outcome.reason] : [])),
  };
}

/** Texts of any UTF-16, lone surrogates and NUL included. */
export const anyText = (maxLength = 30): fc.Arbitrary<string> =>
  fc.string({ unit: fc.nat({ max: 0xffff }).map((unit) => String.fromCharCode(unit)), maxLength });

export const times = <T>(count: number, make: (index: number) => T): T[] =>
  Array.from({ length: count }, (_, index) => make(index));

/** A store whose records live on, whatever the clock says. */
export function neverExpiring(store: SessionStore): SessionStore {
  return {
    create: (record) => store.create(record),
    read: (id) => store.read(id),
    update: (id, version, patch) => store.update(id, version, patch),
    touch: (id, seenAt, expiresAt) => store.touch(id, seenAt, expiresAt),
    remove: (id, userId) => store.remove(id, userId),
    listByUser: (userId) => store.listByUser(userId),
    removeByUser: (userId, except) => store.removeByUser(userId, except),
    removeAll: () => store.removeAll(),
    removeExpired: async () => 0,
    all: () => store.all(),
  };
}
