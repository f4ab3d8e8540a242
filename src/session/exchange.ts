import type { ClientCopy } from "./client-copy.ts";
import type { Session } from "./session.ts";
import type { RequestFacts, ResponseChanges, Transport } from "./transport.ts";
import type { EndTurn } from "./turns.ts";
import type { Outgoing } from "./unit-of-work.ts";

const NOTHING: ResponseChanges = { cookies: [], headers: [] };
/** As with every Set-Cookie (row TR-01). */
const NO_STORE: ResponseChanges["headers"] = [["Cache-Control", "no-store"]];

/**
 * One request and its response, for those who write an adapter. Open, run the handler, `commit` before the first byte of
 * the response, put `responseChanges()` into its head, `end`.
 */
export class Exchange<Data extends object> {
  readonly session: Session<Data>;
  readonly #request: RequestFacts;
  readonly #transport: Transport;
  readonly #endTurn: EndTurn;
  readonly #copy: ClientCopy | undefined;

  /** @internal Exchanges come from `sessions.open`. */
  constructor(
    session: Session<Data>,
    request: RequestFacts,
    transport: Transport,
    endTurn: EndTurn,
    copy?: ClientCopy | undefined,
  ) {
    this.session = session;
    this.#request = request;
    this.#transport = transport;
    this.#endTurn = endTurn;
    this.#copy = copy;
  }

  /** Whether `commit` has anything to write. When not, the response need not wait. */
  get needsCommit(): boolean {
    return this.session.needsCommit || this.#copy?.due === true;
  }

  /** Saves what changed; rejects with the error to answer with. */
  commit(): Promise<void> {
    const saved = this.session.commitAtHead();
    return this.#copy === undefined ? saved : saved.then(() => this.#copy?.make());
  }

  /**
   * What the head of the response has to say. Ask once, after `commit`, when the head is about to leave. All is saved by
   * then, so the turn ends here: a long response keeps nobody waiting.
   */
  responseChanges(): ResponseChanges {
    const { outgoing, oldCookie, isPersonal } = this.session;
    this.session.headSent();
    this.end();
    const changes = this.#tokenChanges(outgoing, isPersonal);
    const ours = this.#copy === undefined ? changes : this.#copy.addTo(changes, outgoing === "clear");
    const all = oldCookie === undefined ? ours : { ...ours, cookies: [...ours.cookies, oldCookie], headers: NO_STORE };
    const announcement = outgoing === "clear" ? undefined : this.session.announcement;
    if (announcement === undefined) return all;
    return { ...all, headers: [...all.headers, ["Session-Expires", announcement]] };
  }

  /** Ends the turn of a request that came to no response, because the client has gone away or the handler failed. */
  end(): void {
    this.session.releaseLease();
    this.#endTurn();
  }

  #tokenChanges(outgoing: Outgoing, isPersonal: boolean): ResponseChanges {
    if (outgoing === undefined)
      return isPersonal ? { cookies: [], headers: [], varyBy: this.#transport.varyBy } : NOTHING;
    if (outgoing === "clear") return this.#transport.clear(this.#request);
    return this.#transport.write(this.#request, outgoing.token, outgoing.lifetime);
  }
}
