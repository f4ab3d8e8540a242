import { type Request, type Response, Router } from "express";
import { identify, register } from "../accounts.ts";
import { wantsHtml } from "../answers.ts";
import { browserPreferences, takePreferences } from "../browser-preferences.ts";
import { newCredentials } from "../input.ts";
import type { Translate } from "../language.ts";
import { loginPage, registerPage } from "../pages/accounts.ts";
import { answer, type Page, showData, showPage } from "../pages/show.ts";
import { Problem } from "../problems.ts";
import type { Shop } from "../shop.ts";

/** Registering, logging in and out, and who is logged in. */
export function accountRoutes(shop: Shop): Router {
  const router = Router();

  router.get("/register", (req, res) => showPage(shop, req, res, registerPage()));

  // Registering does not log in: a session belongs to a user from the moment that they proved to know the password.
  router.post(
    "/register",
    formAgain(shop, registerPage, async (req, res) => {
      const account = await register(shop.database, newCredentials(req.body));
      if (account === undefined) throw new Problem(409, "This username is taken.");
      answer(shop, req, res, { json: { success: true }, status: 201, goTo: "/login", message: ready });
    }),
  );

  router.get("/login", (req, res) => {
    const wasSent = shop.session(req).data.returnTo !== undefined;
    const again = shop.account(req) !== undefined;
    const reason = again ? "Please log in again to do this." : "Please log in first.";
    return showPage(shop, req, res, loginPage(wasSent ? { reason } : {}));
  });

  router.post(
    "/login",
    formAgain(shop, loginPage, async (req, res) => {
      const account = await identify(shop.database, req.body);
      const session = shop.session(req);
      const remember = req.body.remember === true || req.body.remember === "on";
      const { username } = account;
      await session.login(account.id, { methods: ["pwd"], remember });
      takePreferences(shop.database, session, account.id, browserPreferences.readStamped(req));
      const goTo = session.data.returnTo ?? "/";
      delete session.data.returnTo;
      answer(shop, req, res, {
        json: { success: true },
        goTo,
        message: (t) => t("Good to see you, {username}.", { username }),
      });
    }),
  );

  router.get("/profile", (req, res) => {
    const { id, username } = shop.requireAccount(req, "/");
    showData(shop, req, res, { username, userId: id, loginTime: shop.session(req).authenticatedAt });
  });

  router.post("/logout", async (req, res) => {
    await shop.session(req).logout();
    answer(shop, req, res, { json: { success: true }, goTo: "/" });
  });

  // A link or an image must not be able to log anybody out.
  router.all("/logout", (_req, res) => {
    res.set("Allow", "POST");
    throw new Problem(405, "Send a POST request to log out.");
  });

  return router;
}

const ready = (t: Translate): string => t("Your account is ready. You can log in now.");

/** When a form cannot be accepted it is shown again, with what was typed (but the password) and what is wrong. */
function formAgain(
  shop: Shop,
  page: (attempt: { username: string; problem: string; status: number }) => Page,
  handle: (req: Request, res: Response) => Promise<void>,
) {
  return async (req: Request, res: Response): Promise<void> => {
    try {
      await handle(req, res);
    } catch (error) {
      if (!(error instanceof Problem) || !wantsHtml(req)) throw error;
      const username = typeof req.body?.username === "string" ? req.body.username.slice(0, 64) : "";
      await showPage(shop, req, res, page({ username, problem: error.message, status: error.status }));
    }
  };
}
