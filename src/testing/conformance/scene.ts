import { minutes } from "../../session/clock.ts";
import { base64url, randomBytes } from "../../session/crypto.ts";
import type { SessionRecord } from "../../session/record.ts";
import { newSessionId, type SecretHash, type SessionId } from "../../session/token.ts";
import type { SessionStore } from "../../stores/store.ts";

/** What a store may lack if its author says why. */
export type StoreCapability =
  /** It grants leases: it has `release`. */
  | "leases"
  /** A second store on the same data can be opened: `reopen`. */
  | "reopen"
  /** A stored record can be spoiled from outside: `corrupt`. */
  | "corrupt"
  /** It keeps revocations: it has `revocations`. */
  | "revocations"
  /** It removes expired records when asked to, and not only by a time-to-live of its own. */
  | "removeExpired";

/** What a case has to work with. */
export interface Scene {
  readonly store: SessionStore;
  /** Another store on the same data. */
  reopen(): Promise<SessionStore>;
  /** Spoils a stored record. */
  corrupt(id: SessionId): Promise<void>;
}

/** One promise of the contract, as a test. */
export interface Case {
  readonly name: string;
  readonly needs?: readonly StoreCapability[];
  run(scene: Scene): Promise<void>;
}

/** The present of all cases. Far in the future, so that a store's own time-to-live removes nothing meanwhile. */
export const NOW = Date.UTC(2100, 0, 1);

/** A record that is valid at `NOW` for 30 minutes, has no user and no data, unless told otherwise. */
export function newRecord(changes: Partial<SessionRecord> = {}): SessionRecord {
  return {
    id: newSessionId(),
    secretHash: newHash(),
    version: 1,
    createdAt: NOW,
    seenAt: NOW,
    expiresAt: NOW + minutes(30),
    meta: { secretAt: NOW },
    data: new Map(),
    ...changes,
  };
}

/** Such a record, created in a store. */
export async function createdIn(store: SessionStore, changes: Partial<SessionRecord> = {}): Promise<SessionRecord> {
  const record = newRecord(changes);
  await store.create(record);
  return record;
}

/** The same cases for stores that have a capability. */
export const needing = (capability: StoreCapability, cases: readonly Case[]): Case[] =>
  cases.map((tested) => ({ ...tested, needs: [capability, ...(tested.needs ?? [])] }));

export const newHash = (): SecretHash => base64url(randomBytes(32)) as SecretHash;

/** The numbers from 0 to `count - 1`. */
export const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

/** A race as two cases: on one store, and on two stores that share their data. */
export function race(name: string, run: (stores: readonly [SessionStore, SessionStore]) => Promise<void>): Case[] {
  return [
    { name, run: ({ store }) => run([store, store]) },
    {
      name: `${name}, across two stores on the same data`,
      needs: ["reopen"],
      run: async ({ store, reopen }) => run([store, await reopen()]),
    },
  ];
}
