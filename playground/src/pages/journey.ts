import { html } from "../html.ts";
import type { PageView } from "../visit.ts";
import { ago } from "./format.ts";
import type { Page } from "./show.ts";

export const journeyPage = (trail: readonly PageView[], now: number): Page => ({
  title: "Journey",
  recorded: false,
  content: () => html`<h1>Your way through the shop</h1>
<p class="quiet">The last ${trail.length} pages that this browser has seen, the newest first. Nobody but you can see them.</p>
${trail.length === 0 && html`<p class="empty">No page yet.</p>`}
<ol class="trail">
  ${trail.toReversed().map(({ path, at }) => html`<li><a href="${path}">${path}</a> ${ago(at, now)}</li>`)}
</ol>`,
});
