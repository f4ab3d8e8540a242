import type { SessionRecord } from "../../src/stores/store.ts";
import type { Actor } from "./scheduler.ts";

/** Where a mark is left: lists that only grow, counters, a value that is replaced, messages that are taken once. */
export type Place = "log" | "list" | "n" | "m" | "reg" | "flash";

/** One write of a handler, told apart from all others. */
export interface Mark {
  readonly name: string;
  readonly place: Place;
  readonly by: Actor;
  /** Whether nobody was logged in when it was written. */
  readonly anonymous: boolean;
  /** The user whose write it is: known when it is written, or else when it is stored for the first time. */
  owner: string | undefined;
  /** The sessions in which the store has carried out a write that contains it. */
  readonly appliedIn: Set<string>;
  /** Whether the application was told that it is saved. */
  acknowledged: boolean;
  /** Whether it was given up on purpose: by a logout, or by what a login does not keep. */
  dropped: boolean;
  /** Whether it may be missing without anybody being told. */
  mayVanish: boolean;
  /** Whether nobody can know, because the store failed in the middle. */
  doubtful: boolean;
}

const parsed = (record: SessionRecord, key: string): unknown => {
  const text = record.data.get(key);
  return text === undefined ? undefined : JSON.parse(text);
};

/** The marks of a list in a record. */
export const listOf = (record: SessionRecord | undefined, place: "log" | "list"): string[] =>
  record === undefined ? [] : ((parsed(record, place) as string[] | undefined) ?? []);

export const counterOf = (record: SessionRecord | undefined, place: "n" | "m"): number =>
  record === undefined ? 0 : ((parsed(record, place) as number | undefined) ?? 0);

export const regOf = (record: SessionRecord | undefined): string | undefined =>
  record === undefined ? undefined : (parsed(record, "reg") as string | undefined);

export const flashesOf = (record: SessionRecord | undefined): string[] =>
  (record?.meta.flashes ?? []).map(({ message }) => message);

/** The names of all marks that a record holds. */
export function marksOf(record: SessionRecord): string[] {
  const reg = regOf(record);
  return [
    ...listOf(record, "log"),
    ...listOf(record, "list"),
    ...flashesOf(record),
    ...(reg === undefined ? [] : [reg]),
  ];
}
