import type { LoginOptions } from "../session/login.ts";
import type { SessionDataShape } from "../session/session.ts";
import type { Sessions } from "../session/sessions.ts";
import type { SessionId } from "../session/token.ts";
import type { RequestFacts } from "../session/transport.ts";

export interface SignedInOptions<Data extends object> extends LoginOptions {
  /**
   * Where the requests of the test will go: the cookie has another name on `http://localhost` and its kin than under
   * `https:`. Default `https://localhost`.
   */
  readonly url?: string;
  /** Data that the session holds from the start. */
  readonly data?: Partial<Data>;
  /** The header that `headerTransport` was told to read, if not `Authorization`. */
  readonly header?: string;
}

export interface SignedIn {
  /** What a request of this visitor carries: `{ Cookie: "name=value" }`, or the header of `headerTransport`. */
  readonly headers: Record<string, string>;
  readonly sessionId: SessionId;
}

/**
 * Logs a user in without a request, and gives the headers that requests of that user carry: for the tests of an application.
 * The session is stored like any other.
 *
 * @throws what `session.login` throws
 */
export async function signedInCookie<Data extends object = SessionDataShape>(
  sessions: Sessions<Data>,
  userId: string,
  options: SignedInOptions<Data> = {},
): Promise<SignedIn> {
  const { url = "https://localhost", data, header = "Authorization", ...login } = options;
  const exchange = await sessions.open(requestTo(url));
  try {
    const { session } = exchange;
    await session.login(userId, login);
    Object.assign(session.data, data);
    await exchange.commit();
    const { token } = session.outgoing as { readonly token: string };
    const [cookie] = exchange.responseChanges().cookies;
    return { headers: cookie === undefined ? inHeader(header, token) : inCookie(cookie.line), sessionId: session.id };
  } finally {
    exchange.end();
  }
}

function requestTo(url: string): RequestFacts {
  const { protocol, host } = new URL(url);
  return { method: "GET", header: () => undefined, secure: protocol === "https:", host, ip: undefined };
}

const inCookie = (line: string): Record<string, string> => ({ Cookie: line.slice(0, line.indexOf(";")) });

const inHeader = (name: string, token: string): Record<string, string> => ({
  [name]: name.toLowerCase() === "authorization" ? `Bearer ${token}` : token,
});
