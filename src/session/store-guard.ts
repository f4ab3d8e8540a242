import type { RevocationLog } from "../stores/revocation-log.ts";
import type { SessionStore } from "../stores/store.ts";
import type { Clock, Duration } from "./clock.ts";
import { CorruptRecordError, StoreUnavailableError } from "./errors.ts";
import type { SessionEvents } from "./events.ts";

/** Makes an operation of a store answer within a time or reject with `StoreUnavailableError`, which is reported. */
export type Guard = <Args extends unknown[], Result>(
  operation: string,
  verb: (...args: Args) => Promise<Result>,
) => (...args: Args) => Promise<Result>;

export function guardWith(clock: Clock, timeout: Duration, events: SessionEvents): Guard {
  return (operation, verb) =>
    (...args) =>
      new Promise((resolve, reject) => {
        let waiting = true;
        const fail = (cause: unknown) => {
          if (!waiting) return;
          waiting = false;
          cancel();
          if (cause instanceof CorruptRecordError) return reject(cause);
          events.emit({ type: "storeUnavailable", at: clock.now(), operation, cause });
          reject(new StoreUnavailableError(operation, { cause }));
        };
        const cancel = clock.schedule(() => fail(new Error(`no answer within ${timeout} ms`)), timeout);
        try {
          verb(...args).then((result) => {
            waiting = false;
            cancel();
            resolve(result);
          }, fail);
        } catch (cause) {
          fail(cause);
        }
      });
}

/** The store as the core sees it: every verb answers within `timeout` or rejects with `StoreUnavailableError`. */
export function guardStore(store: SessionStore, clock: Clock, timeout: Duration, events: SessionEvents): SessionStore {
  const guard = guardWith(clock, timeout, events);
  const guarded = <Args extends unknown[], Result>(operation: string, verb: (...args: Args) => Promise<Result>) =>
    guard(operation, (...args: Args) => verb.apply(store, args));
  const guardedLog = (log: RevocationLog): RevocationLog => ({
    append: guard("revocations.append", log.append.bind(log)),
    read: guard("revocations.read", log.read.bind(log)),
    removeExpired: guard("revocations.removeExpired", log.removeExpired.bind(log)),
    ...(log.watch === undefined ? undefined : { watch: log.watch.bind(log) }),
  });
  return {
    create: guarded("create", store.create),
    read: guarded("read", store.read),
    update: guarded("update", store.update),
    touch: guarded("touch", store.touch),
    remove: guarded("remove", store.remove),
    listByUser: guarded("listByUser", store.listByUser),
    removeByUser: guarded("removeByUser", store.removeByUser),
    removeAll: guarded("removeAll", store.removeAll),
    removeExpired: guarded("removeExpired", store.removeExpired),
    ...(store.release === undefined ? undefined : { release: guarded("release", store.release) }),
    all: () => store.all(),
    ...(store.revocations === undefined ? undefined : { revocations: guardedLog(store.revocations) }),
    close: async () => store.close?.(),
  };
}
