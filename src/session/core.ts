import type { Strategy } from "../strategies/strategy.ts";
import type { Clock } from "./clock.ts";
import { type DataFormat, parseValue } from "./data.ts";
import type { SessionEvents } from "./events.ts";
import type { LifetimePolicy } from "./lifetime.ts";
import type { SessionPatch, SessionRecord } from "./record.ts";
import { patchData } from "./record.ts";
import type { RevocationWriter } from "./revocation-writer.ts";
import type { DataSchema } from "./schema.ts";
import type { Upgrade } from "./upgrade.ts";
import type { UserSessions } from "./user-sessions.ts";

/** What all sessions of one `createSessions` share. */
export interface SessionCore {
  readonly strategy: Strategy;
  readonly clock: Clock;
  readonly lifetime: LifetimePolicy;
  readonly format: DataFormat;
  readonly schema: DataSchema;
  readonly events: SessionEvents;
  /** Whether data of an anonymous session stays at login: all of it, none, or these keys. */
  readonly keepAtLogin: boolean | readonly string[];
  readonly users: UserSessions;
  readonly upgrade: Upgrade | undefined;
  readonly revocations: RevocationWriter;
  /** Whether responses say how long the session lasts. */
  readonly announceExpiry: boolean;
}

/** Texts of a record's data in the present shape: migrated and checked where a schema asks for it. */
export async function presentTexts(core: SessionCore, record: SessionRecord): Promise<ReadonlyMap<string, string>> {
  const version = record.meta.dataVersion ?? 0;
  if (core.schema.accepts(version)) return record.data;
  const { codec } = core.format;
  const stored = Object.create(null) as Record<string, unknown>;
  for (const [key, text] of new Map([...core.format.initial, ...record.data]))
    stored[key] = parseValue(codec, key, text);
  const loaded = await core.schema.load(stored, version);
  const texts = new Map<string, string>();
  for (const [key, value] of Object.entries(loaded)) {
    const text = value === undefined ? undefined : codec.stringify(value);
    if (text !== undefined) texts.set(key, text);
  }
  return texts;
}

/** A patch that was planned against `present` texts, made one against what the record really holds. */
export function patchAgainst(
  record: SessionRecord,
  present: ReadonlyMap<string, string>,
  patch: Pick<SessionPatch, "set" | "unset">,
): Pick<SessionPatch, "set" | "unset"> {
  if (present === record.data) return patch;
  const wanted = patchData(present, patch);
  const set = new Map([...wanted].filter(([key, text]) => record.data.get(key) !== text));
  return { set, unset: [...record.data.keys()].filter((key) => !wanted.has(key)) };
}
