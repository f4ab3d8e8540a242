import { type Html, html } from "../html.ts";
import { barePage } from "./layout.ts";

const TITLES: Readonly<Record<number, string>> = {
  400: "That did not work",
  403: "Not allowed",
  404: "Not here",
  405: "Not this way",
  409: "Two at once",
  503: "Back in a moment",
};

/** `again` is where a link leads: the page that was asked for, or another to start from. */
export const problemPage = (status: number, sentence: string, again: string): Html =>
  barePage(
    TITLES[status] ?? "Something went wrong",
    html`<section class="narrow">
<h1>${TITLES[status] ?? "Something went wrong"}</h1>
<p>${sentence}</p>
<p class="actions"><a href="/">To the products</a>${again !== "/" && html` <a class="button" href="${again}">Try again</a>`}</p>
</section>`,
  );
