import type { IncomingMessage, ServerResponse } from "node:http";
import { headersApplied } from "../response-gate.ts";
import type { Visit } from "./visit.ts";

type Method = "writeHead" | "write" | "end" | "flushHeaders";
type AnyFunction = (...args: unknown[]) => unknown;
interface Call {
  readonly method: Method;
  readonly args: unknown[];
}

interface Held extends ServerResponse<IncomingMessage> {
  [hold]: ResponseHold;
  /** Node's text of the head, once it is written. `headersSent` and the methods for headers go by it. */
  _header?: string | null;
}

const hold = Symbol("coatcheck.hold");
const METHODS: readonly Method[] = ["writeHead", "write", "end", "flushHeaders"];

/** Functions shared by all responses, so that a request costs four assignments and no closures. */
const held = Object.fromEntries(
  METHODS.map((method) => [
    method,
    function (this: Held, ...args: unknown[]): unknown {
      return this[hold].call(method, args);
    },
  ]),
) as unknown as Record<Method, AnyFunction>;

/**
 * Keeps the calls that would send a byte of the response until the session is saved, and repeats them then in order. A
 * head waits for the body, and the first part of a body for the end of the present tick, so that what changes until then
 * is still in time for a cookie. A second `end` does nothing.
 */
export function holdResponse(response: ServerResponse, visit: Visit): void {
  (response as Held)[hold] = new ResponseHold(response as Held, visit);
  const own = response as unknown as Record<Method, AnyFunction>;
  for (const method of METHODS) own[method] = held[method];
}

class ResponseHold {
  readonly #response: Held;
  readonly #visit: Visit;
  readonly #originals: Record<Method, AnyFunction>;
  #calls: Call[] = [];
  /** What the calls wait for. */
  #waitsFor: "nothing" | "body" | "tick" | "store" = "nothing";
  #isHeadDone = false;
  #isEnded = false;
  #isSettled = false;
  /** What the status was when the head was begun. */
  #status: readonly [code: number, message: string | undefined] | undefined;

  constructor(response: Held, visit: Visit) {
    this.#response = response;
    this.#visit = visit;
    const { writeHead, write, end, flushHeaders } = response;
    this.#originals = { writeHead, write, end, flushHeaders } as unknown as Record<Method, AnyFunction>;
  }

  call(method: Method, args: unknown[]): unknown {
    if (method !== "end") {
      if (this.#waitsFor !== "nothing") return this.#wait(method, args);
      return this.#isHeadDone ? this.#forward(method, args) : this.#begin(method, args);
    }
    if (this.#isEnded) return false;
    this.#isEnded = true;
    if (this.#waitsFor === "nothing" && (this.#isSettled || !this.#mustWait(true))) return this.#forward(method, args);
    this.#calls.push({ method, args });
    return this.#waitsFor === "store" ? this.#response : this.#release();
  }

  /** The response begins with something else than its end. */
  #begin(method: Method, args: unknown[]): unknown {
    this.#block();
    this.#waitsFor = "body";
    return method === "writeHead" ? this.#keep(method, args) : this.#wait(method, args);
  }

  #wait(method: Method, args: unknown[]): unknown {
    if (method === "writeHead") throw headersSent();
    if (this.#waitsFor === "body") {
      this.#waitsFor = "tick";
      process.nextTick(() => {
        if (this.#waitsFor === "tick") this.#releaseLater();
      });
    }
    return this.#keep(method, args);
  }

  #keep(method: Method, args: unknown[]): unknown {
    if (!this.#isEnded) this.#calls.push({ method, args });
    return method === "write" ? false : this.#response;
  }

  /** As `#release`, with nobody above to throw to. */
  #releaseLater(): void {
    try {
      this.#release();
    } catch (error) {
      this.#visit.report(error);
    }
  }

  /** Repeats the calls, as far as they need not wait; returns what the last one does. */
  #release(): unknown {
    this.#unblock();
    let result: unknown = this.#response;
    let flows = false;
    while (this.#calls.length > 0) {
      const hasEnd = this.#calls.some(({ method }) => method === "end");
      if ((!this.#isHeadDone || this.#calls[0]?.method === "end") && !this.#isSettled && this.#mustWait(hasEnd))
        return this.#response;
      const { method, args } = this.#calls.shift() as Call;
      result = this.#forward(method, args);
      if (method === "write") flows = result !== false;
      if (method === "end") flows = false;
    }
    if (flows) this.#response.emit("drain");
    return result;
  }

  /** Settles the session; whether the calls have to wait for it. */
  #mustWait(isLast: boolean): boolean {
    try {
      const takesTime = this.#visit.settle(isLast, () => this.#releaseLater());
      this.#isSettled = isLast;
      if (!takesTime) return false;
    } catch (error) {
      // Nothing has left: the application's error handler may answer.
      this.#visit.giveUp();
      this.#forget();
      throw error;
    }
    this.#waitsFor = "store";
    this.#block();
    return true;
  }

  #forward(method: Method, args: unknown[]): unknown {
    const response = this.#response;
    if (this.#isHeadDone) return this.#pass(method, args);
    this.#isHeadDone = true;
    try {
      const line = this.#visit.setCookie();
      if (line === undefined) return this.#pass(method, args);
      const left = method === "writeHead" ? headersApplied(response, args) : args;
      const present = response.getHeader("Set-Cookie") ?? [];
      response.setHeader("Set-Cookie", [...(Array.isArray(present) ? present : [String(present)]), line]);
      return this.#pass(method, left);
    } catch (error) {
      if (!response.headersSent) {
        this.#isHeadDone = false;
        this.#forget();
      }
      throw error;
    }
  }

  #pass(method: Method, args: unknown[]): unknown {
    const result = this.#originals[method].apply(this.#response, args);
    if (method === "end") this.#visit.finish();
    return result;
  }

  /** Takes back the calls of an answer that cannot be given. */
  #forget(): void {
    this.#calls = [];
    this.#isEnded = false;
  }

  /** While calls wait, the response has begun, as far as the application can see. */
  #block(): void {
    const response = this.#response;
    // HTTP/2 has no messages, and warns.
    const message = Object.hasOwn(response, "statusMessage") ? response.statusMessage : undefined;
    this.#status ??= [response.statusCode, message];
    // HTTP/2 and imitations have no such property.
    if (response._header === null) response._header = HELD;
  }

  #unblock(): void {
    const response = this.#response;
    this.#waitsFor = "nothing";
    if (response._header === HELD) response._header = null;
    if (this.#status === undefined || this.#isHeadDone) return;
    const [code, message] = this.#status;
    response.statusCode = code;
    if (Object.hasOwn(response, "statusMessage")) response.statusMessage = message as string;
    this.#status = undefined;
  }
}

/** In place of a head that is still to be written. */
const HELD = "(held until the session is saved)";

const headersSent = (): Error =>
  Object.assign(new Error("Cannot write headers after they are sent to the client"), { code: "ERR_HTTP_HEADERS_SENT" });
