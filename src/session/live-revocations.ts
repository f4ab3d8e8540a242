import type { Instant } from "./clock.ts";
import type { Revocation, RevocationSubject } from "./revocation.ts";

interface Epoch {
  readonly before: Instant;
  readonly except?: string | undefined;
}

/** What is dead of one session, of one user, or of everybody. */
interface Dead {
  readonly epochs: readonly Epoch[];
  readonly until: Instant;
}

const NOTHING: Dead = { epochs: [], until: Number.NEGATIVE_INFINITY };

/**
 * The revocations that still matter, in memory. Adding one again changes nothing, the order does not matter, and a
 * look-up takes the same time however many there are.
 */
export class LiveRevocations {
  readonly #bySession = new Map<string, Dead>();
  readonly #byUser = new Map<string, Dead>();
  #everyone = NOTHING;

  get size(): number {
    return this.#bySession.size + this.#byUser.size + this.#everyone.epochs.length;
  }

  add(entry: Revocation): void {
    switch (entry.kind) {
      case "session": {
        const { sessionId, before = Number.POSITIVE_INFINITY, until } = entry;
        this.#bySession.set(sessionId, withEpoch(this.#bySession.get(sessionId), { before }, until));
        return;
      }
      case "user": {
        const { userId, before, except, until } = entry;
        this.#byUser.set(userId, withEpoch(this.#byUser.get(userId), { before, except }, until));
        return;
      }
      case "everyone":
        this.#everyone = withEpoch(this.#everyone, { before: entry.before }, entry.until);
        return;
      default:
        entry satisfies never;
    }
  }

  isRevoked({ sessionId, userId, issuedAt }: RevocationSubject): boolean {
    const kills = ({ before, except }: Epoch) =>
      !(issuedAt >= before) && (except === undefined || except !== sessionId);
    return (
      this.#everyone.epochs.some(kills) ||
      (sessionId !== undefined && this.#bySession.get(sessionId)?.epochs.some(kills) === true) ||
      (userId !== undefined && this.#byUser.get(userId)?.epochs.some(kills) === true)
    );
  }

  /** From which instant on a new session, of this user or of nobody, is spared by all that is known. */
  liveFrom(userId: string | undefined): Instant {
    const ofUser = userId === undefined ? undefined : this.#byUser.get(userId);
    const epochs = [...this.#everyone.epochs, ...(ofUser?.epochs ?? [])];
    return Math.max(Number.NEGATIVE_INFINITY, ...epochs.map(({ before }) => before));
  }

  /** Forgets what revokes nothing that lives any more. */
  forgetExpired(now: Instant): void {
    for (const dead of [this.#bySession, this.#byUser])
      for (const [key, { until }] of dead) if (until <= now) dead.delete(key);
    if (this.#everyone.until <= now) this.#everyone = NOTHING;
  }
}

/**
 * Two epochs are enough: the latest, and the latest of those that spare another session. Whom the first spares the second
 * does not, and all others the first one tells about.
 */
function withEpoch(dead: Dead = NOTHING, added: Epoch, until: Instant): Dead {
  const same = dead.epochs.find(({ except }) => except === added.except);
  const latest = same !== undefined && same.before >= added.before ? same : added;
  const others = dead.epochs.filter((epoch) => epoch !== same);
  const epochs = [latest, ...others].sort((a, b) => b.before - a.before).slice(0, 2);
  return { epochs, until: Math.max(dead.until, until) };
}
