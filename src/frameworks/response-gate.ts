import type { IncomingMessage, ServerResponse } from "node:http";
import type { ServerHttp2Stream } from "node:http2";
import type { Exchange } from "../session/exchange.ts";
import type { ResponseChanges } from "../session/transport.ts";
import { logFault } from "./error-answer.ts";
import { changesNothing, cookiesFor, withCookies } from "./set-cookie.ts";
import { withVary } from "./vary.ts";

/** What is done with a response whose session could not be saved. Nothing has been sent of it. */
export type AnswerError = (error: unknown) => void;

type AnyExchange = Exchange<never>;
type Method = "writeHead" | "write" | "end" | "flushHeaders";
type Call = { readonly method: Method; readonly args: unknown[] };
type AnyFunction = (...args: unknown[]) => unknown;

interface Gated extends ServerResponse<IncomingMessage> {
  [gate]?: ResponseGate;
}

const gate = Symbol("coatcheck.gate");
const METHODS: readonly Method[] = ["writeHead", "write", "end", "flushHeaders"];

/** Functions shared by all responses, so that a request costs four assignments and no closures. */
const gated = Object.fromEntries(
  METHODS.map((method) => [
    method,
    function (this: Gated, ...args: unknown[]): unknown {
      return (this[gate] as ResponseGate).call(method, args);
    },
  ]),
) as unknown as Record<Method, AnyFunction>;

/**
 * Holds a Node response until the session is saved: from the first call that would send a byte, calls are kept until the
 * commit is done, and are then repeated in order. When there is nothing to save, nothing is held.
 */
export function gateResponse(
  response: ServerResponse,
  exchange: Exchange<never>,
  answerError: AnswerError,
): ResponseGate {
  return new ResponseGate(response as Gated, exchange, answerError);
}

export class ResponseGate {
  readonly #response: Gated;
  readonly #exchange: AnyExchange;
  readonly #answerError: AnswerError;
  /** Where a response passes two gates, because two kinds of sessions are in use: the one that calls go to next. */
  readonly #next: ResponseGate | undefined;
  readonly #originals: Record<Method, AnyFunction>;
  /** Calls that wait for a commit; `undefined` when none is under way. */
  #held: Call[] | undefined;
  #changes: ResponseChanges | undefined;
  #headDone = false;
  #saves = true;
  /** After a save that failed: whether an answer to it is on its way, and whether that answer is complete. */
  #failure: "answering" | "answered" | undefined;

  constructor(response: Gated, exchange: AnyExchange, answerError: AnswerError) {
    this.#response = response;
    this.#exchange = exchange;
    this.#answerError = answerError;
    const { writeHead, write, end, flushHeaders } = response;
    this.#originals = { writeHead, write, end, flushHeaders } as unknown as Record<Method, AnyFunction>;
    this.#next = response[gate];
    response[gate] = this;
    if (this.#next === undefined) Object.assign(response, gated);
  }

  /** The handler failed: what it changed is not saved. A new token that it was given still reaches the client. */
  abandon(): void {
    this.#saves = false;
  }

  call(method: Method, args: unknown[]): unknown {
    if (this.#held !== undefined) return this.#hold(this.#held, method, args);
    if (this.#failure === "answered") return this.#turnAway(method, args);
    // Whatever a handler changed after the head left has to be saved before the response is complete.
    const decisive = !this.#headDone || method === "end";
    if (!decisive || !this.#saves || !this.#mustCommit()) return this.#pass(method, args);
    const held: Call[] = [{ method, args }];
    this.#held = held;
    const unblock = block(this.#response, this.#headDone);
    if (method === "end") markEnded(this.#response);
    this.#exchange.commit().then(
      () => {
        this.#held = undefined;
        unblock();
        this.#repeat(held);
      },
      (error: unknown) => {
        this.#held = undefined;
        unblock();
        this.#fail(error);
      },
    );
    return method === "write" ? false : this.#response;
  }

  /** Whether the response has to wait. For a value that cannot be written as text too: then the commit says so. */
  #mustCommit(): boolean {
    try {
      return this.#exchange.needsCommit;
    } catch {
      return true;
    }
  }

  #hold(held: Call[], method: Method, args: unknown[]): unknown {
    if (method === "writeHead") throw begun(method);
    if (held.some((call) => call.method === "end")) refuse(args.at(-1));
    else held.push({ method, args });
    if (method === "end") markEnded(this.#response);
    return method === "write" ? false : this.#response;
  }

  /** The handler does not know that its response was answered with an error: Node would emit one more, and crash. */
  #turnAway(method: Method, args: unknown[]): unknown {
    if (method === "writeHead") throw begun(method);
    refuse(args.at(-1));
    return method === "write" ? false : this.#response;
  }

  #repeat(held: readonly Call[]): void {
    let flowing = true;
    try {
      for (const { method, args } of held) {
        // `end` may find that the handler wrote to the session while the response was held.
        const result = this.call(method, args);
        if (method === "write") flowing = result !== false;
      }
    } catch (error) {
      // Such as an invalid header, which without the gate would have been thrown at the handler.
      this.#fail(error);
      return;
    }
    if (!held.some(({ method }) => method === "write") || held.some(({ method }) => method === "end")) return;
    // Compression middleware adds `flush`: called while the response was held, it had nothing to send yet.
    (this.#response as { flush?: () => void }).flush?.();
    if (flowing) this.#response.emit("drain");
  }

  #fail(error: unknown): void {
    this.abandon();
    if (this.#headDone) {
      logFault(error);
      cutOff(this.#response);
    } else {
      forgetContent(this.#response);
      // Should the handler end it before it is answered, that is no success.
      this.#response.statusCode = 500;
      this.#failure = "answering";
      this.#answerError(error);
    }
  }

  #pass(method: Method, args: unknown[]): unknown {
    let result: unknown;
    if (this.#headDone) result = this.#forward(method, args);
    else {
      this.#headDone = true;
      try {
        result = this.#forward(method, this.#withChanges(method, args));
      } catch (error) {
        // Nothing has left. The answer to this error needs the session's cookie as well.
        if (!this.#response.headersSent) this.#headDone = false;
        throw error;
      }
    }
    if (method === "end") {
      if (this.#failure === undefined) this.#open();
      else this.#failure = "answered";
    }
    return result;
  }

  #withChanges(method: Method, args: unknown[]): unknown[] {
    this.#changes ??= this.#exchange.responseChanges();
    if (changesNothing(this.#changes)) return args;
    const left = method === "writeHead" ? headersApplied(this.#response, args) : args;
    applyChanges(this.#response, this.#changes);
    return left;
  }

  #forward(method: Method, args: unknown[]): unknown {
    if (this.#next !== undefined) return this.#next.call(method, args);
    return this.#originals[method].apply(this.#response, args);
  }

  /** Out of the way: from here on the response is an ordinary one. Methods that others have wrapped stay wrapped. */
  #open(): void {
    if (this.#next !== undefined) return;
    const own = this.#response as unknown as Record<Method, AnyFunction>;
    for (const method of METHODS) if (own[method] === gated[method]) own[method] = this.#originals[method];
  }
}

/** Puts the session's cookies and headers into a response that has not begun. */
export function applyChanges(response: ServerResponse, changes: ResponseChanges): void {
  const { headers, varyBy } = changes;
  for (const [name, value] of headers) response.setHeader(name, value);
  if (varyBy !== undefined) {
    if (response.hasHeader("Cache-Control"))
      response.setHeader("Vary", withVary(String(response.getHeader("Vary") ?? ""), varyBy));
    else response.setHeader("Cache-Control", "no-store");
  }
  const cookies = cookiesFor(response.getHeader("Cache-Control"), changes);
  if (cookies.length === 0) return;
  if (!response.hasHeader("Cache-Control")) response.setHeader("Cache-Control", "no-store");
  const present = response.getHeader("Set-Cookie") ?? [];
  response.setHeader("Set-Cookie", withCookies(Array.isArray(present) ? present : [String(present)], cookies));
}

/** Ends a response that cannot be completed, so that the client does not take half of it for the whole. */
export function cutOff(response: ServerResponse): void {
  // HTTP/2 would call a stream that is merely destroyed complete.
  const { stream } = response as { stream?: ServerHttp2Stream };
  if (stream === undefined) response.destroy();
  else stream.close(INTERNAL_ERROR);
}

/** RFC 9113 section 7. */
const INTERNAL_ERROR = 2;

const OF_THE_CONTENT =
  /^(?:content-(?!security-policy)|(?:accept-ranges|clear-site-data|etag|expires|last-modified|location|refresh|trailer|transfer-encoding)$)/;

/** Whether a header, its name in lower case, speaks of one answer's content and so not of the answer to its failure. */
export const isOfTheContent = (name: string): boolean => OF_THE_CONTENT.test(name);

/** Takes back what was said of an answer that is not given. What holds for every answer, such as CORS headers, stays. */
export function forgetContent(response: ServerResponse): void {
  for (const name of response.getHeaderNames()) if (isOfTheContent(name)) response.removeHeader(name);
  response.setHeader("Cache-Control", "no-store");
  // Not in HTTP/2, which has none and warns.
  if (Object.hasOwn(response, "statusMessage")) response.statusMessage = "";
}

/** Headers given to `writeHead` win over those that were set, so ours would be lost: set them first instead. */
export function headersApplied(response: ServerResponse, args: unknown[]): unknown[] {
  const [status, second, third] = args;
  const headers = typeof second === "string" ? third : (third ?? second);
  for (const [name, values] of headerPairs(headers).values())
    response.setHeader(name, (values.length === 1 ? values[0] : values) as string | string[]);
  return typeof second === "string" ? [status, second] : [status];
}

/** All forms that `writeHead` takes: an object, a flat list, a list of pairs. By name in lower case. */
function headerPairs(headers: unknown): Map<string, readonly [name: string, values: unknown[]]> {
  const pairs: Array<readonly [unknown, unknown]> = [];
  if (Array.isArray(headers)) {
    if (headers.every((entry) => Array.isArray(entry))) pairs.push(...(headers as Array<[unknown, unknown]>));
    else for (let i = 0; i + 1 < headers.length; i += 2) pairs.push([headers[i], headers[i + 1]]);
  } else if (typeof headers === "object" && headers !== null) pairs.push(...Object.entries(headers));
  const merged = new Map<string, readonly [string, unknown[]]>();
  for (const [given, value] of pairs) {
    const name = String(given);
    const [, values] = merged.get(name.toLowerCase()) ?? [name, []];
    merged.set(name.toLowerCase(), [name, values]);
    values.push(...(Array.isArray(value) ? value : [value]));
  }
  return merged;
}

const HEADER_METHODS = ["setHeader", "appendHeader", "removeHeader"] as const;

/** While a response is held it has begun, as far as the application can see. The returned function undoes it. */
function block(response: ServerResponse, headDone: boolean): () => void {
  const { statusCode } = response;
  const own = response as unknown as Record<string, unknown>;
  // Middleware may have put methods of its own there.
  const replaced = HEADER_METHODS.flatMap((name) => (Object.hasOwn(own, name) ? [[name, own[name]] as const] : []));
  const define = (name: string, value: unknown) =>
    Object.defineProperty(response, name, { configurable: true, writable: true, value });
  define("headersSent", true);
  for (const method of HEADER_METHODS)
    define(method, () => {
      throw begun(method);
    });
  return () => {
    for (const name of [...HEADER_METHODS, "headersSent", "writableEnded"]) delete own[name];
    for (const [name, method] of replaced) own[name] = method;
    // An error handler may have set another, as they do when they come too late.
    if (!headDone) response.statusCode = statusCode;
  };
}

function markEnded(response: ServerResponse): void {
  Object.defineProperty(response, "writableEnded", { configurable: true, value: true });
}

/** Tells the callback of what came after the end, where there is one: two ends in a row would be an error event. */
function refuse(callback: unknown): void {
  if (typeof callback !== "function") return;
  const error = Object.assign(new Error("write after end"), { code: "ERR_STREAM_WRITE_AFTER_END" });
  queueMicrotask(() => callback(error));
}

const begun = (method: string): Error =>
  Object.assign(new Error(`Cannot ${method} after the response has begun`), { code: "ERR_HTTP_HEADERS_SENT" });
