import { Router } from "express";
import { wantsHtml } from "../answers.ts";
import { checkOut } from "../checkout.ts";
import type { Translate } from "../language.ts";
import { ordersPage } from "../pages/orders.ts";
import { answer, showData, showPage } from "../pages/show.ts";
import type { Shop } from "../shop.ts";

export const thanks = (t: Translate): string => t("Thank you. Your order is placed.");

export function checkoutRoutes(shop: Shop): Router {
  const router = Router();

  router.post("/checkout", async (req, res) => {
    const account = shop.requireAccount(req, "/cart");
    const order = await checkOut(shop, shop.session(req), account);
    answer(shop, req, res, { json: { order }, goTo: "/orders", message: thanks });
  });

  router.get("/orders", async (req, res) => {
    const orders = shop.database.ordersOf(shop.requireAccount(req, "/orders").id);
    if (wantsHtml(req)) return showPage(shop, req, res, ordersPage(orders, shop.clock.now()));
    showData(shop, req, res, { orders });
  });

  return router;
}
