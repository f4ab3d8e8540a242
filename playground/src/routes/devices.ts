import { RecentAuthRequiredError } from "coatcheck";
import { type Request, type Response, Router } from "express";
import { wantsHtml } from "../answers.ts";
import { devicesPage } from "../pages/devices.ts";
import { answer, showData, showPage } from "../pages/show.ts";
import { LoginNeeded, Problem } from "../problems.ts";
import type { Shop } from "../shop.ts";

const PATH = "/sessions";

/** The devices on which the user is logged in. */
export function deviceRoutes(shop: Shop): Router {
  const router = Router();

  const sessionsOf = (req: Request<never>) => shop.sessions.forUser(shop.requireAccount(req, PATH).id);

  router.get(PATH, async (req: Request<never>, res) => {
    const sessions = await sessionsOf(req)
      .list({ by: shop.session(req) })
      .catch(unlisted);
    if (wantsHtml(req)) return showPage(shop, req, res, devicesPage(sessions, shop.clock.now()));
    showData(shop, req as never, res, { sessions });
  });

  const revoke = async (req: Request<{ id: string }>, res: Response) => {
    const ofUser = sessionsOf(req as never);
    const own = shop.session(req);
    // Ending the session that asks is a logout, which anybody may do at any time.
    if (req.params.id === own.id) await own.logout();
    else if (!(await ofUser.revoke(req.params.id, { by: own }).catch(loginAgain).catch(unlisted)))
      throw new Problem(404, "You have no such session.");
    answer(shop, req, res, { json: { success: true }, goTo: PATH, message: (t) => t("Logged out there.") });
  };
  router.delete("/sessions/:id", revoke);

  const revokeOthers = async (req: Request<never>, res: Response) => {
    const own = shop.session(req);
    const revoked = await sessionsOf(req).revokeAll({ by: own, except: own.id }).catch(loginAgain);
    answer(shop, req, res, {
      json: { success: true, revoked },
      goTo: PATH,
      message: (t) => t("Logged out everywhere else."),
    });
  };
  router.delete(PATH, revokeOthers);

  // Forms know no DELETE.
  router.post("/sessions/revoke-others", revokeOthers);
  router.post("/sessions/:id/revoke", revoke);

  return router;
}

/** The password was typed too long ago. */
function loginAgain(error: unknown): never {
  throw error instanceof RecentAuthRequiredError ? new LoginNeeded(PATH, error.publicMessage) : error;
}

/** Nobody has a list of sealed sessions. */
function unlisted(error: unknown): never {
  if (!(error instanceof TypeError)) throw error;
  throw new Problem(404, "The shop keeps no list of your devices. You can log out everywhere else at once.");
}
