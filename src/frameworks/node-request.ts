import type { IncomingMessage } from "node:http";
import { BlockList, isIP } from "node:net";
import type { TLSSocket } from "node:tls";
import type { RequestFacts } from "../session/transport.ts";

/**
 * Which proxies in front of the application may speak for the client, with `X-Forwarded-Proto`, `-For` and `-Host`:
 * addresses or CIDR ranges, `"loopback"`, or a function of the peer's address. Default none (row CK-19).
 */
export type TrustProxy = readonly string[] | ((address: string) => boolean);

/** @throws TypeError for a text that is no address */
export function trustedProxies(trust: TrustProxy = []): (address: string | undefined) => boolean {
  if (typeof trust === "function") return (address) => address !== undefined && trust(address);
  const list = new BlockList();
  for (const entry of trust) {
    const ranges = entry === "loopback" ? ["127.0.0.0/8", "::1"] : [entry];
    for (const range of ranges) {
      const [, address = "", bits] = /^([^/]*)(?:\/(\d{1,3}))?$/.exec(range) ?? [];
      const family = isIP(address);
      if (family === 0 || Number(bits ?? 0) > (family === 4 ? 32 : 128))
        throw new TypeError(`trustProxy: ${JSON.stringify(entry)} is not an address or a CIDR range`);
      const type = family === 4 ? "ipv4" : "ipv6";
      if (bits === undefined) list.addAddress(address, type);
      else list.addSubnet(address, Number(bits), type);
    }
  }
  if (trust.length === 0) return () => false;
  return (address) => {
    const plain = address?.replace(/^::ffff:(?=\d+\.)/i, "").replace(/%.*$/, "");
    return plain !== undefined && isIP(plain) !== 0 && list.check(plain, isIP(plain) === 4 ? "ipv4" : "ipv6");
  };
}

/** The facts of a Node request, HTTP/1 or HTTP/2. */
export class NodeRequest implements RequestFacts {
  protected readonly request: IncomingMessage;
  readonly #isTrusted: (address: string | undefined) => boolean;

  constructor(request: IncomingMessage, isTrusted: (address: string | undefined) => boolean) {
    this.request = request;
    this.#isTrusted = isTrusted;
  }

  get method(): string {
    return this.request.method ?? "GET";
  }

  header(name: string): string | undefined {
    return headerOf(this.request, name);
  }

  get secure(): boolean {
    const proto = this.#forwarded("x-forwarded-proto");
    if (proto === undefined) return (this.request.socket as Partial<TLSSocket>).encrypted === true;
    // The nearest proxy writes last.
    return proto.split(",").at(-1)?.trim().toLowerCase() === "https";
  }

  get host(): string {
    const { headers } = this.request;
    const forwarded = this.#forwarded("x-forwarded-host")?.split(",").at(-1)?.trim();
    return forwarded ?? joined(headers[":authority"]) ?? headers.host ?? "";
  }

  get ip(): string | undefined {
    return clientAddress(this.request.socket.remoteAddress, this.#forwarded("x-forwarded-for"), this.#isTrusted);
  }

  #forwarded(name: string): string | undefined {
    const value = this.request.headers[name];
    return typeof value === "string" && this.#isTrusted(this.request.socket.remoteAddress) ? value : undefined;
  }
}

/** The last address in the chain that is not a trusted proxy's. */
function clientAddress(
  peer: string | undefined,
  chain: string | undefined,
  isTrusted: (address: string | undefined) => boolean,
): string | undefined {
  const hops = chain?.split(",").map((hop) => hop.trim()) ?? [];
  let address = peer;
  while (hops.length > 0 && isTrusted(address)) address = hops.pop();
  return address;
}

/** A header of a Node request, as `RequestFacts` want it. */
export function headerOf(request: IncomingMessage, name: string): string | undefined {
  return joined(name === "authorization" ? authorizations(request) : request.headers[name]);
}

function joined(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value.join(", ") : value;
}

/** Of several Authorization headers Node shows only the first. */
function authorizations({ headers, rawHeaders }: IncomingMessage): string | string[] | undefined {
  const all = rawHeaders.filter((_, i) => i % 2 === 1 && rawHeaders[i - 1]?.toLowerCase() === "authorization");
  return all.length > 1 ? all : headers.authorization;
}
