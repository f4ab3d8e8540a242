import type { OrderLine } from "../database.ts";
import { type Html, html } from "../html.ts";
import type { Translate } from "../language.ts";
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
    title: (t) => t("Check out: {step}", { step: t(step) }),
    ...(status === undefined ? {} : { status }),
    content: (csrf, t) => html`<section class="narrow">
<h1>${t("Check out")}</h1>
${progress(view, t)}
${notice("problem", view.problem)}
<form method="post" action="/checkout/form/${step}" class="stack"${step !== "review" && html` data-draft="${step}"`}>
  ${csrf}
  ${step === "review" ? review(view, t) : FIELDS[step].map((field) => input(field, t, view.values[field.name]))}
  <p class="actions">${back(step, t)}${!(step === "review" && view.items.length === 0) && html`<button>${step === "review" ? t("Place the order") : t("Continue")}</button>`}</p>
</form>
</section>`,
  };
}

function progress({ step, openStep }: StepView, t: Translate): Html {
  return html`<ol class="steps">
  ${STEPS.map((other) => {
    if (other === step) return html`<li aria-current="step">${t(other)}</li>`;
    const reachable = STEPS.indexOf(other) <= STEPS.indexOf(openStep);
    return html`<li>${reachable ? html`<a href="/checkout/form/${other}">${t(other)}</a>` : t(other)}</li>`;
  })}
</ol>`;
}

function back(step: Step, t: Translate): Html {
  const previous = STEPS[STEPS.indexOf(step) - 1];
  return previous === undefined
    ? html`<a href="/cart">${t("Back to the cart")}</a> `
    : html`<a href="/checkout/form/${previous}">${t("Back")}</a> `;
}

function input(field: FieldOf, t: Translate, value = ""): Html {
  if (field.choices === undefined)
    return html`<label>${t(field.label)} <input name="${field.name}" value="${value}" autocomplete="${field.autocomplete}" maxlength="100" required></label>`;
  return html`<fieldset><legend>${t(field.label)}</legend>
  ${Object.entries(field.choices).map(
    ([choice, label]) =>
      html`<label class="check"><input type="radio" name="${field.name}" value="${choice}" required${choice === value && html` checked`}> ${t(label)}</label>`,
  )}
</fieldset>`;
}

function review({ form, items }: StepView, t: Translate): Html {
  const rows = (["address", "delivery", "payment"] as const).map((step) => {
    const parts = FIELDS[step].map(({ name, choices }) => {
      const value = form[step]?.[name] ?? "";
      const choice = choices?.[value];
      return choice === undefined ? value : t(choice);
    });
    return html`<dt>${t(step)}</dt><dd>${parts.join(", ")}</dd>`;
  });
  return html`<dl>${rows}</dl>
${items.length === 0 ? html`<p class="empty">${t("Your cart is empty.")} <a href="/">${t("Look around")}</a>.</p>` : linesTable(items, t)}`;
}
