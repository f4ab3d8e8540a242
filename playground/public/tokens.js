// The page of the session with tokens. No token is in this file's hands: the client keeps it, in memory.
import { createTokenClient } from "/token-client.js";

const { user } = document.documentElement.dataset;
const client = createTokenClient();
const panel = document.querySelector("[data-tokens]");
const find = (name) => panel.querySelector(`[data-tokens-${name}]`);
const [form, actions, problem] = [find("login"), find("actions"), find("problem")];

const showProfile = (profile) => {
  for (const part of panel.querySelectorAll("[data-of-profile]")) {
    part.hidden = profile === undefined;
    const name = part.dataset.ofProfile;
    if (name === "") continue;
    const value = profile?.[name] ?? "";
    part.textContent =
      name === "loginTime" && value ? new Date(value).toLocaleString(document.documentElement.lang) : value;
  }
};

const show = () => {
  const { status, userId } = client.session.get();
  // Left by somebody else who used this browser.
  if (status === "signed-in" && userId !== user) return void client.logout();
  for (const badge of panel.querySelectorAll("[data-status]")) badge.hidden = badge.dataset.status !== status;
  actions.hidden = status !== "signed-in";
  form.hidden = status !== "anonymous" && status !== "expired";
  if (status !== "signed-in") showProfile(undefined);
};

const tell = (text) => {
  problem.hidden = text === undefined;
  problem.textContent = text ?? "";
};
/** Does what a button is for, and says when it did not work. */
const attempt = async (action) => {
  tell(undefined);
  try {
    const response = await action();
    if (response?.ok === false) tell((await response.json().catch(() => ({}))).error ?? problem.dataset.failed);
  } catch {
    tell(problem.dataset.unreachable);
  }
};

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const credentials = Object.fromEntries(new FormData(form));
  form.elements.password.value = "";
  attempt(() => client.login(credentials));
});
panel.querySelector("[data-fetch]").addEventListener("click", () =>
  attempt(async () => {
    const response = await client.fetch("/token/profile");
    if (response.ok) showProfile(await response.json());
    return response;
  }),
);
panel.querySelector("[data-reload]").addEventListener("click", () => location.reload());
panel.querySelector("[data-logout]").addEventListener("click", () => attempt(() => client.logout()));

client.session.subscribe(show);
show();
panel.hidden = false;
attempt(() => client.check());
