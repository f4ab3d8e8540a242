import { type Request, type Response, Router } from "express";
import { wantsHtml } from "../answers.ts";
import { checkOut } from "../checkout.ts";
import { stepPage } from "../pages/checkout-form.ts";
import { answer, showData, showPage } from "../pages/show.ts";
import { Problem } from "../problems.ts";
import type { Shop } from "../shop.ts";
import { FIELDS, isReachable, isStep, openStep, readStep, STEPS, type Step, stepAfter } from "../steps.ts";
import { thanks } from "./checkout.ts";

type StepRequest = Request<{ step: string }>;

/** A form of four steps. What was filled in waits in the session; the last step places the order. */
export function checkoutFormRoutes(shop: Shop): Router {
  const router = Router();
  const formOf = (req: Request) => shop.session(req).data.form;
  const pathOf = (step: Step) => `/checkout/form/${step}`;

  const stepOf = ({ params: { step } }: StepRequest): Step => {
    if (!isStep(step)) throw new Problem(404, `The steps are ${STEPS.join(", ")}.`);
    return step;
  };

  /** Whether the step may be opened. When not, the answer is given. */
  const mayOpen = (req: StepRequest, res: Response, step: Step): boolean => {
    const form = formOf(req);
    if (isReachable(step, form)) return true;
    const sentence = `Fill in the step "${openStep(form)}" first.`;
    if (!wantsHtml(req)) throw new Problem(400, sentence);
    shop.session(req).flash("problem", sentence);
    res.redirect(303, pathOf(openStep(form)));
    return false;
  };

  const showStep = (
    req: Request,
    res: Response,
    step: Step,
    attempt: { values?: Record<string, string>; problem?: string; status?: number } = {},
  ) => {
    const form = formOf(req);
    const values = step === "review" ? {} : (form[step] ?? {});
    const items = shop.database.priced(shop.session(req).data.cart);
    return showPage(shop, req, res, stepPage({ step, openStep: openStep(form), form, values, items, ...attempt }));
  };

  router.get("/checkout/form", (req, res) => {
    const form = formOf(req);
    if (wantsHtml(req)) return res.redirect(303, pathOf(openStep(form)));
    showData(shop, req, res, { step: openStep(form), steps: STEPS, values: form });
  });

  router.get("/checkout/form/:step", async (req: StepRequest, res) => {
    const step = stepOf(req);
    if (!mayOpen(req, res, step)) return;
    if (wantsHtml(req)) return showStep(req, res, step);
    const form = formOf(req);
    showData(shop, req, res, { step, steps: STEPS, values: step === "review" ? form : (form[step] ?? {}) });
  });

  router.post("/checkout/form/:step", async (req: StepRequest, res) => {
    const step = stepOf(req);
    if (!mayOpen(req, res, step)) return;

    if (step === "review") {
      const account = shop.requireAccount(req, pathOf("review"));
      const order = await checkOut(shop, shop.session(req), account);
      return answer(shop, req, res, { json: { order }, goTo: "/orders", message: thanks });
    }

    try {
      formOf(req)[step] = readStep(step, req.body);
    } catch (error) {
      if (!(error instanceof Problem) || !wantsHtml(req)) throw error;
      const values = Object.fromEntries(FIELDS[step].map(({ name }) => [name, typed(req.body?.[name])]));
      return showStep(req, res, step, { values, problem: error.message, status: error.status });
    }
    const next = stepAfter(step);
    answer(shop, req, res, { json: { step: next, steps: STEPS, values: formOf(req) }, goTo: pathOf(next) });
  });

  return router;
}

/** To be shown again. */
const typed = (value: unknown): string => (typeof value === "string" ? value.slice(0, 100) : "");
