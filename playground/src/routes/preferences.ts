import { Router } from "express";
import { wantsHtml } from "../answers.ts";
import { keepPreferences, takePreferences } from "../browser-preferences.ts";
import { fields, mergedPreferences, preferences } from "../input.ts";
import { preferencesPage } from "../pages/preferences.ts";
import { answer, showData, showPage } from "../pages/show.ts";
import type { Shop } from "../shop.ts";

const PATH = "/preferences";

export function preferenceRoutes(shop: Shop): Router {
  const router = Router();

  router.get(PATH, async (req, res) => {
    shop.requireAccount(req, PATH);
    const { data } = shop.session(req);
    if (wantsHtml(req)) return showPage(shop, req, res, preferencesPage(data.preferences));
    showData(shop, req, res, data.preferences);
  });

  router.post(PATH, (req, res) => {
    const account = shop.requireAccount(req, PATH);
    const added = preferences(req.body);
    const now = shop.clock.now();
    const chosen = Object.entries(added).map(([name, value]) => [name, [value, now]]);
    keepPreferences(shop.database, account.id, Object.fromEntries(chosen));
    // Two tabs may save at the same time, even through two servers: both are merged.
    shop.session(req).update("preferences", (old) => mergedPreferences(old, added));
    answer(shop, req, res, { json: { success: true }, goTo: PATH, message: (t) => t("Saved.") });
  });

  // What the browser has chosen meets what the user chose elsewhere.
  router.post(`${PATH}/sync`, (req, res) => {
    const account = shop.requireAccount(req, PATH);
    res.json(takePreferences(shop.database, shop.session(req), account.id, fields(req.body)));
  });

  return router;
}
