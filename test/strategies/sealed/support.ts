import { createSessions, headerTransport, type SessionEvent, type Sessions } from "coatcheck";
import { memoryStore } from "coatcheck/memory";
import { type SealedOptions, sealed } from "coatcheck/sealed";
import { TestClock, UnreliableStore } from "coatcheck/testing";
import type { SessionsSettings } from "../../../src/session/options.ts";
import { Client, recorded, type Visit } from "../../session/support.ts";

/** Keys that are random enough, and the same each time. */
export const key = (seed: number): Uint8Array => Uint8Array.from({ length: 32 }, (_, i) => (i * 37 + seed * 101) % 256);
export const KEYS = [key(1)];

export interface Scene {
  readonly clock: TestClock;
  readonly store: UnreliableStore | undefined;
  readonly sessions: Sessions<Visit>;
  readonly events: SessionEvent[];
  client(token?: string): Client;
  /** The types of the events so far, with their reasons, and forgets them. */
  told(): string[];
}

type Settings = Partial<Omit<SessionsSettings<Visit>, "strategy">> &
  Partial<SealedOptions> & { readonly transport?: ReturnType<typeof headerTransport> };

/** Sealed sessions that travel in a header. */
export function setUpSealed({ keys = KEYS, spill, store, transport, ...settings }: Settings = {}): Scene {
  const clock = (settings.clock as TestClock | undefined) ?? new TestClock();
  const watched = store && new UnreliableStore(store);
  const sessions = createSessions<Visit>({
    clock,
    transport: transport ?? headerTransport(),
    ...settings,
    ...(watched && { store: watched }),
    strategy: sealed({ keys, ...(spill === undefined ? undefined : { spill }) }),
  });
  const events = recorded(sessions);
  return {
    clock,
    store: watched,
    sessions,
    events,
    client: (token) => new Client(sessions, token),
    told: () => events.splice(0).map((event) => ("reason" in event ? `${event.type}: ${event.reason}` : event.type)),
  };
}

/** The same with a store that keeps revocations. */
export const setUpRevocable = (settings: Settings = {}): Scene & { readonly store: UnreliableStore } =>
  setUpSealed({ store: memoryStore(), ...settings }) as Scene & { readonly store: UnreliableStore };
