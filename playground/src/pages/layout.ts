import type { Flash } from "coatcheck";
import type { Account } from "../database.ts";
import { type Html, html } from "../html.ts";

/** What the frame of a page shows of its visitor. */
export interface Frame {
  readonly account: Account | undefined;
  readonly cartCount: number;
  readonly flashes: readonly Flash[];
  readonly theme: string;
  /** The hidden field that every form needs. */
  readonly csrf: Html;
  readonly path: string;
}

/** A page with its frame. */
export function page(title: string, content: Html, frame: Frame): Html {
  const link = (path: string, label: string | Html) =>
    html`<a href="${path}"${frame.path === path && html` aria-current="page"`}>${label}</a>`;
  const { account, csrf } = frame;
  return document(
    title,
    html`<header>
  <a class="brand" href="/">The Cloakroom</a>
  <nav aria-label="Shop">
    ${link("/", "Products")}
    ${link("/cart", html`Cart <span class="count">${frame.cartCount}</span>`)}
    ${link("/journey", "Journey")}
  </nav>
  <nav class="account" aria-label="Account">
    ${
      account === undefined
        ? [link("/login", "Log in"), link("/register", "Register")]
        : [
            link("/orders", "Orders"),
            link("/preferences", "Preferences"),
            link("/sessions", "Devices"),
            html`<form method="post" action="/logout">${csrf}<button class="link">Log out ${account.username}</button></form>`,
          ]
    }
    <button class="link" data-theme-button hidden></button>
  </nav>
</header>
<main>
  <p class="notice" role="alert" data-session-warning hidden><span></span> <button class="link">Stay logged in</button></p>
  ${frame.flashes.map(({ kind, message }) => notice(kind, message))}
  ${content}
</main>`,
    frame.theme,
    html`<script type="module" src="/shop.js"></script>`,
    account?.id,
  );
}

/** A page for when nothing is known of the visitor: an error. */
export function barePage(title: string, content: Html): Html {
  return document(
    title,
    html`<header><a class="brand" href="/">The Cloakroom</a></header>
<main>${content}</main>`,
    "auto",
  );
}

export function notice(kind: string, message: string | undefined): Html | undefined {
  return message === undefined
    ? undefined
    : html`<p class="notice ${kind}" role="${kind === "problem" ? "alert" : "status"}">${message}</p>`;
}

function document(title: string, body: Html, theme: string, script?: Html, userId?: string): Html {
  return html`<!doctype html>
<html lang="en" data-theme="${theme}"${userId !== undefined && html` data-user="${userId}"`}>
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title} · The Cloakroom</title>
<link rel="icon" href="/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/style.css">
${script}
</head>
<body>
${body}
</body>
</html>
`;
}
