import { CoatcheckError } from "coatcheck";
import type { NextFunction, Request, Response } from "express";
import { Problem } from "./problems.ts";

/** Whether the one who asks is a person with a browser: a form was sent, or HTML is preferred to JSON. */
export function wantsHtml(request: Request): boolean {
  return isForm(request) || request.accepts(["json", "html"]) === "html";
}

export function isForm(request: Request): boolean {
  return /^application\/x-www-form-urlencoded\b/i.test(request.headers["content-type"] ?? "");
}

const HEADERS = {
  "Content-Security-Policy":
    "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
  "X-Content-Type-Options": "nosniff",
  // Not "no-referrer": with it browsers send `Origin: null` from our own forms.
  "Referrer-Policy": "same-origin",
  "Cross-Origin-Opener-Policy": "same-origin",
  // Everything but the files of the folder public/ is one visitor's own.
  "Cache-Control": "no-store",
  Vary: "Accept, Accept-Language, Cookie",
};

export function setHeaders(response: Response): void {
  response.set(HEADERS);
}

export function withHeaders(_request: Request, response: Response, next: NextFunction): void {
  setHeaders(response);
  next();
}

/** What a visitor is told of an error. Of an unknown one: nothing. */
export function told(error: unknown): {
  status: number;
  sentence: string;
  headers?: Readonly<Record<string, string>> | undefined;
} {
  if (error instanceof Problem) return { status: error.status, sentence: error.message };
  if (error instanceof CoatcheckError)
    return { status: error.status, sentence: error.publicMessage, headers: error.headers };
  const { type, status } = error as { type?: unknown; status?: unknown };
  if (type === "entity.parse.failed") return { status: 400, sentence: "The body is not valid JSON." };
  if (type === "entity.too.large") return { status: 413, sentence: "The body is too large." };
  if (typeof status === "number" && status >= 400 && status < 500)
    return { status, sentence: "The request cannot be understood." };
  return { status: 500, sentence: "Something went wrong." };
}

/** For the files of the folder public/, which are everybody's. */
export function setFileHeaders(response: { setHeader(name: string, value: string): unknown }): void {
  response.setHeader("X-Content-Type-Options", "nosniff");
  response.setHeader("Cache-Control", "public, max-age=300");
}
