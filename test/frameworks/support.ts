import type { Exchange, RequestFacts, SessionEvent, SessionEventType, Sessions } from "coatcheck";
import { memoryStore } from "coatcheck/memory";
import { TestClock, UnreliableStore } from "coatcheck/testing";

export { TestClock, UnreliableStore };

/** The data of the visitors in these tests. */
export interface Visit {
  n?: number;
  text?: string;
  cart?: string[];
  anything?: unknown;
}

/** A memory store that counts, holds and fails. */
export const watchedStore = (): UnreliableStore => new UnreliableStore(memoryStore());

/** Every kind of event. */
export const EVENTS = [
  "created",
  "upgraded",
  "login",
  "elevated",
  "renewed",
  "expired",
  "logout",
  "destroyed",
  "revoked",
  "limitReached",
  "secretReused",
  "unknownToken",
  "malformedToken",
  "duplicateCookie",
  "csrfRejected",
  "conflict",
  "lateWrite",
  "turnTimedOut",
  "corruptRecord",
  "storeUnavailable",
  "cleanedUp",
  "revocationsBehind",
  "revocationsCaughtUp",
] as const satisfies readonly SessionEventType[];

/** Collects all events of these sessions from now on. */
export function recorded<Data extends object>(sessions: Sessions<Data>): SessionEvent[] {
  const events: SessionEvent[] = [];
  for (const type of EVENTS) sessions.on(type, (event) => void events.push(event as SessionEvent));
  return events;
}

export interface Facts {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string | undefined>>;
  readonly secure?: boolean;
  readonly host?: string;
  readonly ip?: string;
}

/** A request as an adapter would describe it. Default: GET https://shop.example. */
export function facts({
  method = "GET",
  headers = {},
  secure = true,
  host = "shop.example",
  ip,
}: Facts = {}): RequestFacts {
  return { method, header: (name) => headers[name], secure, host, ip };
}

/** Opens a session, lets `handler` use it, saves it; the exchange's answer as name and value of a cookie, or its line. */
export async function visit<Data extends object>(
  sessions: Sessions<Data>,
  given: Facts = {},
  handler: (session: Exchange<Data>["session"]) => unknown = () => {},
): Promise<{ session: Exchange<Data>["session"]; line: string | undefined; cookie: string; token: string }> {
  const exchange = await sessions.open(facts(given));
  try {
    await handler(exchange.session);
    await exchange.commit();
    const line = exchange.responseChanges().cookies[0]?.line;
    const cookie = line?.split(";")[0] ?? "";
    return { session: exchange.session, line, cookie, token: cookie.slice(cookie.indexOf("=") + 1) };
  } finally {
    exchange.end();
  }
}

/** A handler that writes. */
export const sets =
  (n: number) =>
  (session: { readonly data: Visit }): void => {
    session.data.n = n;
  };

/** A promise that is settled from outside. */
export interface Deferred<T = void> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (error: unknown) => void;
}

export function deferred<T = void>(): Deferred<T> {
  let resolve: (value: T) => void = () => {};
  let reject: (error: unknown) => void = () => {};
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}
