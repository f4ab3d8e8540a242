import { type Html, html } from "../html.ts";
import { notice } from "./layout.ts";
import type { Page } from "./show.ts";

/** What was typed before, and what was wrong with it. */
interface Attempt {
  readonly username?: string;
  readonly problem?: string;
  readonly status?: number;
}

export const loginPage = (attempt: Attempt = {}): Page => ({
  title: "Log in",
  ...statusOf(attempt),
  content: (csrf) => html`<section class="narrow">
<h1>Log in</h1>
${notice("problem", attempt.problem)}
<form method="post" action="/login" class="stack">
  ${csrf}
  ${usernameField(attempt)}
  <label>Password <input type="password" name="password" autocomplete="current-password" maxlength="256" required></label>
  <label class="check"><input type="checkbox" name="remember" value="on"> Remember me on this device</label>
  <button>Log in</button>
</form>
<p class="quiet">New here? <a href="/register">Make an account</a>. What is in your cart stays there.</p>
</section>`,
});

export const registerPage = (attempt: Attempt = {}): Page => ({
  title: "Register",
  ...statusOf(attempt),
  content: (csrf) => html`<section class="narrow">
<h1>Register</h1>
${notice("problem", attempt.problem)}
<form method="post" action="/register" class="stack">
  ${csrf}
  ${usernameField(attempt)}
  <label>Password <small>8 characters or more</small>
    <input type="password" name="password" autocomplete="new-password" minlength="8" maxlength="256" required></label>
  <button>Register</button>
</form>
<p class="quiet">Have an account? <a href="/login">Log in</a>.</p>
</section>`,
});

const statusOf = ({ status }: Attempt) => (status === undefined ? {} : { status });

const usernameField = ({ username = "" }: Attempt): Html =>
  html`<label>Username <input name="username" value="${username}" autocomplete="username" maxlength="64" required></label>`;
