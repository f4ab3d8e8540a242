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
    const { status, sentence, headers = {} } = told(error);
    if (status >= 500) console.error(error);
    setHeaders(res);
    res.set(headers);
    res.status(status);
    if (!wantsHtml(req)) {
      res.json({ error: sentence });
    } else if (error instanceof LoginNeeded) {
      const { returnTo } = error;
      // Not an assignment: two tabs may be led to the login at the same time.
      shop.session(req).update("returnTo", () => returnTo);
      res.redirect(303, "/login");
    } else {
      const mayHelp = status === 409 || status >= 500;
      const again = mayHelp && req.method === "GET" && /^\/\w/.test(req.path) ? req.path : "/";
      res.type("html").send(problemPage(status, sentence, again).toString());
    }
  };
}
