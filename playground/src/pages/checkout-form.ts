import type { OrderLine } from "../database.ts";
import { type Html, html } from "../html.ts";
import { FIELDS, type FieldOf, STEPS, type Step } from "../steps.ts";
import type { CheckoutForm } from "../visit.ts";
import { linesTable } from "./cart.ts";
import { notice } from "./layout.ts";
import type { Page } from "./show.ts";

interface StepView {
  readonly step: Step;
  /** The first step that is not filled in: none after it can be opened. */
  readonly openStep: Step;
  readonly form: CheckoutForm;
  /** What to show in the fields. */
  readonly values: Readonly<Record<string, string>>;
  readonly items: readonly OrderLine[];
  readonly problem?: string;
  readonly status?: number;
}

export function stepPage(view: StepView): Page {
  const { step, status } = view;
  return {
    title: `Check out: ${step}`,
    ...(status === undefined ? {} : { status }),
    content: (csrf) => html`<section class="narrow">
<h1>Check out</h1>
${progress(view)}
${notice("problem", view.problem)}
<form method="post" action="/checkout/form/${step}" class="stack"${step !== "review" && html` data-draft="${step}"`}>
  ${csrf}
  ${step === "review" ? review(view) : FIELDS[step].map((field) => input(field, view.values[field.name]))}
  <p class="actions">${back(step)}${!(step === "review" && view.items.length === 0) && html`<button>${step === "review" ? "Place the order" : "Continue"}</button>`}</p>
</form>
</section>`,
  };
}

function progress({ step, openStep }: StepView): Html {
  return html`<ol class="steps">
  ${STEPS.map((other) => {
    if (other === step) return html`<li aria-current="step">${other}</li>`;
    const reachable = STEPS.indexOf(other) <= STEPS.indexOf(openStep);
    return html`<li>${reachable ? html`<a href="/checkout/form/${other}">${other}</a>` : other}</li>`;
  })}
</ol>`;
}

function back(step: Step): Html {
  const previous = STEPS[STEPS.indexOf(step) - 1];
  return previous === undefined
    ? html`<a href="/cart">Back to the cart</a> `
    : html`<a href="/checkout/form/${previous}">Back</a> `;
}

function input(field: FieldOf, value = ""): Html {
  if (field.choices === undefined)
    return html`<label>${field.label} <input name="${field.name}" value="${value}" autocomplete="${field.autocomplete}" maxlength="100" required></label>`;
  return html`<fieldset><legend>${field.label}</legend>
  ${Object.entries(field.choices).map(
    ([choice, label]) =>
      html`<label class="check"><input type="radio" name="${field.name}" value="${choice}" required${choice === value && html` checked`}> ${label}</label>`,
  )}
</fieldset>`;
}

function review({ form, items }: StepView): Html {
  const rows = (["address", "delivery", "payment"] as const).map((step) => {
    const parts = FIELDS[step].map(({ name, choices }) => {
      const value = form[step]?.[name] ?? "";
      return choices?.[value] ?? value;
    });
    return html`<dt>${step}</dt><dd>${parts.join(", ")}</dd>`;
  });
  return html`<dl>${rows}</dl>
${items.length === 0 ? html`<p class="empty">Your cart is empty. <a href="/">Look around</a>.</p>` : linesTable(items)}`;
}
