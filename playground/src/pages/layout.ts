import type { Flash } from "coatcheck";
import type { Account } from "../database.ts";
import { type Html, html } from "../html.ts";
import type { Language, Translation } from "../language.ts";
import { THEMES } from "./preferences.ts";

/** What the frame of a page shows of its visitor. */
export interface Frame extends Translation {
  readonly account: Account | undefined;
  readonly cartCount: number;
  readonly flashes: readonly Flash[];
  readonly theme: string;
  /** The page's own, beside the shop's. */
  readonly script: string | undefined;
  /** The hidden field that every form needs. */
  readonly csrf: Html;
  readonly path: string;
}

/** A page with its frame. */
export function page(title: string, content: Html, frame: Frame): Html {
  const link = (path: string, label: string | Html) =>
    html`<a href="${path}"${frame.path === path && html` aria-current="page"`}>${label}</a>`;
  const { account, csrf, t } = frame;
  const other =
    frame.language === "de"
      ? html`<button class="link" data-language-button="en" lang="en" hidden>English</button>`
      : html`<button class="link" data-language-button="de" lang="de" hidden>Deutsch</button>`;
  return document(
    title,
    html`<header>
  <a class="brand" href="/">The Cloakroom</a>
  <nav aria-label="${t("Shop")}">
    ${link("/", t("Products"))}
    ${link("/cart", html`${t("Cart")} <span class="count">${frame.cartCount}</span>`)}
    ${link("/journey", t("Journey"))}
  </nav>
  <nav class="account" aria-label="${t("Account")}">
    ${
      account === undefined
        ? [link("/login", t("Log in")), link("/register", t("Register"))]
        : [
            link("/orders", t("Orders")),
            link("/preferences", t("Preferences")),
            link("/sessions", t("Devices")),
            link("/tokens", t("Tokens")),
            html`<form method="post" action="/logout">${csrf}<button class="link">${t("Log out {username}", { username: account.username })}</button></form>`,
          ]
    }
    <button class="link" data-theme-button${Object.entries(THEMES).map(([theme, label]) => html` data-${theme}="${t("Colours: {theme}", { theme: t(label) })}"`)} hidden></button>
    ${other}
  </nav>
</header>
<main>
  <p class="notice" role="alert" data-session-warning hidden><span data-text="${t("You will be logged out at {time}.", { time: "{time}" })}"></span> <button class="link">${t("Stay logged in")}</button></p>
  ${frame.flashes.map(({ kind, message }) => notice(kind, message))}
  ${content}
</main>`,
    {
      theme: frame.theme,
      language: frame.language,
      scripts: ["/shop.js", ...(frame.script === undefined ? [] : [frame.script])],
      userId: account?.id,
    },
  );
}

/** A page for when nothing is known of the visitor: an error. */
export function barePage(title: string, content: Html): Html {
  return document(
    title,
    html`<header><a class="brand" href="/">The Cloakroom</a></header>
<main>${content}</main>`,
    // Problems are told in English.
    { theme: "auto", language: "en", scripts: [], userId: undefined },
  );
}

export function notice(kind: string, message: string | undefined): Html | undefined {
  return message === undefined
    ? undefined
    : html`<p class="notice ${kind}" role="${kind === "problem" ? "alert" : "status"}">${message}</p>`;
}

interface Head {
  readonly theme: string;
  readonly language: Language;
  readonly scripts: readonly string[];
  readonly userId: string | undefined;
}

function document(title: string, body: Html, { theme, language, scripts, userId }: Head): Html {
  return html`<!doctype html>
<html lang="${language}" data-theme="${theme}"${userId !== undefined && html` data-user="${userId}"`}>
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title} · The Cloakroom</title>
<link rel="icon" href="/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/style.css">
${scripts.map(
  (script) => html`<script type="module" src="${script}"></script>
`,
)}</head>
<body>
${body}
</body>
</html>
`;
}
