import { CoatcheckError } from "../session/errors.ts";

/** What a client is told of an error: a status, headers, and a sentence that gives nothing away (row CS-13). */
export interface ErrorAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** The answer to an error of this library; any other error is a 500 without a word. */
export function errorAnswer(error: unknown): ErrorAnswer {
  const known = error instanceof CoatcheckError ? error : undefined;
  return {
    status: known?.status ?? 500,
    headers: {
      "Content-Type": "application/json; charset=utf-8",
      "Cache-Control": "no-store",
      ...known?.headers,
      ...(known?.code === "cross_site_request" ? { Vary: "Sec-Fetch-Site, Origin" } : undefined),
    },
    body: JSON.stringify({ error: known?.publicMessage ?? "Something went wrong." }),
  };
}

/** Whether an error can only be mended by the application's author. The client is told nothing of it. */
export const isFault = (error: unknown): boolean => !(error instanceof CoatcheckError) || error.status === 500;

/** Tells the author of the application, who would otherwise see a 500 without a reason. */
export function logFault(error: unknown): void {
  if (isFault(error)) console.error(error);
}
