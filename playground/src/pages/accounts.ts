import { type Html, html } from "../html.ts";
import type { Text, Translate } from "../language.ts";
import { notice } from "./layout.ts";
import type { Page } from "./show.ts";

/** What was typed before, and what was wrong with it. */
interface Attempt {
  readonly username?: string;
  readonly problem?: string;
  /** Why one was led here. */
  readonly reason?: Text;
  readonly status?: number;
}

export const loginPage = (attempt: Attempt = {}): Page => ({
  title: "Log in",
  ...statusOf(attempt),
  content: (csrf, t) => html`<section class="narrow">
<h1>${t("Log in")}</h1>
${notice("problem", attempt.reason && t(attempt.reason))}
${notice("problem", attempt.problem)}
<form method="post" action="/login" class="stack">
  ${csrf}
  ${usernameField(attempt, t)}
  <label>${t("Password")} <input type="password" name="password" autocomplete="current-password" maxlength="256" required></label>
  <label class="check"><input type="checkbox" name="remember" value="on"> ${t("Remember me on this device")}</label>
  <button>${t("Log in")}</button>
</form>
<p class="quiet">${t("New here?")} <a href="/register">${t("Make an account")}</a>. ${t("What is in your cart stays there.")}</p>
</section>`,
});

export const registerPage = (attempt: Attempt = {}): Page => ({
  title: "Register",
  ...statusOf(attempt),
  content: (csrf, t) => html`<section class="narrow">
<h1>${t("Register")}</h1>
${notice("problem", attempt.problem)}
<form method="post" action="/register" class="stack">
  ${csrf}
  ${usernameField(attempt, t)}
  <label>${t("Password")} <small>${t("8 characters or more")}</small>
    <input type="password" name="password" autocomplete="new-password" minlength="8" maxlength="256" required></label>
  <button>${t("Register")}</button>
</form>
<p class="quiet">${t("Have an account?")} <a href="/login">${t("Log in")}</a>.</p>
</section>`,
});

const statusOf = ({ status }: Attempt) => (status === undefined ? {} : { status });

const usernameField = ({ username = "" }: Attempt, t: Translate): Html =>
  html`<label>${t("Username")} <input name="username" value="${username}" autocomplete="username" maxlength="64" required></label>`;
