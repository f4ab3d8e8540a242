import type { IncomingMessage, ServerResponse } from "node:http";
import type { Request, Response } from "express";
import { setHeaders, told, wantsHtml } from "./answers.ts";
import { problemPage } from "./pages/problem.ts";
import { LoginNeeded } from "./problems.ts";
import type { Shop } from "./shop.ts";

/**
 * Answers errors, the shop's and those of its sessions: a sentence as JSON, or a page; who has to log in is led to the
 * login. Never a stack trace.
 */
export function problemAnswers(shop: Shop) {
  return (error: unknown, request: IncomingMessage, response: ServerResponse): void => {
    const [req, res] = [request as Request, response as Response];
    // Half an answer must not look like a whole one.
    if (res.headersSent) return void res.destroy();
    const { status, sentence, retryAfter } = told(error);
    if (status >= 500) console.error(error);
    setHeaders(res);
    if (retryAfter !== undefined) res.set("Retry-After", String(retryAfter));
    res.status(status);
    if (!wantsHtml(req)) {
      res.json({ error: sentence });
    } else if (error instanceof LoginNeeded) {
      const session = shop.session(req);
      session.data.returnTo = error.returnTo;
      session.flash("problem", sentence === "Not logged in" ? "Please log in first." : sentence);
      res.redirect(303, "/login");
    } else {
      const again = req.method === "GET" && status !== 404 && /^\/\w/.test(req.path) ? req.path : "/";
      res.type("html").send(problemPage(status, sentence, again).toString());
    }
  };
}
