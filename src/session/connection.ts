import { printable } from "./events.ts";
import type { DeviceFacts } from "./record.ts";
import type { RequestFacts, Transport } from "./transport.ts";

/** The side of a request that a session needs to know. */
export class Connection {
  readonly request: RequestFacts;
  readonly #transport: Transport;
  #device: DeviceFacts | undefined;

  constructor(request: RequestFacts, transport: Transport) {
    this.request = request;
    this.#transport = transport;
  }

  /** What is worth remembering of the client (row CC-06). */
  get device(): DeviceFacts {
    this.#device ??= deviceOf(this.request);
    return this.#device;
  }

  /** @throws InsecureTransportError when a token must not be sent over this connection */
  assertSecure(): void {
    this.#transport.assertSecure(this.request);
  }
}

/** What is worth remembering of a client (row CC-06). */
export function deviceOf(request: RequestFacts): DeviceFacts {
  const userAgent = request.header("user-agent");
  const ip = request.ip === undefined ? undefined : truncatedIp(request.ip);
  return {
    ...(userAgent === undefined ? undefined : { userAgent: printable(userAgent, 256) }),
    ...(ip === undefined ? undefined : { ip }),
  };
}

/** The network of an address: a /24 of IPv4, a /48 of IPv6. What is no address is left out. */
function truncatedIp(ip: string): string | undefined {
  const v4 = /^(?:::ffff:)?(\d{1,3}\.\d{1,3}\.\d{1,3})\.\d{1,3}$/i.exec(ip);
  if (v4 !== null) return `${v4[1]}.0`;
  if (!/^[0-9a-f:]{2,39}$/i.test(ip)) return undefined;
  const [head = "", tail] = ip.toLowerCase().split("::");
  const groups = head === "" ? [] : head.split(":");
  if (tail === undefined && groups.length !== 8) return undefined;
  return `${[...groups, "0", "0", "0"].slice(0, 3).join(":")}::`;
}
