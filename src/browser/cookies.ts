import { type Area, browser, type Channel } from "./platform.ts";
import { changed } from "./state.ts";

/** A request of any framework, or the text of its Cookie header. */
export type CookieSource =
  | string
  | undefined
  | null
  | { readonly headers: { get(name: string): string | null } | { readonly cookie?: string | undefined } };

/** The value of a cookie of a request; `null` when it has none or it cannot be read. */
export function cookieFrom(source: CookieSource, name: string): string | null {
  if (!source) return null;
  if (typeof source === "string") return find(source, name);
  const headers = source.headers as { readonly get?: unknown; readonly cookie?: string };
  // A request of Node's may have a header of this name.
  return find((typeof headers.get === "function" ? headers.get("cookie") : headers.cookie) ?? "", name);
}

function find(header: string, name: string): string | null {
  const start = `${encodeURIComponent(name)}=`;
  const pair = header.split("; ").find((pair) => pair.startsWith(start));
  return pair === undefined ? null : decoded(pair.slice(start.length));
}

function decoded(text: string): string | null {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}

const document = () => browser.document ?? { cookie: "" };

const area: Area = {
  getItem: (name) => find(document().cookie, name),
  setItem(name, text, expiresAt) {
    write(name, encodeURIComponent(text), new Date(expiresAt ?? 0));
    // What a browser refuses, or finds too long, it drops without a word.
    if (area.getItem(name) !== text) throw new TypeError("The browser did not take the cookie");
  },
  removeItem: (name) => write(name, "", new Date(0)),
};

function write(name: string, value: string, expires: Date): void {
  const secure = browser.location?.protocol === "https:" ? "; Secure" : "";
  document().cookie = `${encodeURIComponent(name)}=${value}; Path=/; SameSite=Lax; Expires=${expires.toUTCString()}${secure}`;
  channel?.postMessage(name);
}

export const cookieArea = (): Area => area;

/** Decoded, of all cookies that a script can read. What others have set need not be decodable. */
export const cookieNames = (): string[] =>
  document()
    .cookie.split("; ")
    .map((pair) => decoded(pair.split("=")[0] ?? "") ?? "");

/** Browsers tell nobody of a changed cookie, so the tabs do. */
let channel: Channel | undefined;

export function listenToCookies(): void {
  if (channel || !browser.document || !browser.BroadcastChannel) return;
  channel = new browser.BroadcastChannel("coatcheck cookies");
  channel.onmessage = ({ data }) => changed(data);
}
