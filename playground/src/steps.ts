import { choice, text } from "./input.ts";
import type { Text } from "./language.ts";
import type { CheckoutForm } from "./visit.ts";

/** The steps of the checkout form, in their order. */
export const STEPS = ["address", "delivery", "payment", "review"] as const;
export type Step = (typeof STEPS)[number];
export type FilledStep = Exclude<Step, "review">;

export interface FieldOf {
  readonly name: string;
  readonly label: Text;
  readonly autocomplete?: string;
  /** Values to choose from, and how they read. Without them the field is a line of text. */
  readonly choices?: Readonly<Record<string, Text>>;
}

/** What each step asks for. Never a card number: a session is no place for one. */
export const FIELDS: Readonly<Record<FilledStep, readonly FieldOf[]>> = {
  address: [
    { name: "name", label: "Name", autocomplete: "name" },
    { name: "street", label: "Street and number", autocomplete: "street-address" },
    { name: "postcode", label: "Postcode", autocomplete: "postal-code" },
    { name: "city", label: "City", autocomplete: "address-level2" },
    { name: "country", label: "Country", autocomplete: "country-name" },
  ],
  delivery: [
    {
      name: "method",
      label: "Delivery",
      choices: { standard: "Standard, 3 days", express: "Express, tomorrow", pickup: "I come by" },
    },
  ],
  payment: [
    {
      name: "method",
      label: "Payment",
      choices: { invoice: "Invoice", transfer: "Bank transfer", cash: "Cash at the door" },
    },
  ],
};

export const isStep = (name: unknown): name is Step => (STEPS as readonly unknown[]).includes(name);

/** The first step that is not filled in. */
export function openStep(form: CheckoutForm): Step {
  return STEPS.find((step) => step === "review" || form[step] === undefined) as Step;
}

/** Whether all steps before this one are filled in. */
export function isReachable(step: Step, form: CheckoutForm): boolean {
  return STEPS.indexOf(step) <= STEPS.indexOf(openStep(form));
}

/** The step after this one. */
export const stepAfter = (step: FilledStep): Step => STEPS[STEPS.indexOf(step) + 1] as Step;

/** What a step was filled in with, checked. */
export function readStep(step: FilledStep, body: unknown): Record<string, string> {
  return Object.fromEntries(
    FIELDS[step].map(({ name, label, choices }) => [
      name,
      choices === undefined ? text(body, name, label) : choice(body, name, label, Object.keys(choices)),
    ]),
  );
}
