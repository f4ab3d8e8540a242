import { base64url, randomBytes } from "../session/crypto.ts";
import { parseSessionId } from "../session/token.ts";
import type { Revocation, RevocationPage } from "./revocation-log.ts";

/**
 * An entry as databases keep it. Each log gives positions in such a way that a row with a lower position never becomes
 * visible after one with a higher position. So what comes after a row that was read is all that is new.
 */
export interface RevocationRow {
  readonly position: number;
  /** Random. Tells whether a position has been given again, to another entry, since a cursor was made. */
  readonly id: string;
  readonly entry: string;
}

const PAGE = 200;

export const newRowId = (): string => base64url(randomBytes(12));

/** Reads a page with `rowsFrom`, which answers the rows from a position on, that one included, in order. */
export async function readPage(
  cursor: string | undefined,
  rowsFrom: (position: number, limit: number) => Promise<readonly RevocationRow[]>,
): Promise<RevocationPage> {
  const [position, id] = cursor?.split(":") ?? [];
  const found = await rowsFrom(Number(position ?? 0), PAGE);
  // The row that was read last must still be there, else nobody knows what came after it: entries were removed, or a server
  // that had not heard of them took over and gives their positions again.
  if (id !== undefined && found[0]?.id !== id) return readPage(undefined, rowsFrom);
  const last = found.at(-1);
  return {
    entries: found.slice(id === undefined ? 0 : 1).flatMap(({ entry }) => revocationFromText(entry) ?? []),
    cursor: last === undefined ? undefined : `${last.position}:${last.id}`,
    more: found.length === PAGE,
  };
}

export const revocationToText = (entry: Revocation): string => JSON.stringify(entry);

/** The reverse; `undefined` for what cannot be understood. */
function revocationFromText(text: unknown): Revocation | undefined {
  try {
    const entry = JSON.parse(String(text)) as Revocation;
    return isRevocation(entry) ? entry : undefined;
  } catch {
    return undefined;
  }
}

function isRevocation(entry: Revocation): boolean {
  const { kind, until } = entry;
  if (!Number.isFinite(until)) return false;
  if (kind === "everyone") return Number.isFinite(entry.before);
  if (kind === "session")
    return (
      parseSessionId(entry.sessionId) !== undefined && (entry.before === undefined || Number.isFinite(entry.before))
    );
  return kind === "user" && typeof entry.userId === "string" && Number.isFinite(entry.before);
}
