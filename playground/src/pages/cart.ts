import { type OrderLine, totalOf } from "../database.ts";
import { type Html, html } from "../html.ts";
import type { Translate } from "../language.ts";
import type { PendingOrder } from "../visit.ts";
import { money } from "./format.ts";
import type { Page } from "./show.ts";

export const cartPage = (items: readonly OrderLine[], pending: PendingOrder | undefined): Page => ({
  title: "Cart",
  content: (csrf, t) => html`<h1>${t("Your cart")}</h1>
${
  pending !== undefined &&
  html`<form method="post" action="/checkout" class="notice">
  ${csrf} ${t("An order of yours was interrupted.")} <button>${t("Finish the order")}</button>
</form>`
}
${
  items.length === 0
    ? html`<p class="empty">${t("Nothing in it yet.")} <a href="/">${t("Look around")}</a>.</p>`
    : html`${linesTable(items, t, ({ productId, name }) => removeForm(csrf, t, productId, name))}
<p class="actions"><a href="/">${t("Go on looking")}</a> <a class="button" href="/checkout/form">${t("Check out")}</a></p>`
}`,
});

const removeForm = (csrf: Html, t: Translate, productId: string, name: string): Html =>
  html`<form method="post" action="/cart/${productId}/remove">${csrf}<button class="link" aria-label="${t("Remove {name}", { name })}">${t("Remove")}</button></form>`;

/** Lines, and their total. `last` fills a last column. */
export function linesTable(lines: readonly OrderLine[], t: Translate, last?: (line: OrderLine) => Html): Html {
  return html`<table class="lines">
<thead><tr><th>${t("Product")}</th><th class="number">${t("Price")}</th><th class="number">${t("Quantity")}</th><th class="number">${t("Sum")}</th>${last && html`<th></th>`}</tr></thead>
<tbody>
  ${lines.map(
    (
      line,
    ) => html`<tr><td>${line.name}</td><td class="number">${money(line.price)}</td><td class="number">${line.quantity}</td>
    <td class="number">${money(totalOf([line]))}</td>${last && html`<td class="number">${last(line)}</td>`}</tr>`,
  )}
</tbody>
<tfoot><tr><th colspan="3">${t("Total")}</th><td class="number">${money(totalOf(lines))}</td>${last && html`<td></td>`}</tr></tfoot>
</table>`;
}
