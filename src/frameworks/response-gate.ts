import type { IncomingMessage, ServerResponse } from "node:http";
import type { Exchange } from "../session/exchange.ts";
import type { ResponseChanges } from "../session/transport.ts";

/** What is done with a response whose session could not be saved. The response is as new: nothing has been sent of it. */
export type AnswerError = (error: unknown) => void;

type AnyExchange = Exchange<never>;
type Method = "writeHead" | "write" | "end" | "flushHeaders";
type Call = { readonly method: Method; readonly args: unknown[] };
type AnyFunction = (...args: never[]) => unknown;

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
  readonly #originals: Record<Method, AnyFunction>;
  /** Calls that wait for a commit; `undefined` when none is under way. */
  #held: Call[] | undefined;
  #headDone = false;
  #saves = true;

  constructor(response: Gated, exchange: AnyExchange, answerError: AnswerError) {
    this.#response = response;
    this.#exchange = exchange;
    this.#answerError = answerError;
    const { writeHead, write, end, flushHeaders } = response;
    this.#originals = { writeHead, write, end, flushHeaders };
    response[gate] = this;
    Object.assign(response, gated);
  }

  /** The handler failed: what it changed is not saved. A new token that it was given still reaches the client. */
  abandon(): void {
    this.#saves = false;
  }

  call(method: Method, args: unknown[]): unknown {
    if (this.#held !== undefined) return this.#hold(method, args);
    // Whatever a handler changed after the head left has to be saved before the response is complete.
    const decisive = !this.#headDone || method === "end";
    if (decisive && this.#saves && this.#exchange.needsCommit) {
      this.#held = [];
      blockHeaders(this.#response);
      this.#exchange.commit().then(
        () => this.#release(),
        (error: unknown) => this.#fail(error),
      );
      return this.#hold(method, args);
    }
    return this.#pass(method, args);
  }

  #hold(method: Method, args: unknown[]): unknown {
    (this.#held as Call[]).push({ method, args });
    return method === "write" ? false : this.#response;
  }

  #release(): void {
    const held = this.#held as Call[];
    this.#held = undefined;
    unblockHeaders(this.#response);
    let flowing = true;
    for (const { method, args } of held) {
      // `end` may find that the handler wrote to the session while the response was held.
      const result = this.call(method, args);
      if (method === "write") flowing = result !== false;
    }
    if (flowing && held.some(({ method }) => method === "write") && !held.some(({ method }) => method === "end"))
      this.#response.emit("drain");
  }

  #fail(error: unknown): void {
    this.#held = undefined;
    unblockHeaders(this.#response);
    this.abandon();
    // Too late for another answer: the client must not take a half response for a whole one.
    if (this.#headDone) return void this.#response.destroy();
    for (const name of this.#response.getHeaderNames()) this.#response.removeHeader(name);
    this.#response.statusMessage = "";
    this.#answerError(error);
  }

  #pass(method: Method, args: unknown[]): unknown {
    const response = this.#response;
    let passed = args;
    if (!this.#headDone) {
      this.#headDone = true;
      const changes = this.#exchange.responseChanges();
      if (method === "writeHead" && (changes.cookie !== undefined || changes.headers.length > 0))
        passed = headersApplied(response, args);
      applyChanges(response, changes);
    }
    if (method === "end") this.#open();
    return (this.#originals[method] as (...args: unknown[]) => unknown).apply(response, passed);
  }

  /** Out of the way: from here on the response is an ordinary one. */
  #open(): void {
    Object.assign(this.#response, this.#originals);
  }
}

/** Puts the session's cookie and headers into a response that has not begun. */
export function applyChanges(response: ServerResponse, { cookie, headers }: ResponseChanges): void {
  for (const [name, value] of headers) response.setHeader(name, value);
  if (cookie === undefined) return;
  const present = response.getHeader("Set-Cookie");
  const lines = present === undefined ? [] : Array.isArray(present) ? present : [String(present)];
  const others = lines.filter((line) => !line.startsWith(`${cookie.name}=`));
  response.setHeader("Set-Cookie", [...others, cookie.line]);
}

/** Headers given to `writeHead` win over those that were set, so ours would be lost: set them first instead. */
function headersApplied(response: ServerResponse, args: unknown[]): unknown[] {
  const [status, second, third] = args;
  const headers = typeof second === "string" ? third : second;
  for (const [name, value] of headerPairs(headers)) {
    if (value === undefined) continue;
    if (value.length === 1) response.setHeader(name, value[0] as string);
    else response.setHeader(name, value);
  }
  return typeof second === "string" ? [status, second] : [status];
}

/** All forms that `writeHead` takes: an object, a flat list, a list of pairs. */
function headerPairs(headers: unknown): Map<string, string[]> {
  const pairs: Array<readonly [unknown, unknown]> = [];
  if (Array.isArray(headers)) {
    if (headers.every((entry) => Array.isArray(entry))) pairs.push(...(headers as Array<[unknown, unknown]>));
    else for (let i = 0; i + 1 < headers.length; i += 2) pairs.push([headers[i], headers[i + 1]]);
  } else if (typeof headers === "object" && headers !== null) pairs.push(...Object.entries(headers));
  const merged = new Map<string, string[]>();
  for (const [name, value] of pairs) {
    if (value === undefined) continue;
    const key = String(name).toLowerCase();
    const values = Array.isArray(value) ? value.map(String) : [String(value)];
    merged.set(key, [...(merged.get(key) ?? []), ...values]);
  }
  return merged;
}

const HEADER_METHODS = ["setHeader", "appendHeader", "removeHeader"] as const;

/** While a response is held it has begun, as far as the application can see. */
function blockHeaders(response: ServerResponse): void {
  Object.defineProperty(response, "headersSent", { configurable: true, value: true });
  for (const method of HEADER_METHODS)
    Object.defineProperty(response, method, {
      configurable: true,
      writable: true,
      value: () => {
        throw Object.assign(new Error(`Cannot ${method} after the response has begun`), {
          code: "ERR_HTTP_HEADERS_SENT",
        });
      },
    });
}

function unblockHeaders(response: ServerResponse): void {
  const own = response as unknown as Record<string, unknown>;
  delete own["headersSent"];
  for (const method of HEADER_METHODS) delete own[method];
}
