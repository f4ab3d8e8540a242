/**
 * Sessions for WebSockets, with the `ws` package.
 *
 * @module
 */
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { type Duration, days, seconds } from "../session/clock.ts";
import { SessionEndedError, StoreUnavailableError } from "../session/errors.ts";
import type { Session, SessionDataShape } from "../session/session.ts";
import type { Sessions } from "../session/sessions.ts";
import { errorAnswer, logFault } from "./error-answer.ts";
import { openUpgrade, type TrustProxy } from "./node.ts";

/** The close code of a socket whose session has ended. Log in again, or connect again with the new cookie. */
export const SESSION_ENDED = 4401;

/** The parts of a `WebSocket` of `ws` that are used here. */
export interface GuardedSocket {
  emit(event: string, ...args: unknown[]): boolean;
  once(event: string, listener: () => void): unknown;
  close(code: number, reason: string): void;
  pause(): void;
  resume(): void;
}

/** The parts of a `WebSocketServer` of `ws`, made with `noServer: true`. */
export interface UpgradingServer<Socket extends GuardedSocket> {
  handleUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer, done: (webSocket: Socket) => void): void;
  emit(event: string, ...args: unknown[]): boolean;
}

export interface WebSocketOptions<Data extends object = SessionDataShape> {
  readonly trustProxy?: TrustProxy;
  /** Who may connect; others are answered 401. Default: users who are logged in. */
  readonly admit?: (session: Session<Data>, request: IncomingMessage) => boolean | Promise<boolean>;
  /**
   * How often the store is asked whether the session is still there, in milliseconds. Default 30 seconds, at most a
   * day.
   */
  readonly recheckEvery?: Duration;
  /**
   * A message waits while the store is asked, if the last answer is this old, in milliseconds. Default 5 seconds;
   * `Infinity` for never.
   */
  readonly recheckOnMessage?: Duration;
  /** `false`: messages count as activity and keep the session alive, noted at the next check. Default true. */
  readonly passive?: boolean;
}

const guards = new WeakMap<object, { readonly sessions: unknown; readonly session: Session<never> }>();

/**
 * A listener for a server's `upgrade` event. It opens the session of each upgrade, refuses pages of other sites (403)
 * and who is not admitted (401), and emits `connection` of the WebSocket server for the rest. A socket is closed with
 * `SESSION_ENDED` when its session ends: at once when that happens in this process, else at the next check. So it is
 * when login, elevate or renew has replaced its token, at the next check. While the store is down, sockets stay open
 * until their session would have expired (1013).
 *
 * @throws TypeError for lengths of time that are not positive
 */
export function acceptWebSockets<Data extends object, Socket extends GuardedSocket>(
  sessions: Sessions<Data>,
  server: UpgradingServer<Socket>,
  options: WebSocketOptions<Data> = {},
): (request: IncomingMessage, socket: Duplex, head: Buffer) => void {
  const { admit = ({ userId }: Session<Data>) => userId !== undefined } = options;
  const { recheckEvery = seconds(30), recheckOnMessage = seconds(5), passive = true, ...upgrade } = options;
  if (!(recheckEvery > 0 && recheckEvery <= days(1)))
    throw new TypeError("recheckEvery must be a positive number of milliseconds, at most a day");
  if (!(recheckOnMessage > 0)) throw new TypeError("recheckOnMessage must be a positive number of milliseconds");
  const open = new Set<Guard>();
  let endings = 0;

  const ended = ({ sessionId, userId }: { readonly sessionId?: string; readonly userId?: string }, reason: string) => {
    endings++;
    for (const guard of open) {
      if (sessionId !== undefined) {
        if (guard.session.id === sessionId) guard.end(reason);
        // Which of the user's sessions have ended, the event does not say.
      } else if (userId === undefined || guard.session.userId === userId) void guard.checkAnew();
    }
  };
  sessions.on("logout", (event) => ended(event, "logged out"));
  sessions.on("destroyed", (event) => ended(event, "session ended"));
  sessions.on("revoked", (event) => ended(event, "session revoked"));
  sessions.on("expired", (event) => ended(event, "session expired"));

  async function accept(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const ignore = () => {};
    socket.on("error", ignore);
    const before = endings;
    let session: Session<Data>;
    try {
      session = await openUpgrade(sessions, request, upgrade);
      if (!(await admit(session, request))) return refuse(socket, 401, {}, JSON.stringify({ error: "Unauthorized." }));
    } catch (error) {
      logFault(error);
      const { status, headers, body } = errorAnswer(error);
      return refuse(socket, status, headers, body);
    }
    socket.off("error", ignore);
    if (socket.destroyed) return;
    server.handleUpgrade(request, socket, head, (webSocket) => {
      const guard = new Guard(session as never, webSocket, sessions.clock, { recheckEvery, recheckOnMessage, passive });
      guards.set(webSocket, { sessions, session: session as never });
      open.add(guard);
      webSocket.once("close", () => {
        open.delete(guard);
        guard.stop();
      });
      // Perhaps it ended between the read and now.
      if (endings !== before) void guard.check();
      server.emit("connection", webSocket, request);
    });
  }

  return (request, socket, head) => void accept(request, socket, head);
}

/**
 * The session of a socket, typed by its `sessions`. Its data is that of the last check, but for the keys that were
 * looked at; what is written to it is kept by `session.commit()`.
 *
 * @throws TypeError for a socket that `acceptWebSockets(sessions, …)` did not accept
 */
export function sessionOf<Data extends object>(sessions: Sessions<Data>, webSocket: object): Session<Data> {
  const guard = guards.get(webSocket);
  if (guard?.sessions !== sessions) throw new TypeError("sessionOf: acceptWebSockets did not accept this socket");
  return guard.session as unknown as Session<Data>;
}

/** Watches over one socket. */
class Guard {
  readonly session: Session<never>;
  readonly #socket: GuardedSocket;
  readonly #clock: Sessions["clock"];
  readonly #options: Required<Pick<WebSocketOptions, "recheckEvery" | "recheckOnMessage" | "passive">>;
  #checkedAt: number;
  #cancel: () => void = () => {};
  #checking: Promise<void> | undefined;
  #over = false;
  /** Whether a message has come since the last check. */
  #active = false;
  /** Events that wait for a check; `undefined` when none do. */
  #held: unknown[][] | undefined;
  readonly #emit: GuardedSocket["emit"];

  constructor(
    session: Session<never>,
    socket: GuardedSocket,
    clock: Sessions["clock"],
    options: Required<Pick<WebSocketOptions, "recheckEvery" | "recheckOnMessage" | "passive">>,
  ) {
    this.session = session;
    this.#socket = socket;
    this.#clock = clock;
    this.#options = options;
    this.#checkedAt = clock.now();
    this.#emit = socket.emit;
    socket.emit = (event, ...args) => this.#intercept(event, args);
    this.#schedule();
  }

  /** Asks the store; closes the socket when the session has ended. */
  check(): Promise<void> {
    this.#checking ??= this.#check().finally(() => {
      this.#checking = undefined;
    });
    return this.#checking;
  }

  /** The same after something has happened, before which a check that is under way may have read the store. */
  async checkAnew(): Promise<void> {
    await this.#checking;
    if (!this.#over) await this.check();
  }

  end(reason: string, code = SESSION_ENDED): void {
    if (this.#over) return;
    this.stop();
    this.#release();
    this.#socket.close(code, reason);
  }

  stop(): void {
    this.#over = true;
    this.#cancel();
  }

  async #check(): Promise<void> {
    const activity = this.#active && !this.#options.passive;
    this.#active = false;
    try {
      await this.session.reload({ activity });
      this.#checkedAt = this.#clock.now();
    } catch (error) {
      if (error instanceof SessionEndedError) return this.end(ENDED[error.reason]);
      if (!(error instanceof StoreUnavailableError)) {
        logFault(error);
        return this.end("session unreadable");
      }
      if (this.#clock.now() >= (this.session.expiresAt ?? Number.POSITIVE_INFINITY))
        return this.end("try again later", 1013);
    }
    if (!this.#over) this.#schedule();
  }

  #schedule(): void {
    this.#cancel();
    const now = this.#clock.now();
    const untilExpiry = (this.session.expiresAt ?? Number.POSITIVE_INFINITY) - now;
    const delay = untilExpiry > 0 ? Math.min(this.#options.recheckEvery, untilExpiry) : this.#options.recheckEvery;
    this.#cancel = this.#clock.schedule(() => void this.check(), delay);
  }

  #intercept(event: string, args: unknown[]): boolean {
    const ordered = event === "message" || event === "close";
    if (!ordered) return this.#emit.call(this.#socket, event, ...args);
    // What the client sends before it has heard that the session is over.
    if (this.#over) return event === "close" && this.#emit.call(this.#socket, event, ...args);
    if (this.#held !== undefined) {
      this.#held.push([event, ...args]);
      return true;
    }
    if (event === "message") this.#active = true;
    const due = event === "message" && this.#clock.now() - this.#checkedAt >= this.#options.recheckOnMessage;
    if (!due) return this.#emit.call(this.#socket, event, ...args);
    this.#held = [[event, ...args]];
    this.#socket.pause();
    this.check().then(() => this.#release());
    return true;
  }

  #release(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    this.#socket.resume();
    for (const [event, ...args] of held)
      if (!this.#over || event === "close") this.#emit.call(this.#socket, event as string, ...args);
  }
}

const ENDED = { gone: "session ended", expired: "session expired", rotated: "session renewed" } as const;

function refuse(socket: Duplex, status: number, headers: Readonly<Record<string, string>>, body: string): void {
  // HTTP servers leave sockets of upgrades open for what a client may still send.
  socket.once("finish", () => socket.destroy());
  const lines = Object.entries({ ...headers, Connection: "close", "Content-Length": String(body.length) });
  socket.end([`HTTP/1.1 ${status} `, ...lines.map((line) => line.join(": ")), "", body].join("\r\n"));
}
