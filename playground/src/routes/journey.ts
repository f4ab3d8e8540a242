import { Router } from "express";
import { wantsHtml } from "../answers.ts";
import { journeyPage } from "../pages/journey.ts";
import { showPage } from "../pages/show.ts";
import type { Shop } from "../shop.ts";

/** The visitor's own trail. `showPage` and `showData` write it; looking at it leaves no trace in it. */
export function journeyRoutes(shop: Shop): Router {
  const router = Router();

  router.get("/journey", async (req, res) => {
    const { trail } = shop.session(req).data;
    if (wantsHtml(req)) return showPage(shop, req, res, journeyPage(trail, shop.clock.now()));
    res.json({ journey: trail });
  });

  return router;
}
