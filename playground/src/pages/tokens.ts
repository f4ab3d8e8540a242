import { html } from "../html.ts";
import type { Page } from "./show.ts";

/** What `public/tokens.js` fills. Without it there is only the text: nothing here can send a password by itself. */
export const tokensPage = (username: string): Page => ({
  title: "Tokens",
  script: "/tokens.js",
  content: (_csrf, t) => html`<section class="narrow">
<h1>${t("A session with tokens")}</h1>
<p class="quiet">${t("Another session of your account, as a client of an API has it: the access token is in this page's memory and nowhere else, the refresh token in a cookie that no script can read. After a reload, or ten minutes, the page gets itself another access token.")}</p>
<noscript><p class="notice problem">${t("This page needs JavaScript.")}</p></noscript>
<div data-tokens hidden>
  <p class="notice problem" role="alert" data-tokens-problem data-failed="${t("That did not work.")}" data-unreachable="${t("The shop cannot be reached.")}" hidden></p>
  <dl class="card wide">
    <dt>${t("State of the session")}</dt>
    <dd role="status">${(["unknown", "anonymous", "signed-in", "expired"] as const).map((status) => html`<span class="badge" data-status="${status}" hidden>${t(status)}</span>`)}</dd>
    <dt data-of-profile hidden>${t("Username")}</dt><dd data-of-profile="username" hidden></dd>
    <dt data-of-profile hidden>${t("User id")}</dt><dd data-of-profile="userId" hidden></dd>
    <dt data-of-profile hidden>${t("Logged in at")}</dt><dd data-of-profile="loginTime" hidden></dd>
  </dl>
  <form method="post" class="stack" data-tokens-login hidden>
    <label>${t("Username")} <input name="username" value="${username}" autocomplete="username" readonly required></label>
    <label>${t("Password")} <input type="password" name="password" autocomplete="current-password" maxlength="256" required></label>
    <button>${t("Log in for tokens")}</button>
  </form>
  <p class="actions" data-tokens-actions hidden>
    <button class="plain" data-reload>${t("Reload and refresh")}</button>
    <button class="plain" data-logout>${t("End this session")}</button>
    <button data-fetch>${t("Fetch the profile")}</button>
  </p>
</div>
</section>`,
});
