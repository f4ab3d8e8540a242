// What the shop's pages do with JavaScript; all of them work without. The module is the one that applications import.
import { createClient, oneOf, preferences, setStateUser, tabState } from "/coatcheck/browser/index.js";
import { createTokenClient } from "/token-client.js";

const page = document.documentElement;
const { user } = page.dataset;

// Whose page this is, the server has said. What a visitor began becomes theirs; what others left is gone.
setStateUser(user);
const client = createClient();

// Colours and language, for a user on all devices. Colours change at once, in all tabs.
const prefs = preferences(
  {
    theme: { initial: "auto", schema: oneOf("auto", "light", "dark") },
    language: { initial: "auto", schema: oneOf("auto", "en", "de") },
  },
  {
    async exchange(mine) {
      if (user === undefined) return undefined;
      const headers = { "Content-Type": "application/json", Accept: "application/json" };
      const response = await client.fetch("/preferences/sync", { method: "POST", headers, body: JSON.stringify(mine) });
      return response.ok ? response.json() : undefined;
    },
  },
);
const themeButton = document.querySelector("[data-theme-button]");
const showTheme = (theme) => {
  page.dataset.theme = theme;
  themeButton.textContent = themeButton.dataset[theme];
};
themeButton.hidden = false;
// The server has rendered it; what the browser keeps may be older.
showTheme(page.dataset.theme);
themeButton.addEventListener("click", () => {
  const names = ["auto", "light", "dark"];
  const theme = names[(names.indexOf(page.dataset.theme) + 1) % names.length];
  // Without the network the choice stays in the browser until the next page.
  prefs.set({ theme }).catch(() => {});
});
const languageButton = document.querySelector("[data-language-button]");
languageButton.hidden = false;
languageButton.addEventListener("click", async () => {
  await prefs.set({ language: languageButton.dataset.languageButton }).catch(() => {});
  // The texts are the server's.
  location.reload();
});
prefs.subscribe(() => showTheme(prefs.get().theme));
if (user !== undefined) prefs.sync().catch(() => {});

// What is typed into the checkout form survives a reload, a crash and a login, in this tab only.
const isDraft = (value) =>
  typeof value === "object" && value !== null && Object.values(value).every((text) => typeof text === "string");
const draft = tabState("checkout", { initial: {}, schema: isDraft, ttl: 3_600_000 });
const form = document.querySelector("form[data-draft]");
if (form !== null) {
  const { draft: step } = form.dataset;
  for (const field of form.querySelectorAll("input[name]:not([type=hidden])")) {
    const text = draft.get()[`${step}.${field.name}`];
    // What the server knows is not replaced.
    if (text === undefined) continue;
    if (field.type === "radio") field.checked ||= field.value === text && form.elements[field.name].value === "";
    else if (field.value === "") field.value = text.slice(0, 100);
  }
  form.addEventListener("input", ({ target }) => {
    draft.set({ ...draft.get(), [`${step}.${target.name}`]: target.value });
  });
}
// The order is placed.
if (location.pathname === "/orders") draft.remove();

// The logout empties the browser before the server is asked, in all tabs, and without a network too.
let leaving = false;
document.querySelector('form[action="/logout"]')?.addEventListener("submit", async (event) => {
  event.preventDefault();
  leaving = true;
  // The session with tokens too: the next at this browser may be somebody else.
  await Promise.all([client.logout(), createTokenClient().logout()]);
  location.assign("/");
});

if (user !== undefined) {
  const warning = document.querySelector("[data-session-warning]");
  const text = warning.querySelector("span");
  const show = () => {
    const { status, ending } = client.session.get();
    warning.hidden = ending === undefined;
    if (ending !== undefined)
      text.textContent = text.dataset.text.replace("{time}", new Date(ending.at).toLocaleTimeString(page.lang));
    // Logged out in another tab, or the session has ended: the page is not theirs any more.
    if (!leaving && (status === "anonymous" || status === "expired")) location.reload();
  };
  warning.querySelector("button").addEventListener("click", () => client.check().catch(() => {}));
  client.session.subscribe(show);
  client.check().catch(() => {});
}
