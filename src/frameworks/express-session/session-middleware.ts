import type { IncomingMessage, ServerResponse } from "node:http";
import { isSafeMethod } from "../../csrf/fetch-metadata.ts";
import { isUnder } from "./connection.ts";
import { debug } from "./debug.ts";
import { makeGrowable } from "./growable.ts";
import { asMemoryStore, readText } from "./memory-store.ts";
import { presentedId } from "./presented-id.ts";
import type { SessionRequest } from "./request.ts";
import { holdResponse } from "./response-hold.ts";
import { type SessionOptions, type Settings, settingsOf } from "./settings.ts";
import type { Secret } from "./signature.ts";
import { isWaiting, makerOf } from "./unseen.ts";
import { Visit } from "./visit.ts";

type Next = (error?: unknown) => void;

/** Middleware of Express, of Connect, and of whatever calls with a request, a response and a callback. */
export type SessionMiddleware = (request: IncomingMessage, response: ServerResponse, next: Next) => void;

/** Gives requests a `req.session`, and holds each response until what changed is saved. */
export function sessionMiddleware(options: SessionOptions = {}): SessionMiddleware {
  const settings = settingsOf(options);
  const { store } = settings;
  let isReady = true;
  store.on("disconnect", () => {
    isReady = false;
  });
  store.on("connect", () => {
    isReady = true;
  });

  return function session(incoming, response, next) {
    const request = incoming as SessionRequest;
    const present = makerOf(request);
    if ((present?.isUnseen && isWaiting(request)) || request.session) return next();
    if (!isReady) {
      debug("the store is disconnected");
      return next();
    }
    if (!isUnder(request, settings.cookieFor(request)?.path || "/")) {
      debug("not under the cookie's path");
      return next();
    }
    const { secret } = request as { secret?: Secret };
    const secrets = settings.secrets ?? (secret ? [secret] : undefined);
    if (secrets === undefined) return next(new Error("secret option required for sessions"));

    makeGrowable(request, response);
    request.sessionStore = store;
    const id = presentedId(request, settings, secrets);
    request.sessionID = id as string;
    const visit = new Visit(settings, request, next, secrets, id);
    holdResponse(response, visit);
    if (id) return takeTurn(visit, settings, request, response, id, () => open(visit, settings, id, next));
    visit.begin();
    next();
  };
}

/** Waits, where requests of one session take turns, until it is this one's. */
function takeTurn(
  visit: Visit,
  { turns, warnings }: Settings,
  request: SessionRequest,
  response: ServerResponse,
  id: string,
  begin: () => void,
): void {
  if (turns === undefined || isSafeMethod(request.method ?? "GET")) {
    begin();
    return;
  }
  let isGone = false;
  response.once?.("close", () => {
    isGone = true;
    visit.endTurn?.();
  });
  const turn = turns.take(id, () => warnings.give("COATCHECK_TURN_TIMED_OUT"));
  const taken = (end: () => void) => {
    visit.endTurn = end;
    // A client that has gone away keeps nobody waiting.
    if (isGone) end();
    begin();
  };
  if (turn instanceof Promise) turn.then(taken);
  else taken(turn);
}

/** Reads the session of an id. */
function open(visit: Visit, { store }: Settings, id: string, next: Next): void {
  const memory = asMemoryStore(store);
  const text = memory && readText(memory, id);
  if (memory !== undefined && text !== "other") {
    if (text === undefined) visit.begin();
    else visit.resume(text);
    next();
    return;
  }
  store.get(id, (error, stored) => {
    if (error && error.code !== "ENOENT") return next(error);
    try {
      if (error || !stored) visit.begin();
      else visit.resume(stored);
    } catch (problem) {
      return next(problem);
    }
    next();
  });
}
