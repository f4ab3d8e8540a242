import { createDecipheriv, createHash, createHmac, pbkdf2Sync } from "node:crypto";
import { findCookie } from "../frameworks/express-session/cookie-header.ts";
import { days, type Instant, seconds } from "../session/clock.ts";
import { equalInConstantTime } from "../session/crypto.ts";
import type { OldSession, UpgradeSource } from "../session/upgrade.ts";
import { commonOf, type OldCookieAttributes, type UpgradeOptions } from "./options.ts";

/** As they were given to `getIronSession`. */
export interface IronSessionOptions extends UpgradeOptions {
  /** What the cookies were sealed with: one password, or several by their numbers. */
  readonly password: string | Readonly<Record<number, string>>;
  /** The name of the cookie. */
  readonly cookieName: string;
  /** For how long a seal was good, in seconds; 0 for no end. Default 14 days. */
  readonly ttl?: number | undefined;
  /** Attributes of the cookie: its path and domain, if they were set, are needed for clearing it. */
  readonly cookieOptions?: OldCookieAttributes | undefined;
}

/**
 * Sessions of iron-session, for `createSessions({ upgradeFrom })`. They are in their cookies alone, so nothing can end them
 * but their time: what holds after the upgrade is that the cookie of each opens nothing but the session that it has become.
 *
 * @throws TypeError for a password or a name that is missing
 */
export function ironSession(options: IronSessionOptions): UpgradeSource {
  const { password, cookieName, ttl = days(14) / seconds(1), cookieOptions, ...common } = options;
  if (!cookieName) throw new TypeError("upgradeFrom: cookieName must be the name of the old cookie");
  const passwords = new Map(Object.entries(typeof password === "string" ? { 1: password } : (password ?? {})));
  if (passwords.size === 0) throw new TypeError("upgradeFrom: password must be what the old cookies were sealed with");
  // As in iron-session. Of an empty one anybody can make seals.
  if ([...passwords.values()].some((one) => typeof one !== "string" || one.length < 32))
    throw new TypeError("upgradeFrom: each password must have at least 32 characters");
  const kept = ttl === 0 ? undefined : seconds(ttl);
  return {
    ...commonOf(common, cookieName, cookieOptions),
    present(request) {
      const header = request.header("cookie");
      const value = header && findCookie(header, cookieName)?.value;
      const seal = value ? genuineSeal(value, passwords) : undefined;
      if (seal === undefined) return undefined;
      const key = createHash("sha256").update(seal.text).digest("base64url");
      return { key, proof: seal.text, read: async (now) => opened(seal, now, kept) };
    },
    end: async () => {},
    endAll: async () => {
      throw new Error("Sealed cookies cannot be ended: take upgradeFrom away, and revoke everyone again.");
    },
  };
}

/** A seal in the format Fe26.2, of which the MAC is right. */
interface Seal {
  /** All of it but the version, which the MAC does not cover: with another one it is still the same cookie. */
  readonly text: string;
  readonly password: string;
  readonly salt: string;
  readonly iv: string;
  readonly encrypted: string;
  readonly expiration: string;
  /** Since version 2 what is sealed is the data itself. */
  readonly version: string | undefined;
}

/** How long after its end a seal is still good, for clocks that differ. */
const SKEW = seconds(60);

function genuineSeal(value: string, passwords: ReadonlyMap<string, string>): Seal | undefined {
  const [sealed = "", version] = value.split("~");
  const parts = sealed.split("*");
  if (parts.length !== 8) return undefined;
  const [prefix, id, salt, iv, encrypted, expiration, macSalt, mac] = parts as [
    string,
    string,
    string,
    string,
    string,
    string,
    string,
    string,
  ];
  const password = passwords.get(id);
  if (prefix !== "Fe26.2" || password === undefined || !/^\d*$/.test(expiration)) return undefined;
  const text = parts.slice(0, 6).join("*");
  const expected = createHmac("sha256", keyOf(password, macSalt)).update(text).digest("base64url");
  if (!equalInConstantTime(mac, expected)) return undefined;
  return { text: sealed, password, salt, iv, encrypted, expiration, version };
}

function opened(seal: Seal, now: Instant, kept: number | undefined): OldSession | undefined {
  const expiresAt = seal.expiration === "" ? undefined : Number(seal.expiration) + SKEW;
  if (expiresAt !== undefined && expiresAt <= now) return undefined;
  const iv = Buffer.from(seal.iv, "base64url");
  const decipher = createDecipheriv("aes-256-cbc", keyOf(seal.password, seal.salt), iv);
  const text = Buffer.concat([decipher.update(seal.encrypted, "base64url"), decipher.final()]).toString("utf8");
  const content = JSON.parse(text) as Record<string, unknown> & { persistent?: Record<string, unknown> };
  const data = seal.version === "2" ? content : content.persistent;
  return { data: data ?? {}, expiresAt, kept };
}

const keyOf = (password: string, salt: string): Buffer => pbkdf2Sync(password, salt, 1, 32, "sha1");
