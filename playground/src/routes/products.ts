import { Router } from "express";
import { wantsHtml } from "../answers.ts";
import { productsPage } from "../pages/products.ts";
import { showData, showPage } from "../pages/show.ts";
import type { Shop } from "../shop.ts";

export function productRoutes(shop: Shop): Router {
  const router = Router();

  router.get("/", (req, res) => showPage(shop, req, res, productsPage(shop.database.products())));

  router.get("/products", async (req, res) => {
    const products = shop.database.products();
    if (wantsHtml(req)) return showPage(shop, req, res, productsPage(products));
    showData(shop, req, res, { products });
  });

  return router;
}
