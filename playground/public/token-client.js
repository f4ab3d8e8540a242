// The session with tokens. It is not the one that the shop's pages show, so it does not say whose state the browser keeps.
import { createClient } from "/coatcheck/browser/index.js";

export const createTokenClient = () =>
  createClient({
    routes: { login: "/token/login", logout: "/token/logout", profile: "/token/profile", refresh: "/token/refresh" },
    ownsState: false,
  });
