import { hashSecret, newSecret, newSessionId } from "../session/token.ts";
import { moveSession } from "../stores/moving.ts";
import { copyRevocations } from "../stores/moving-revocations.ts";
import type { SessionStore } from "../stores/store.ts";
import { type Job, sessionsOf } from "./commands.ts";

/**
 * Moves every living session to another store, with the revocations that still matter, and leaves expired ones behind. The application may be at work meanwhile,
 * if all its processes use `movingStore`. Can be stopped and run again at any time.
 */
export async function migrate(job: Job, to: SessionStore): Promise<number> {
  try {
    if (await isSame(job, to)) throw new TypeError("--store and --to are the same store");
    let moved = 0;
    let expired = 0;
    for await (const record of sessionsOf(job.store)) {
      if (record.expiresAt <= job.clock.now()) expired++;
      else if ((await moveSession({ from: job.store, to }, record.id)) === "moved") moved++;
      if ((moved + expired) % 1000 === 0) job.output.progress(`${moved} moved`);
    }
    const [old, fresh] = [job.store.revocations, to.revocations];
    if (old !== undefined && fresh !== undefined) await copyRevocations(old, fresh, job.clock.now());
    job.output.out(
      job.json ? JSON.stringify({ moved, expired }) : `${moved} moved, ${expired} expired ones left where they were`,
    );
    return 0;
  } finally {
    await to.close?.();
  }
}

/** Whether two stores are one, by whatever names: moving would remove every session from it. */
async function isSame({ store, clock }: Job, to: SessionStore): Promise<boolean> {
  const [id, now] = [newSessionId(), clock.now()];
  const secretHash = await hashSecret(newSecret());
  const times = { createdAt: now, seenAt: now, expiresAt: now };
  await to.create({ id, secretHash, version: 1, ...times, meta: { secretAt: now }, data: new Map() });
  const found = await store.read(id);
  await to.remove(id);
  return found !== undefined;
}
