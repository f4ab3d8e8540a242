/**
 * Sealed sessions, which their clients hold themselves, encrypted; and snapshots of sessions that a store holds.
 *
 * @module
 */
export type { SealingKey } from "./keys.ts";
export { type SealedOptions, sealed } from "./sealed.ts";
export { type SnapshotOptions, snapshotCookie } from "./snapshot-cookie.ts";
