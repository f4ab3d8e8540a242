import type { Order } from "../database.ts";
import { html } from "../html.ts";
import { linesTable } from "./cart.ts";
import { ago } from "./format.ts";
import type { Page } from "./show.ts";

export const ordersPage = (orders: readonly Order[], now: number): Page => ({
  title: "Orders",
  content: () => html`<h1>Your orders</h1>
${orders.length === 0 && html`<p class="empty">None so far. <a href="/">Look around</a>.</p>`}
${orders.map(
  (order) => html`<section class="card wide">
  <h2>Order ${order.id.slice(0, 8)} <small class="quiet">${ago(order.placedAt, now)}</small></h2>
  ${linesTable(order.lines)}
</section>`,
)}`,
});
