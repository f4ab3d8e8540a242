import type { SessionId } from "../session/token.ts";
import type { SessionStore } from "../stores/store.ts";
import { expiryCases } from "./conformance/expiry.ts";
import { leaseCases, leaselessCase } from "./conformance/leases.ts";
import { raceCases } from "./conformance/races.ts";
import { recordCases } from "./conformance/records.ts";
import { revocationCases } from "./conformance/revocations.ts";
import type { Case, StoreCapability } from "./conformance/scene.ts";
import { userCases } from "./conformance/users.ts";

export type { StoreCapability } from "./conformance/scene.ts";

/** A store, and what only its author can do with it. */
export interface StoreUnderTest {
  /** Holds nothing yet. */
  readonly store: SessionStore;
  /** Opens another store on the same data, as another process would. The kit closes it. */
  reopen?(): SessionStore | Promise<SessionStore>;
  /** Spoils the stored record, so that it cannot be understood any more. */
  corrupt?(id: SessionId): unknown;
  /** Clears up after a case. Default: `store.close()`. */
  close?(): unknown;
}

export interface StoreConformanceOptions {
  /** A store that holds nothing, for one case. */
  createStore(): SessionStore | StoreUnderTest | Promise<SessionStore | StoreUnderTest>;
  /** Stands before the name of every case. */
  readonly name?: string;
  /** What the store lacks, and why: `{ reopen: "it lives in the memory of one process" }`. */
  readonly skip?: Readonly<Partial<Record<StoreCapability, string>>>;
}

/** One test of the contract. */
export interface ConformanceCase {
  readonly name: string;
  /** Why it does not apply; `run` then does nothing. */
  readonly skipped?: string;
  /** Rejects with an `Error` that says what was expected. */
  run(): Promise<void>;
}

/**
 * The store contract as tests for any runner: `for (const { name, run } of storeConformance({ createStore })) test(name, run)`.
 * Every case makes a store of its own. A capability that the store lacks must be named in `skip`, or its cases fail.
 */
export function storeConformance(options: StoreConformanceOptions): ConformanceCase[] {
  const { skip = {} } = options;
  const cases = [...recordCases, ...userCases, ...expiryCases, ...raceCases, ...leaseCases, ...revocationCases];
  if (skip.leases !== undefined) cases.push(leaselessCase);
  return cases.map((tested) => {
    const reason = tested.needs?.map((capability) => skip[capability]).find((lack) => lack !== undefined);
    const name = `${options.name === undefined ? "" : `${options.name}: `}${tested.name}`;
    if (reason !== undefined)
      return { name: `${name} (does not apply: ${reason})`, skipped: reason, run: async () => {} };
    return { name, run: () => runCase(tested, options) };
  });
}

async function runCase(tested: Case, options: StoreConformanceOptions): Promise<void> {
  const created = await options.createStore();
  const under: StoreUnderTest = "store" in created ? created : { store: created };
  const reopened: SessionStore[] = [];
  try {
    if (tested.needs?.includes("leases") && under.store.release === undefined)
      throw lacking("leases", "the store has no release()");
    if (tested.needs?.includes("revocations") && under.store.revocations === undefined)
      throw lacking("revocations", "the store has no revocations");
    await tested.run({
      store: under.store,
      async reopen() {
        if (under.reopen === undefined) throw lacking("reopen", "createStore gives no reopen()");
        const store = await under.reopen();
        reopened.push(store);
        return store;
      },
      async corrupt(id) {
        if (under.corrupt === undefined) throw lacking("corrupt", "createStore gives no corrupt()");
        await under.corrupt(id);
      },
    });
  } finally {
    for (const store of reopened) await store.close?.();
    await (under.close === undefined ? under.store.close?.() : under.close());
  }
}

const lacking = (capability: StoreCapability, what: string): Error =>
  new Error(`store conformance: ${what}. If it cannot, say why: skip: { ${capability}: "…" }`);
