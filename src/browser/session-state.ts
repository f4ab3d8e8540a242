import type { Clock, Duration, Instant } from "../session/clock.ts";
import { callAll } from "./platform.ts";

/**
 * `unknown` until the server has said so, and again for a moment when the page comes back from the browser's cache;
 * `expired` when there was a session and it ended without a logout.
 */
export type SessionStatus = "unknown" | "anonymous" | "signed-in" | "expired";

/** What is known of the session. The same object until something changes. */
export interface SessionSnapshot {
  readonly status: SessionStatus;
  readonly userId?: string | undefined;
  /** Set from `warnBefore` until the session ends: for want of activity, or whatever happens. */
  readonly ending?: { readonly reason: "idle" | "absolute"; readonly at: Instant } | undefined;
}

export interface SessionState {
  readonly get: () => SessionSnapshot;
  readonly subscribe: (listener: () => void) => () => void;
  /** The same as `get`. */
  readonly getSnapshot: () => SessionSnapshot;
  /** Always `unknown`. */
  readonly getServerSnapshot: () => SessionSnapshot;
}

/** When the session ends, by this machine's clock. */
export interface Deadlines {
  readonly idle: Instant;
  readonly absolute: Instant;
}

const UNKNOWN: SessionSnapshot = { status: "unknown" };
/** Timers of browsers do not go further than 24 days, and stand still while the machine sleeps. */
const LONGEST: Duration = 3_600_000;

export interface SessionWatch extends SessionState {
  /** When the session ends, as far as the server has said. */
  readonly deadlines: () => Deadlines | undefined;
  readonly set: (status: SessionStatus, userId?: string, deadlines?: Deadlines) => void;
  /** Looks at the clock. Call it when time may have passed unseen. */
  readonly look: () => void;
  readonly end: () => void;
}

/** Holds the snapshot, and changes it when a deadline draws near and when it has passed. */
export function watchSession(clock: Clock, warnBefore: Duration): SessionWatch {
  const listeners = new Set<() => void>();
  let snapshot = UNKNOWN;
  let deadlines: Deadlines | undefined;
  let cancel = () => {};

  const set: SessionWatch["set"] = (status, userId, until) => {
    cancel();
    deadlines = until;
    let ending: SessionSnapshot["ending"];
    if (status === "signed-in" && deadlines) {
      const { idle, absolute } = deadlines;
      const at = Math.min(idle, absolute);
      const left = at - clock.now();
      if (left <= 0) status = "expired";
      else {
        if (left <= warnBefore) ending = { reason: idle < absolute ? "idle" : "absolute", at };
        cancel = clock.schedule(look, Math.min(LONGEST, ending ? left : left - warnBefore));
      }
    }
    if (snapshot.status === status && snapshot.userId === userId && snapshot.ending?.at === ending?.at) return;
    snapshot = { status, userId, ending };
    callAll(listeners);
  };
  const look = () => set(snapshot.status, snapshot.userId, deadlines);
  const get = () => snapshot;

  return {
    set,
    look,
    deadlines: () => deadlines,
    get,
    getSnapshot: get,
    getServerSnapshot: () => UNKNOWN,
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    end() {
      cancel();
      listeners.clear();
    },
  };
}

/**
 * The deadlines of a `Session-Expires: idle=1799, absolute=43199` header. It says how many seconds are left, so it does not
 * matter what this machine's clock shows. `asked` is when the request was sent: rather a little early than too late.
 */
export function deadlinesOf(response: Response, asked: Instant): Deadlines | undefined {
  const header = response.headers.get("Session-Expires");
  if (!header) return undefined;
  const left = (name: string) => Number(new RegExp(`${name}=(\\d+)`).exec(header)?.[1] ?? Number.POSITIVE_INFINITY);
  return { idle: asked + left("idle") * 1000, absolute: asked + left("absolute") * 1000 };
}
