import { type Html, html } from "../html.ts";
import type { Translate } from "../language.ts";

const euros = new Intl.NumberFormat("en-IE", { style: "currency", currency: "EUR" });

export const money = (amount: number): string => euros.format(amount);

/** An instant as people say it. The exact time is in the tooltip. */
export function ago(at: number, now: number, t: Translate): Html {
  const iso = new Date(at).toISOString();
  return html`<time datetime="${iso}" title="${iso}">${distance(at, now, t)}</time>`;
}

export function distance(at: number, now: number, t: Translate): string {
  const minutes = Math.floor((now - at) / 60_000);
  if (minutes < 1) return t("just now");
  if (minutes < 60) return t("{count} min ago", { count: minutes });
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return t("{count} h ago", { count: hours });
  const days = Math.floor(hours / 24);
  return days === 1 ? t("yesterday") : t("{count} days ago", { count: days });
}

const BROWSERS: ReadonlyArray<readonly [RegExp, string]> = [
  [/Edg\//, "Edge"],
  [/OPR\//, "Opera"],
  [/Firefox\//, "Firefox"],
  [/Chrom(?:e|ium)\//, "Chrome"],
  [/Safari\//, "Safari"],
];
const SYSTEMS: ReadonlyArray<readonly [RegExp, string]> = [
  [/Android/, "Android"],
  [/iPhone|iPad/, "iOS"],
  [/Windows/, "Windows"],
  [/Mac OS X/, "macOS"],
  [/Linux/, "Linux"],
];

/** "Firefox on Linux", or the first word of what an unknown client calls itself. */
export function deviceName(userAgent: string | undefined): string {
  if (userAgent === undefined || userAgent === "") return "Unknown device";
  const find = (list: typeof BROWSERS) => list.find(([pattern]) => pattern.test(userAgent))?.[1];
  const browser = find(BROWSERS) ?? userAgent.split(/[\s/]/, 1)[0];
  const system = find(SYSTEMS);
  return system === undefined ? `${browser}` : `${browser} on ${system}`;
}
