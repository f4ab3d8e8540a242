import { type Clock, type Duration, type Instant, minutes, systemClock } from "../session/clock.ts";
import { type AccessToken, accessTokens } from "./access-token.ts";
import { wait } from "./locks.ts";
import { browser, type Channel, localArea, onPage, type PageEvent } from "./platform.ts";
import { retryDelay } from "./retry.ts";
import { type Deadlines, deadlinesOf, type SessionState, type SessionStatus, watchSession } from "./session-state.ts";
import { setStateUser, watchStateUser, wipeState } from "./state-user.ts";
import { EVERYBODY, nameOf } from "./user.ts";

/** Paths of the server's routes, seen from `baseUrl`. */
export interface ClientRoutes {
  /** `POST`, JSON. Default `/login`. */
  readonly login?: string;
  /** `POST`. Default `/logout`. */
  readonly logout?: string;
  /** `GET`: 200 with JSON that has a `userId`, or 401. Default `/profile`. */
  readonly profile?: string;
  /**
   * `POST`: 200 with `{ accessToken, expiresIn }`, the latter in seconds; 401, or OAuth's 400 `{ error: "invalid_grant" }`, when
   * there is no session. `login` then answers the same as the former. Default: none, the session is in a cookie.
   */
  readonly refresh?: string;
}

export interface ClientOptions {
  /** Requests go to this origin and to no other. Default: the page's. Of another one, cookies are sent along. */
  readonly baseUrl?: string | URL;
  readonly routes?: ClientRoutes;
  /** How long before its end the session says that it is `ending`, in milliseconds. Default 2 minutes. */
  readonly warnBefore?: Duration;
  /**
   * Whether the state of `localState` and its kin is this session's user's. Default true; `false` for a second client, whose
   * session is not the one that the pages show.
   */
  readonly ownsState?: boolean;
  /** Default: the machine's. */
  readonly clock?: Clock;
}

export interface Client {
  /** As `fetch`, with the session. @throws TypeError when the URL is not of `baseUrl`'s origin */
  readonly fetch: (input: string | URL | Request, init?: RequestInit) => Promise<Response>;
  readonly session: SessionState;
  /** Asks the server who is logged in, which counts as activity. Rejects when it cannot be reached; nothing changes then. */
  readonly check: () => Promise<void>;
  /** Sends what the login route asks for as JSON. The answer is the server's. */
  readonly login: (credentials: unknown) => Promise<Response>;
  /**
   * Forgets the user in all tabs, at once, and tells the server. Resolves with whether the server knows; when it could not be
   * reached it is told later, and until then no request carries the session.
   */
  readonly logout: () => Promise<boolean>;
  /** Stops listening to other tabs and to the page. */
  readonly [Symbol.dispose]: () => void;
}

/** What tabs tell each other. */
type Knowledge = readonly [
  status: SessionStatus,
  userId: string | undefined,
  deadlines: Deadlines | undefined,
  /** When the server was asked, or the user said so. */
  asOf: Instant,
  token?: AccessToken | undefined,
];
type News = { readonly token: AccessToken } | Knowledge;

const CSRF = "X-CSRF-Token";

/** A `fetch` that keeps the session: see `docs/browser.md` for what it does with each answer. */
export function createClient(options: ClientOptions = {}): Client {
  const { routes = {}, clock = systemClock, warnBefore = minutes(2), ownsState = true } = options;
  const base = new URL(options.baseUrl ?? "/", browser.location?.href ?? "http://localhost");
  const url = (name: keyof ClientRoutes) => new URL(routes[name] ?? `/${name}`, base);
  // What clients of one session share. Another server's tokens, and another session's logout, are not for this one.
  const name = `coatcheck session ${url("profile")}`;
  const logoutMark = nameOf(EVERYBODY, name);
  const session = watchSession(clock, warnBefore);
  let csrf = browser.document?.querySelector('meta[name="csrf-token"]')?.getAttribute("content");
  let logoutDue = false;
  let checking: Promise<void> | undefined;
  let known: Instant = 0;
  let channel: Channel | undefined;

  const tell = (news: News) => channel?.postMessage(news);

  /** Answers and other tabs' news cross: whether this is older than what is known, unless the clock was set back. */
  const isStale = (asOf: Instant) => asOf < known && known <= clock.now() + 1;

  const know = (...[status, userId, deadlines, asOf, token]: Knowledge) => {
    known = asOf;
    // One user's token, also one on its way, is not for the next.
    if (status !== "signed-in" || userId !== (session.get().userId ?? userId)) tokens.set(undefined);
    if (status === "signed-in" && token) tokens.set(token);
    session.set(status, userId, deadlines);
  };

  const learn = (
    status: SessionStatus,
    userId: string | undefined,
    deadlines: Deadlines | undefined,
    asOf: Instant,
  ) => {
    const knowledge = [status, userId, deadlines, asOf, tokens.get()] as const;
    know(...knowledge);
    // Not at news: the tab that tells has done it, and to write here what this one has not heard yet would undo a wipe.
    if (ownsState && (status !== "signed-in" || userId !== undefined))
      setStateUser(status === "signed-in" ? userId : undefined);
    tell(knowledge);
  };

  /** The server does not know this browser's session any more. */
  const over = (asOf: Instant) => {
    const { status, userId } = session.get();
    if (isStale(asOf)) return;
    if (status === "signed-in" || status === "expired") learn("expired", userId, undefined, asOf);
    else learn("anonymous", undefined, undefined, asOf);
  };

  const post = (name: keyof ClientRoutes, init?: RequestInit) => new Request(url(name), { method: "POST", ...init });

  /** One request, with what proves the session and its pages; hears what the answer says of them. */
  const send = async (request: Request, signal: AbortSignal = request.signal): Promise<Response> => {
    const headers = new Headers(request.headers);
    const token = tokens.get();
    if (token) headers.set("Authorization", `Bearer ${token.text}`);
    if (csrf && !/^(GET|HEAD|OPTIONS)$/.test(request.method)) headers.set(CSRF, csrf);
    const credentials = isLogoutDue() && request.url !== url("logout").href ? "omit" : "include";
    const asked = clock.now();
    const response = await fetch(new Request(request.clone(), { headers, credentials, signal }));
    csrf = response.headers.get(CSRF) ?? csrf;
    const deadlines = deadlinesOf(response, asked);
    const { status, userId } = session.get();
    if (deadlines && !isStale(asked) && (status === "signed-in" || status === "expired"))
      learn("signed-in", userId, deadlines, asked);
    return response;
  };

  const tokens = accessTokens(
    clock,
    name,
    (signal) => send(post("refresh"), signal),
    (token) => tell({ token }),
  );

  /** Gets a later token than this one; when there is none to be had, resolves with the answer that says why. */
  const renew = async (token: AccessToken | undefined) => {
    const asked = clock.now();
    const refusal = await tokens.refresh(token);
    if (refusal?.status === 401) over(asked);
    return refusal;
  };

  /** A request, sent again when that may help. `renewed` when no other token is to be asked for. */
  const repeating = async (request: Request, renewed = routes.refresh === undefined): Promise<Response> => {
    const old = tokens.get();
    if (!renewed && (old ? clock.now() >= old.expiresAt : session.get().status === "unknown")) {
      renewed = true;
      const refusal = await renew(old);
      if (refusal && refusal.status !== 401) return refusal;
    }
    for (let [retries, refused] = [0, false]; ; ) {
      const [token, sent] = [tokens.get(), csrf];
      const response = await send(request);
      if (response.status === 401 && !renewed) {
        renewed = true;
        const refusal = await renew(token);
        if (refusal) return refusal.status === 401 ? response : refusal;
      } else if (response.status === 403 && !refused && csrf !== sent && response.headers.has(CSRF)) {
        refused = true;
      } else {
        const delay = retryDelay(request, response, retries++);
        if (delay === undefined) return response;
        await wait(clock, delay);
      }
      await response.body?.cancel();
    }
  };

  const check = () => {
    checking ??= ask().finally(() => {
      checking = undefined;
    });
    return checking;
  };

  const ask = async (again = true): Promise<void> => {
    if (!(await finishLogout())) return;
    const asked = clock.now();
    const response = await repeating(new Request(url("profile")));
    const { userId } = response.ok ? ((await response.json()) as { userId?: unknown }) : {};
    // Somebody has logged in or out meanwhile.
    if (isStale(asked)) return again ? ask(false) : undefined;
    if (response.status === 401) over(asked);
    else if (response.ok)
      learn("signed-in", userId === undefined ? undefined : String(userId), deadlinesOf(response, asked), asked);
  };

  const isLogoutDue = () => {
    try {
      return logoutDue || localArea().getItem(logoutMark) !== null;
    } catch {
      return logoutDue;
    }
  };

  const setLogoutDue = (due: boolean) => {
    logoutDue = due;
    try {
      if (due) localArea().setItem(logoutMark, "");
      else localArea().removeItem(logoutMark);
    } catch {}
  };

  /** Tells the server of a logout that it does not know of yet. Whether there is none left. */
  const finishLogout = async (): Promise<boolean> => {
    if (!isLogoutDue()) return true;
    try {
      const { status } = await repeating(post("logout"), true);
      if (status < 500) setLogoutDue(false);
      return status < 500;
    } catch {
      return false;
    }
  };

  const onNews = ({ data }: { readonly data: News }) => {
    if ("token" in data) {
      if (session.get().status === "signed-in" || !isStale(data.token.issuedAt)) tokens.set(data.token);
    } else if (!isStale(data[3])) know(...data);
  };
  const quietly = () => void check().catch(() => {});
  const onShow = ({ persisted }: PageEvent) => {
    if (!persisted) return;
    know("unknown", undefined, undefined, clock.now());
    quietly();
  };
  const onOnline = () => void finishLogout();

  if (browser.document && browser.BroadcastChannel) {
    channel = new browser.BroadcastChannel(name);
    channel.onmessage = onNews;
  }
  session.subscribe(() => {
    // By the clock; nobody else has said so.
    if (session.get().status !== "expired" || !session.deadlines()) return;
    tokens.set(undefined);
    if (ownsState) setStateUser(undefined);
  });
  watchStateUser();
  onPage("pageshow", onShow);
  onPage("online", onOnline);
  onPage("focus", session.look);

  return {
    session,
    check,
    async fetch(input, init) {
      const request = new Request(typeof input === "string" ? new URL(input, base) : input, init);
      if (new URL(request.url).origin !== base.origin) throw new TypeError(`The client speaks to ${base.origin} only`);
      await finishLogout();
      const response = await repeating(request);
      // A 401 can have other reasons; the server knows whether the session is over.
      if (response.status === 401 && session.get().status === "signed-in") await check().catch(() => {});
      return response;
    },
    async login(credentials) {
      await finishLogout();
      setLogoutDue(false);
      const asked = clock.now();
      const headers = { "Content-Type": "application/json" };
      const response = await repeating(post("login", { headers, body: JSON.stringify(credentials) }), true);
      if (response.ok) {
        if (routes.refresh) await tokens.take(response.clone(), asked);
        await check();
      }
      return response;
    },
    async logout() {
      setLogoutDue(true);
      if (ownsState) wipeState(clock);
      // Later than a request of the same millisecond.
      learn("anonymous", undefined, undefined, clock.now() + 1);
      return finishLogout();
    },
    [Symbol.dispose]() {
      session.end();
      channel?.close();
      channel = undefined;
      for (const [type, listener] of [
        ["pageshow", onShow],
        ["online", onOnline],
        ["focus", session.look],
      ] as const)
        browser.removeEventListener?.(type, listener);
    },
  };
}
