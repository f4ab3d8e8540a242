import { type Duration, seconds, systemClock } from "../session/clock.ts";
import { randomBytes } from "../session/crypto.ts";

const ATTEMPTS = 20;
const PATIENCE: Duration = seconds(2);

/**
 * Does `work` again, up to 20 times and for 2 seconds, with short random pauses, while it fails in a way of which
 * `isPassing` says that nothing was done and another attempt can succeed: deadlocks and the like.
 */
export async function retryPassing<Result>(
  isPassing: (error: unknown) => boolean,
  work: () => Promise<Result>,
): Promise<Result> {
  const deadline = systemClock.now() + PATIENCE;
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (attempt === ATTEMPTS || systemClock.now() >= deadline || !isPassing(error)) throw error;
    }
    const pause = (attempt * (randomBytes(1)[0] as number)) / 255;
    await new Promise<void>((resolve) => systemClock.schedule(resolve, pause));
  }
}
