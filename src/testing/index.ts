/**
 * For tests: a clock that stands still, a store that fails when told to, the store contract as tests, and users who are
 * logged in.
 *
 * @module
 */
export { type SignedIn, type SignedInOptions, signedInCookie } from "./sign-in.ts";
export {
  type ConformanceCase,
  type StoreCapability,
  type StoreConformanceOptions,
  type StoreUnderTest,
  storeConformance,
} from "./store-conformance.ts";
export { TestClock } from "./test-clock.ts";
export { type Hold, type StoreVerb, UnreliableStore } from "./unreliable-store.ts";
