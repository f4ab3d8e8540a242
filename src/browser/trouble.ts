import { callAll } from "./platform.ts";

/**
 * Why a value could not be kept or read as it should:
 * `refused`: the browser does not store it: blocked, or full even without what has expired; `error` says which;
 * `invalid`: what is stored is no value of this state; `newer`: a later version of the application has written it;
 * `secret`: it looks like a token or a password.
 */
export type TroubleReason = "refused" | "invalid" | "newer" | "secret";

/** State that degraded. A value that could not be stored is kept in memory, one that could not be read is the initial one. */
export interface Trouble {
  readonly key: string;
  readonly reason: TroubleReason;
  /** What the browser, the codec or the migration threw. */
  readonly error?: unknown;
}

type Listener = (trouble: Trouble) => void;

const listeners = new Set<Listener>();

/** Listens to the troubles of all states; the returned function stops it. */
export function onTrouble(listener: Listener): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function report(trouble: Trouble): void {
  callAll(listeners, trouble);
}
