import { utf8Length } from "./data.ts";
import { SessionTooLargeError } from "./errors.ts";
import type { Flash } from "./record.ts";

/** Most bytes of JSON that the waiting messages of a session may take together. */
const MAX_BYTES = 8192;

/**
 * The messages that fit, the newest before the oldest: those that no page ever takes must not stop those that follow.
 *
 * @throws SessionTooLargeError when the newest alone does not fit
 */
export function checkedFlashes(flashes: readonly Flash[]): readonly Flash[] {
  const bytes = utf8Length(JSON.stringify(flashes));
  if (bytes <= MAX_BYTES) return flashes;
  if (flashes.length === 1) throw new SessionTooLargeError(bytes, MAX_BYTES);
  return checkedFlashes(flashes.slice(1));
}
