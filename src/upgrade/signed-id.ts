import { findCookie } from "../frameworks/express-session/cookie-header.ts";
import { type Secret, sign, unsign } from "../frameworks/express-session/signature.ts";
import type { Instant } from "../session/clock.ts";
import type { OldSession, UpgradeSource } from "../session/upgrade.ts";
import { commonOf, type OldCookieAttributes, type UpgradeOptions } from "./options.ts";

/** What is needed of the old library's store. */
export interface OldStore {
  // biome-ignore-start lint/suspicious/noExplicitAny: stores annotate as they like
  get(sid: string, callback: (error: any, session?: any) => void): unknown;
  destroy(sid: string, callback: (error?: any) => void): unknown;
  clear?(callback: (error?: any) => void): unknown;
  // biome-ignore-end lint/suspicious/noExplicitAny: stores annotate as they like
}

/** A library whose cookie is a signed session id, and whose store keeps the session with its cookie. */
export interface SignedIdSettings extends UpgradeOptions {
  readonly store: OldStore;
  readonly secret: Secret | readonly Secret[];
  readonly name: string;
  /** What comes before the signed id. */
  readonly prefix: string;
  readonly cookie?: OldCookieAttributes | undefined;
}

/** @throws TypeError for settings with which no session could be found */
export function signedIdSource({ store, secret, name, prefix, cookie, ...common }: SignedIdSettings): UpgradeSource {
  if (typeof store?.get !== "function" || typeof store.destroy !== "function")
    throw new TypeError("upgradeFrom: store must be the store of the old sessions, with get and destroy");
  const secrets: readonly Secret[] = Array.isArray(secret) ? secret : [secret as Secret];
  const [first] = secrets;
  // An empty one would verify what anybody can sign.
  if (!first || !secrets.every(Boolean))
    throw new TypeError("upgradeFrom: secret must be what the old cookies were signed with");
  return {
    ...commonOf(common, name, cookie),
    present(request) {
      const header = request.header("cookie");
      const value = header && findCookie(header, name)?.value;
      const sid = value?.startsWith(prefix) ? unsign(value.slice(prefix.length), secrets) : undefined;
      // Signed anew, so that all signatures of one id give one proof.
      return sid ? { key: sid, proof: sign(sid, first), read: (now) => read(store, sid, now) } : undefined;
    },
    end: (sid) => promised((callback) => store.destroy(sid, callback)),
    endAll: async () => {
      if (typeof store.clear !== "function")
        throw new Error("The old store has no clear: take upgradeFrom away, and revoke everyone again.");
      await promised((callback) => store.clear?.(callback));
    },
  };
}

const promised = (run: (callback: (error?: unknown) => void) => void): Promise<void> =>
  new Promise((resolve, reject) => {
    run((error) => (error && !isNotFound(error) ? reject(error) : resolve()));
  });

/** How session-file-store says that there is no such session. */
const isNotFound = (error: unknown): boolean => (error as { code?: unknown }).code === "ENOENT";

async function read(store: OldStore, sid: string, now: Instant): Promise<OldSession | undefined> {
  const stored = await new Promise<unknown>((resolve, reject) => {
    store.get(sid, (error, session) => {
      if (error && !isNotFound(error)) reject(error);
      else resolve(error ? undefined : session);
    });
  });
  if (typeof stored !== "object" || stored === null) return undefined;
  const { cookie, ...data } = stored as Record<string, unknown> & {
    cookie?: { expires?: unknown; originalMaxAge?: unknown };
  };
  const expiresAt = instantOf(cookie?.expires);
  if (expiresAt !== undefined && expiresAt <= now) return undefined;
  const kept = cookie?.originalMaxAge;
  return { data, expiresAt, kept: typeof kept === "number" ? kept : undefined };
}

/** A date, or a date's text as JSON has it. */
function instantOf(expires: unknown): Instant | undefined {
  if (!(expires instanceof Date) && typeof expires !== "string") return undefined;
  const at = new Date(expires).valueOf();
  return Number.isNaN(at) ? undefined : at;
}
