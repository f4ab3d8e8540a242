import type { Instant } from "../session/clock.ts";
import { hashSecret, newSecret, type SessionId } from "../session/token.ts";
import { movingRevocations } from "./moving-revocations.ts";
import type { LeaseRequest, SessionPatch, SessionRecord, SessionStore } from "./store.ts";

/** Where sessions come from, and where they go. */
export interface MovingStores {
  readonly from: SessionStore;
  readonly to: SessionStore;
}

/**
 * A store for the time in which an application moves from one store to another. A session that is asked for and still in
 * `from` is moved to `to`; new ones are made in `to`. All processes of the application must use it before any session is
 * moved, because one that only knows `from` takes a moved session for a missing one. `npx coatcheck migrate` moves
 * the sessions that nobody asks for; when it finds none any more, the application can use `to` alone.
 *
 * @throws TypeError when both are the same object
 */
export function movingStore(stores: MovingStores): SessionStore {
  const { from, to } = stores;
  if (from === to) throw new TypeError("movingStore needs two different stores");
  const revocations =
    from.revocations && to.revocations ? movingRevocations(from.revocations, to.revocations) : to.revocations;
  const moved = async (id: SessionId) => (await moveSession(stores, id)) !== "missing";

  async function remove(id: SessionId, userId?: string): Promise<boolean> {
    const old = await from.read(id);
    const removedOld = old !== undefined && (await from.remove(id, userId));
    // Another process may have read the record and be about to put it into `to`: what stands there already stops it.
    const blocked = removedOld && (await createTombstone(to, old));
    return (!blocked && (await to.remove(id, userId))) || removedOld;
  }

  return {
    create: (record) => to.create(record),
    async read(id: SessionId, lease?: LeaseRequest) {
      return (await to.read(id, lease)) ?? ((await moved(id)) ? to.read(id, lease) : undefined);
    },
    async update(id: SessionId, version: number, patch: SessionPatch) {
      const outcome = await to.update(id, version, patch);
      return outcome === "missing" && (await moved(id)) ? to.update(id, version, patch) : outcome;
    },
    async touch(id: SessionId, seenAt: Instant, expiresAt: Instant) {
      return (await to.touch(id, seenAt, expiresAt)) || ((await moved(id)) && to.touch(id, seenAt, expiresAt));
    },
    remove,
    async listByUser(userId) {
      for (const record of await from.listByUser(userId)) await moved(record.id);
      return to.listByUser(userId);
    },
    async removeByUser(userId, except) {
      let count = 0;
      for (const record of await from.listByUser(userId))
        if (record.id !== except && (await remove(record.id, userId))) count++;
      return count + (await to.removeByUser(userId, except));
    },
    async removeAll() {
      return (await from.removeAll()) + (await to.removeAll());
    },
    async removeExpired(now, limit) {
      const count = await from.removeExpired(now, limit);
      return count < limit ? count + (await to.removeExpired(now, limit - count)) : count;
    },
    async *all() {
      yield* from.all();
      yield* to.all();
    },
    ...(to.release === undefined
      ? undefined
      : { release: (id: SessionId, holder: string) => to.release?.(id, holder) }),
    ...(revocations === undefined ? undefined : { revocations }),
    async close() {
      await from.close?.();
      await to.close?.();
    },
  } as SessionStore;
}

/**
 * Moves one session, whoever else does so at the same time. `"moved"`: by this call. `"there"`: `to` has it, `from` may
 * still have a copy. `"missing"`: neither has it.
 */
export async function moveSession({ from, to }: MovingStores, id: SessionId): Promise<"moved" | "there" | "missing"> {
  const record = await from.read(id);
  if (record === undefined) return (await to.read(id)) === undefined ? "missing" : "there";
  try {
    await to.create(record);
  } catch (error) {
    // Moved, or blocked, by somebody else, to whom the rest is left; if it is neither, the store has failed.
    if ((await to.read(id)) === undefined) throw error;
    return "there";
  }
  if (await from.remove(id)) return "moved";
  // It had been moved and then removed before this copy was made, or removed since.
  await to.remove(id);
  return "missing";
}

/** A record that no token opens, in the place of one that was removed. `false` when the place is taken. */
async function createTombstone(
  store: SessionStore,
  { id, createdAt, seenAt, expiresAt }: SessionRecord,
): Promise<boolean> {
  const secretHash = await hashSecret(newSecret());
  const meta = { secretAt: createdAt };
  try {
    await store.create({ id, secretHash, version: 1, createdAt, seenAt, expiresAt, meta, data: new Map() });
    return true;
  } catch {
    return false;
  }
}
