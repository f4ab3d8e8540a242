import type { Duration } from "./clock.ts";

/** What the core needs to know of a request. Each adapter makes one from its framework's request. */
export interface RequestFacts {
  /** In upper case. */
  readonly method: string;
  /** Value of a header, its name in lower case; repeated headers are joined with `", "`, Cookie with `"; "`. */
  header(name: string): string | undefined;
  /** Whether the client speaks TLS, as far as the proxies that are trusted say. */
  readonly secure: boolean;
  /** Host and port that the client asked for. */
  readonly host: string;
  /** Address of the client. */
  readonly ip: string | undefined;
}

/** What a request brings. */
export type Presented =
  | { readonly kind: "none" }
  | { readonly kind: "token"; readonly text: string }
  /** More than one: an attack or a misconfiguration, so none counts (row ID-09). */
  | { readonly kind: "duplicate" };

/** A Set-Cookie line, and the cookie's name, whose other lines it replaces (row CK-11). */
export interface NamedCookie {
  readonly name: string;
  readonly line: string;
  /** Left out of a response that the application lets caches keep. Default false. */
  readonly optional?: boolean;
}

/** What the response must say so that the client keeps or drops its token. */
export interface ResponseChanges {
  /** At most one for each name. */
  readonly cookies: readonly NamedCookie[];
  /** Headers to set. */
  readonly headers: ReadonlyArray<readonly [name: string, value: string]>;
  /**
   * Set when the response is for one visitor alone: unless the application has set Cache-Control itself, nobody may store it;
   * where it has, Vary names this request header (row TR-02).
   */
  readonly varyBy?: string;
}

/** How the token travels. */
export interface Transport {
  /** What carries the token, such as `cookie __Host-sid`. Sealed tokens are bound to it. */
  readonly carrier: string;
  /** Most characters that a token may have. */
  readonly maxToken: number;
  /** Whether clients send the token unasked, so that cross-site requests must be refused. */
  readonly ambient: boolean;
  /** The request header that carries the token. */
  readonly varyBy: string;
  read(request: RequestFacts): Presented;
  /** @throws InsecureTransportError when the connection would not protect a token */
  assertSecure(request: RequestFacts): void;
  /** Hands the client a token. `lifetime` is how long it is to be kept; `undefined` means until the browser closes. */
  write(request: RequestFacts, token: string, lifetime: Duration | undefined): ResponseChanges;
  /** Makes the client forget its token. */
  clear(request: RequestFacts): ResponseChanges;
  /** Another place of the same kind, for something that goes with the token; only in transports that have one. */
  beside?(suffix: string): Transport;
}
