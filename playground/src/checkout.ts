import { randomUUID } from "node:crypto";
import type { Session } from "coatcheck";
import type { Account, Order } from "./database.ts";
import { Problem } from "./problems.ts";
import type { Shop } from "./shop.ts";
import type { Visit } from "./visit.ts";

/**
 * Turns the cart into an order, once, however often and wherever it is asked for.
 *
 * The cart is in the session and the order in the shop's database, and nothing spans both. So the cart is claimed first:
 * in one commit it is emptied and what was in it becomes a pending order with an id of its own. Of two requests that
 * claim at the same time, in one process or in two, one is refused (409), since they write different ids. Only then is the
 * order placed, under that id, so placing it again changes nothing. If the process dies in between, the claim is still
 * in the session and the next checkout finishes it.
 */
export async function checkOut(shop: Shop, session: Session<Visit>, account: Account): Promise<Order> {
  const { data } = session;
  const finished = finishPending(shop, data);
  if (data.cart.length === 0) {
    if (finished !== undefined) return finished;
    throw new Problem(400, "Cart is empty");
  }
  data.pendingOrder = { id: randomUUID(), userId: account.id, lines: data.cart, details: data.form };
  data.cart = [];
  data.form = {};
  await session.commit();
  return finishPending(shop, data) as Order;
}

function finishPending(shop: Shop, data: Visit): Order | undefined {
  if (data.pendingOrder === undefined) return undefined;
  const order = shop.database.placeOrder(data.pendingOrder, shop.clock.now());
  delete data.pendingOrder;
  return order;
}
