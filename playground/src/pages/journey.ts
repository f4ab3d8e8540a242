import { html } from "../html.ts";
import type { PageView } from "../visit.ts";
import { ago } from "./format.ts";
import type { Page } from "./show.ts";

export const journeyPage = (trail: readonly PageView[], now: number): Page => ({
  title: "Journey",
  recorded: false,
  content: (_csrf, t) => html`<h1>${t("Your way through the shop")}</h1>
<p class="quiet">${t("The last {count} pages that this browser has seen, the newest first. Nobody but you can see them.", { count: trail.length })}</p>
${trail.length === 0 && html`<p class="empty">${t("No page yet.")}</p>`}
<ol class="trail">
  ${trail.toReversed().map(({ path, at }) => html`<li><a href="${path}">${path}</a> ${ago(at, now, t)}</li>`)}
</ol>`,
});
