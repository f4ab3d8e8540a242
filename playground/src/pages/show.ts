import type { Request, Response } from "express";
import { wantsHtml } from "../answers.ts";
import { browserPreferences } from "../browser-preferences.ts";
import { type Html, html } from "../html.ts";
import { languageOf, type Text, type Translate, type Translation, translation } from "../language.ts";
import type { Shop } from "../shop.ts";
import type { PageView } from "../visit.ts";
import { page } from "./layout.ts";

const TRAIL_LENGTH = 50;

export interface Page {
  readonly title: Text | ((t: Translate) => string);
  /** A script of the folder public/ that the page needs beside the shop's. */
  readonly script?: string;
  readonly status?: number;
  /** Whether the view belongs to the visitor's journey. Default true. */
  readonly recorded?: boolean;
  /** The page's own part. `csrf` is the hidden field that each of its forms needs, `t` puts texts into the visitor's language. */
  content(csrf: Html, t: Translate): Html;
}

/** Shows a page: with the waiting messages, and with a note of it in the visitor's trail. */
export async function showPage(shop: Shop, request: Request, response: Response, shown: Page): Promise<void> {
  const session = shop.session(request);
  const { status = 200, recorded = true } = shown;
  if (recorded && status === 200) noteView(shop, request);
  const csrf = html`<input type="hidden" name="_csrf" value="${await session.csrfToken()}">`;
  const { cart, preferences } = session.data;
  const account = shop.account(request);
  const { language, t } = translationFor(shop, request);
  const frame = {
    language,
    t,
    script: shown.script,
    account,
    cartCount: cart.reduce((sum, line) => sum + line.quantity, 0),
    flashes: await session.takeFlash(),
    theme: account === undefined ? browserPreferences.read(request).theme : themeOf(preferences.theme),
    csrf,
    path: request.path,
  };
  response
    .status(status)
    .type("html")
    .send(
      page(typeof shown.title === "string" ? t(shown.title) : shown.title(t), shown.content(csrf, t), frame).toString(),
    );
}

/** Answers what a page shows as JSON. It counts as a view of a visitor who has a session; none is made for it. */
export function showData(shop: Shop, request: Request, response: Response, json: object): void {
  // Without a session there is nothing that could expire.
  if (shop.session(request).expiresAt !== undefined) noteView(shop, request);
  response.json(json);
}

function noteView(shop: Shop, request: Request): void {
  const session = shop.session(request);
  if (session.readOnly) return;
  const view: PageView = { path: request.path, at: shop.clock.now() };
  // Not an assignment: pages are loaded in parallel, and of two views none may get lost.
  session.update("trail", (trail) => [...trail, view].slice(-TRAIL_LENGTH));
}

/** After a form: another page, so that a reload sends nothing twice, with a message. For all others: JSON. */
export function answer(
  shop: Shop,
  request: Request,
  response: Response,
  options: {
    readonly json: object;
    readonly status?: number;
    readonly goTo: string;
    readonly message?: (t: Translate) => string;
  },
): void {
  const { json, status = 200, goTo, message } = options;
  if (!wantsHtml(request)) return void response.status(status).json(json);
  if (message !== undefined) shop.session(request).flash("done", message(translationFor(shop, request).t));
  response.redirect(303, goTo);
}

/** In the language of the request's visitor. */
function translationFor(shop: Shop, request: Request): Translation {
  const known = shop.account(request) !== undefined;
  return translation(
    languageOf(request, known ? (shop.session(request).data.preferences.language ?? "auto") : undefined),
  );
}

/** Preferences may hold anything. */
const themeOf = (value: unknown): string => (value === "dark" || value === "light" ? value : "auto");
