import { type Html, html } from "../html.ts";
import type { Text, Translate } from "../language.ts";
import type { Preferences } from "../visit.ts";
import type { Page } from "./show.ts";

export const THEMES = { auto: "As the system", light: "Light", dark: "Dark" } as const;
const LANGUAGES = { auto: "As the browser", en: "English", de: "Deutsch" } as const;
const MAILS = { never: "Never", monthly: "Once a month", weekly: "Once a week" } as const;

export const preferencesPage = (preferences: Preferences): Page => ({
  title: "Preferences",
  content: (csrf, t) => html`<section class="narrow">
<h1>${t("Preferences")}</h1>
<form method="post" action="/preferences" class="stack">
  ${csrf}
  <label>${t("Colours")} <select name="theme">${options(THEMES, preferences.theme, t)}</select></label>
  <label>${t("Language")} <select name="language">${options(LANGUAGES, preferences.language, t)}</select></label>
  <label>${t("News by mail")} <select name="news">${options(MAILS, preferences.news, t)}</select></label>
  <button>${t("Save")}</button>
</form>
</section>`,
});

const options = (
  labels: Readonly<Record<string, Text | "English" | "Deutsch">>,
  chosen: unknown,
  t: Translate,
): Html[] =>
  Object.entries(labels).map(
    ([value, label]) =>
      html`<option value="${value}"${value === chosen && html` selected`}>${label === "English" || label === "Deutsch" ? label : t(label)}</option>`,
  );
