/**
 * Sealed sessions, which their clients hold themselves, encrypted.
 *
 * @module
 */
export type { SealingKey } from "./keys.ts";
export { type SealedOptions, sealed } from "./sealed.ts";
