import { type OrderLine, totalOf } from "../database.ts";
import { type Html, html } from "../html.ts";
import type { PendingOrder } from "../visit.ts";
import { money } from "./format.ts";
import type { Page } from "./show.ts";

export const cartPage = (items: readonly OrderLine[], pending: PendingOrder | undefined): Page => ({
  title: "Cart",
  content: (csrf) => html`<h1>Your cart</h1>
${
  pending !== undefined &&
  html`<form method="post" action="/checkout" class="notice">
  ${csrf} An order of yours was interrupted. <button>Finish the order</button>
</form>`
}
${
  items.length === 0
    ? html`<p class="empty">Nothing in it yet. <a href="/">Look around</a>.</p>`
    : html`${linesTable(items, ({ productId, name }) => removeForm(csrf, productId, name))}
<p class="actions"><a href="/">Go on looking</a> <a class="button" href="/checkout/form">Check out</a></p>`
}`,
});

const removeForm = (csrf: Html, productId: string, name: string): Html =>
  html`<form method="post" action="/cart/${productId}/remove">${csrf}<button class="link" aria-label="Remove ${name}">Remove</button></form>`;

/** Lines, and their total. `last` fills a last column. */
export function linesTable(lines: readonly OrderLine[], last?: (line: OrderLine) => Html): Html {
  return html`<table class="lines">
<thead><tr><th>Product</th><th class="number">Price</th><th class="number">Quantity</th><th class="number">Sum</th>${last && html`<th></th>`}</tr></thead>
<tbody>
  ${lines.map(
    (
      line,
    ) => html`<tr><td>${line.name}</td><td class="number">${money(line.price)}</td><td class="number">${line.quantity}</td>
    <td class="number">${money(totalOf([line]))}</td>${last && html`<td class="number">${last(line)}</td>`}</tr>`,
  )}
</tbody>
<tfoot><tr><th colspan="3">Total</th><td class="number">${money(totalOf(lines))}</td>${last && html`<td></td>`}</tr></tfoot>
</table>`;
}
