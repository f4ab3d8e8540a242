import { IncomingMessage, ServerResponse } from "node:http";

/**
 * Express gives every request and response another prototype. From then on V8 shares no layout between them, and makes a
 * new one for each property that is added, which costs more than all else that a session does. Objects that have lost a
 * property are kept as hash tables, to which properties are added for next to nothing; so one is taken off and put back.
 */
export function makeGrowable(request: IncomingMessage, response: ServerResponse): void {
  if (Object.getPrototypeOf(request) !== IncomingMessage.prototype) putBack(request, "httpVersion");
  if (Object.getPrototypeOf(response) !== ServerResponse.prototype) putBack(response, "sendDate");
}

function putBack<Key extends PropertyKey>(object: { [K in Key]?: unknown }, key: Key): void {
  if (!Object.hasOwn(object, key)) return;
  const value = object[key];
  delete object[key];
  object[key] = value;
}
