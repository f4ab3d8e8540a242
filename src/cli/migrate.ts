import { moveSession } from "../stores/moving.ts";
import type { SessionStore } from "../stores/store.ts";
import { type Job, sessionsOf } from "./commands.ts";

/**
 * Moves every living session to another store and leaves expired ones behind. The application may be at work meanwhile,
 * if all its processes use `movingStore`. Can be stopped and run again at any time.
 */
export async function migrate(job: Job, to: SessionStore): Promise<number> {
  try {
    let moved = 0;
    let expired = 0;
    for await (const record of sessionsOf(job.store)) {
      if (record.expiresAt <= job.clock.now()) expired++;
      else if (await moveSession({ from: job.store, to }, record.id)) moved++;
      if ((moved + expired) % 1000 === 0) job.output.progress(`${moved} moved`);
    }
    job.output.out(
      job.json ? JSON.stringify({ moved, expired }) : `${moved} moved, ${expired} expired ones left where they were`,
    );
    return 0;
  } finally {
    await to.close?.();
  }
}
