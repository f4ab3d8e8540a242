import { type Html, html } from "../html.ts";
import type { Preferences } from "../visit.ts";
import type { Page } from "./show.ts";

const THEMES = { auto: "As the system", light: "Light", dark: "Dark" };
const MAILS = { never: "Never", monthly: "Once a month", weekly: "Once a week" };

export const preferencesPage = (preferences: Preferences): Page => ({
  title: "Preferences",
  content: (csrf) => html`<section class="narrow">
<h1>Preferences</h1>
<form method="post" action="/preferences" class="stack">
  ${csrf}
  <label>Colours <select name="theme">${options(THEMES, preferences.theme)}</select></label>
  <label>News by mail <select name="news">${options(MAILS, preferences.news)}</select></label>
  <button>Save</button>
</form>
</section>`,
});

const options = (labels: Readonly<Record<string, string>>, chosen: unknown): Html[] =>
  Object.entries(labels).map(
    ([value, label]) => html`<option value="${value}"${value === chosen && html` selected`}>${label}</option>`,
  );
