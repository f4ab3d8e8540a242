import { accessTokenOf, requireAccessToken, tokenRoute } from "coatcheck/express";
import type { SessionTokens } from "coatcheck/tokens";
import { type Request, Router } from "express";
import { identify } from "../accounts.ts";
import { showPage } from "../pages/show.ts";
import { tokensPage } from "../pages/tokens.ts";
import type { problemAnswers } from "../problem-answers.ts";
import { Problem } from "../problems.ts";
import type { Shop } from "../shop.ts";

/** The page on which a browser is such a client. */
export function tokenPageRoutes(shop: Shop): Router {
  const router = Router();
  router.get("/tokens", (req, res) => {
    const { username } = shop.requireAccount(req, "/tokens");
    return showPage(shop, req, res, tokensPage(username));
  });
  return router;
}

/** The same accounts for clients that carry an access token: login, profile, refresh, logout, and the keys to verify with. */
export function tokenRoutes(shop: Shop, tokens: SessionTokens, onError: ReturnType<typeof problemAnswers>): Router {
  const router = Router();

  router.post(
    "/token/login",
    tokenRoute(
      tokens,
      async (endpoint, req: Request) => {
        const account = await identify(shop.database, req.body);
        return endpoint.login(account.id, { methods: ["pwd"] });
      },
      { onError },
    ),
  );

  router.post(
    "/token/refresh",
    tokenRoute(tokens, (endpoint) => endpoint.refresh(), { onError }),
  );

  router.post(
    "/token/logout",
    tokenRoute(
      tokens,
      async (endpoint) => {
        await endpoint.logout();
        return { success: true };
      },
      { onError },
    ),
  );

  router.get("/token/profile", requireAccessToken(tokens, { onError }), (req, res) => {
    const { sub, auth_time = 0 } = accessTokenOf(tokens, req);
    const account = shop.database.account(sub);
    if (account === undefined) throw new Problem(401, "Not logged in");
    res.json({ username: account.username, userId: account.id, loginTime: auth_time * 1000 });
  });

  router.get("/.well-known/jwks.json", (_req, res) => {
    res.set("Cache-Control", "public, max-age=300").json(tokens.jwks());
  });

  return router;
}
