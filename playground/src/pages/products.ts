import type { Product } from "../database.ts";
import { html } from "../html.ts";
import { money } from "./format.ts";
import type { Page } from "./show.ts";

export const productsPage = (products: readonly Product[]): Page => ({
  title: "Products",
  content: (csrf, t) => html`<h1>${t("For the way out")}</h1>
<ul class="products">
  ${products.map(
    ({ id, name, about, price }) => html`<li class="card">
    <img src="/pictures/${id}.svg" alt="" width="96" height="96">
    <h2>${name} <span>${money(price)}</span></h2>
    <p class="quiet">${about}</p>
    <form method="post" action="/cart/add" class="buy">
      ${csrf}
      <input type="hidden" name="productId" value="${id}">
      <input type="number" name="quantity" value="1" min="1" max="99" aria-label="${t("Quantity of {name}", { name })}">
      <button aria-label="${t("Add {name} to the cart", { name })}">${t("Add")}</button>
    </form>
  </li>`,
  )}
</ul>`,
});
