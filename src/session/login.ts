import { SessionEndedError, SessionLimitError, StoreUnavailableError } from "./errors.ts";
import type { SessionRecord } from "./record.ts";
import { everything, type Keep, NO_TEXTS, nothing, type UnitOfWork } from "./unit-of-work.ts";
import { endOld } from "./upgrade.ts";
import { create, end, rotate } from "./write.ts";

export interface LoginOptions {
  /** How the user proved who they are, as RFC 8176 values such as `"pwd"` or `"otp"`. Shown in the list of devices. */
  readonly methods?: readonly string[];
  /** "Remember me": the longer limits of `lifetime.remember`, and a cookie that survives the browser. Default false. */
  readonly remember?: boolean;
}

/**
 * Attaches a user: to the session that the request came with, where it may keep all that it holds, or else to a new one.
 *
 * @throws SessionLimitError, StoreUnavailableError, HeadersSentError, InsecureTransportError
 */
export async function login(work: UnitOfWork, userId: string, options: LoginOptions): Promise<void> {
  work.assertCanSend("login");
  if (work.refusal instanceof StoreUnavailableError) throw work.refusal;
  const { users } = work.core;
  const wasAnonymous = work.userId === undefined && work.superseded === undefined;
  if (!(await users.hasRoom(userId, work.userId === userId ? work.id : undefined))) throw limitReached(work, userId);
  const authenticated = { methods: options.methods ?? [], remember: options.remember ?? false };
  const left = keepsAll(work, userId) ? await loginInPlace(work, userId, authenticated) : ownRecord(work);
  if (left !== "kept") {
    await loginAnew(work, userId, authenticated);
    if (left !== undefined) {
      await endOld(work, left);
      await end(work.core, left);
    }
  }
  if (!(await users.enforceLimit(work.record as SessionRecord))) {
    // Racing logins agreed that this one is the surplus. What an anonymous visitor gathered goes on anonymously.
    if (wasAnonymous) work.leave(everything, [...(work.record?.meta.flashes ?? []), ...work.flashes]);
    else work.leave(nothing, []);
    throw limitReached(work, userId);
  }
  work.emit("login", {});
}

/** Whether the stored session can be given to the user with all that it holds. */
function keepsAll(work: UnitOfWork, userId: string): boolean {
  if (work.record === undefined || work.refusal !== undefined) return false;
  const owner = work.userId;
  return owner === undefined ? work.core.keepAtLogin === true : owner === userId;
}

/** The record that a new session takes the place of. */
function ownRecord(work: UnitOfWork): SessionRecord | undefined {
  return work.refusal === undefined ? work.record : undefined;
}

/**
 * They proved who they are: if their session ended, or was given another secret, while they were typing the password, they
 * get one of their own. Then the answer is the record that must go, because a touch that is still on its way could revive
 * an expired one.
 */
async function loginInPlace(
  work: UnitOfWork,
  userId: string,
  { methods, remember }: Required<LoginOptions>,
): Promise<"kept" | SessionRecord | undefined> {
  try {
    await rotate(work, "login", (_meta, now) => ({
      userId,
      meta: { authenticatedAt: now, methods, remember, device: work.connection.device },
    }));
    return "kept";
  } catch (error) {
    if (!(error instanceof SessionEndedError)) throw error;
    return error.reason === "expired" ? work.record : undefined;
  }
}

function loginAnew(work: UnitOfWork, userId: string, { methods, remember }: Required<LoginOptions>): Promise<void> {
  const meta = { authenticatedAt: work.core.clock.now(), methods, remember };
  // A double-clicked login: its first request rotated the secret away that the second one brings.
  if (work.superseded?.record.userId === userId)
    return create(work, "login", { userId, meta, keep: everything, under: work.superseded.texts, flashes: true });
  const flashes = work.userId === undefined || work.userId === userId;
  return create(work, "login", { userId, meta, keep: keptByUser(work, userId), under: NO_TEXTS, flashes });
}

/** What a user may take over into a session of their own. */
function keptByUser(work: UnitOfWork, userId: string): Keep {
  const owner = work.userId;
  if (owner !== undefined) return owner === userId ? everything : nothing;
  const { keepAtLogin } = work.core;
  if (typeof keepAtLogin === "boolean") return keepAtLogin ? everything : nothing;
  return (key) => keepAtLogin.includes(key);
}

function limitReached(work: UnitOfWork, userId: string): SessionLimitError {
  const { events, clock, users } = work.core;
  events.emit({ type: "limitReached", at: clock.now(), userId });
  return new SessionLimitError(users.max);
}
