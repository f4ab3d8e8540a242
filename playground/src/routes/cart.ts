import { type Request, type Response, Router } from "express";
import { isForm, wantsHtml } from "../answers.ts";
import { totalOf } from "../database.ts";
import { cartLine } from "../input.ts";
import { cartPage } from "../pages/cart.ts";
import { answer, showData, showPage } from "../pages/show.ts";
import { Problem } from "../problems.ts";
import type { Shop } from "../shop.ts";

/** Most of one product, after any number of additions. */
const MAX_LINE = 10_000;

/** The cart: plain data of the session, changed in plain code. */
export function cartRoutes(shop: Shop): Router {
  const router = Router();

  router.post("/cart/add", (req, res) => {
    const { productId, quantity } = cartLine(req.body, isForm(req));
    const product = shop.database.product(productId);
    if (product === undefined) throw new Problem(400, "productId is not the id of a product.");
    const { cart } = shop.session(req).data;

    const line = cart.find((line) => line.productId === productId);
    if ((line?.quantity ?? 0) + quantity > MAX_LINE) throw new Problem(400, `At most ${MAX_LINE} of one product.`);
    if (line) line.quantity += quantity;
    else cart.push({ productId, quantity });

    answer(shop, req, res, {
      json: { cart },
      goTo: "/cart",
      message: (t) => t("{name} is in your cart.", { name: product.name }),
    });
  });

  router.get("/cart", async (req, res) => {
    const { cart, pendingOrder } = shop.session(req).data;
    const items = shop.database.priced(cart);
    if (wantsHtml(req)) return showPage(shop, req, res, cartPage(items, pendingOrder));
    showData(shop, req, res, { items, total: totalOf(items) });
  });

  const remove = (req: Request<{ productId: string }>, res: Response) => {
    const { data } = shop.session(req);
    data.cart = data.cart.filter((line) => line.productId !== req.params.productId);
    answer(shop, req, res, { json: { cart: data.cart }, goTo: "/cart" });
  };
  router.delete("/cart/:productId", remove);
  // Forms know no DELETE.
  router.post("/cart/:productId/remove", remove);

  return router;
}
