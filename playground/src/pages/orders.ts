import type { Order } from "../database.ts";
import { html } from "../html.ts";
import { linesTable } from "./cart.ts";
import { ago } from "./format.ts";
import type { Page } from "./show.ts";

export const ordersPage = (orders: readonly Order[], now: number): Page => ({
  title: "Orders",
  content: (_csrf, t) => html`<h1>${t("Your orders")}</h1>
${orders.length === 0 && html`<p class="empty">${t("None so far.")} <a href="/">${t("Look around")}</a>.</p>`}
${orders.map(
  (order) => html`<section class="card wide">
  <h2>${t("Order {id}", { id: order.id.slice(0, 8) })} <small class="quiet">${ago(order.placedAt, now, t)}</small></h2>
  ${linesTable(order.lines, t)}
</section>`,
)}`,
});
