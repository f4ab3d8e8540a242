import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { Sessions } from "coatcheck";
import { withSession } from "coatcheck/node";

/** What the visitors' sessions hold. */
export interface Cart {
  items?: string[];
}

/** What the visitors saw. */
export interface LoadReport {
  /** Things that were acknowledged and are not in the cart. */
  readonly lost: readonly string[];
  /** Things that are in the cart twice, or that nobody put there. */
  readonly invented: readonly string[];
  /** Visitors whom an answer took for somebody else than they are. */
  readonly loggedOut: number;
  /** Set-Cookie lines in answers to visitors who were logged in already. */
  readonly cookies: readonly string[];
  /** Answers that were neither 200 nor 503 with Retry-After. */
  readonly unexpected: readonly string[];
}

/** What an application over a sound store shows, whatever happens to its server. */
export const UNHARMED: LoadReport = { lost: [], invented: [], loggedOut: 0, cookies: [], unexpected: [] };

/** An HTTP server over these sessions, and visitors who put one thing after the other into their cart. */
export interface Load {
  /** How many requests were answered with 200. */
  readonly acknowledged: number;
  /** How many requests were answered with 503. */
  readonly refused: number;
  /** Resolves when so many more requests have been acknowledged. */
  acknowledges(count: number): Promise<void>;
  /** Resolves when so many more requests have been refused. */
  refuses(count: number): Promise<void>;
  /** Every visitor finishes the request under way and begins no other, until `resume`. Answers with all that was acknowledged. */
  pause(): Promise<ReadonlySet<string>>;
  resume(): void;
  /** Stops, and compares what is stored with what was acknowledged. */
  stop(): Promise<LoadReport>;
}

interface Visitor {
  readonly name: string;
  cookie: string;
  readonly attempted: string[];
  readonly acknowledged: string[];
}

export async function startLoad(sessions: Sessions<Cart>, visitors = 4): Promise<Load> {
  const listener = withSession(sessions, async (request, response, session) => {
    const { searchParams } = new URL(request.url ?? "", "http://localhost");
    const [name, thing] = [searchParams.get("visitor") as string, searchParams.get("thing")];
    if (request.method === "PUT") await session.login(name);
    if (thing !== null) await session.update("items", (items = []) => [...items, thing]);
    response.end(JSON.stringify({ user: session.userId, items: session.data.items ?? [] }));
  });
  const server = createServer((request, response) => void listener(request, response));
  await new Promise<void>((resolve) => server.listen(0, "localhost", resolve));
  const origin = `http://localhost:${(server.address() as AddressInfo).port}`;

  const counts = { acknowledged: 0, refused: 0 };
  const waiting = new Set<() => void>();
  const reaches = (what: keyof typeof counts, count: number) => {
    const goal = counts[what] + count;
    return new Promise<void>((resolve) => {
      const look = () => {
        if (counts[what] < goal) return;
        waiting.delete(look);
        resolve();
      };
      waiting.add(look);
      look();
    });
  };
  const report = {
    lost: [] as string[],
    invented: [] as string[],
    loggedOut: 0,
    cookies: [] as string[],
    unexpected: [] as string[],
  };

  async function send(
    visitor: Visitor,
    method: string,
    query = "",
  ): Promise<{ user?: string; items: string[] } | undefined> {
    const url = `${origin}/?visitor=${visitor.name}${query}`;
    const response = await fetch(url, { method, headers: { Cookie: visitor.cookie, Origin: origin } });
    const body = (await response.json()) as { user?: string; items: string[] };
    const cookies = response.headers.getSetCookie();
    if (method === "PUT") visitor.cookie = cookies[0]?.split(";")[0] ?? "";
    else report.cookies.push(...cookies);
    if (response.status === 503 && response.headers.has("Retry-After")) return undefined;
    if (response.status !== 200) report.unexpected.push(`${response.status} ${JSON.stringify(body)}`);
    else if (body.user !== visitor.name) report.loggedOut++;
    return body;
  }

  const everybody: Visitor[] = [];
  for (let i = 0; i < visitors; i++) {
    const visitor = { name: `visitor-${i}`, cookie: "", attempted: [], acknowledged: [] };
    everybody.push(visitor);
    while (visitor.cookie === "") await send(visitor, "PUT");
  }

  let working = true;
  async function shop(visitor: Visitor): Promise<void> {
    while (working) {
      const thing = `${visitor.name}-${visitor.attempted.length}`;
      visitor.attempted.push(thing);
      const answer = await send(visitor, "POST", `&thing=${thing}`);
      if (answer === undefined) counts.refused++;
      else {
        counts.acknowledged++;
        visitor.acknowledged.push(thing);
      }
      for (const look of waiting) look();
    }
  }
  let shopping = Promise.all(everybody.map(shop));
  const pause = async () => {
    working = false;
    await shopping;
    return new Set(everybody.flatMap(({ acknowledged }) => acknowledged));
  };

  return {
    get acknowledged() {
      return counts.acknowledged;
    },
    get refused() {
      return counts.refused;
    },
    acknowledges: (count) => reaches("acknowledged", count),
    refuses: (count) => reaches("refused", count),
    pause,
    resume() {
      working = true;
      shopping = Promise.all(everybody.map(shop));
    },
    async stop() {
      await pause();
      for (const visitor of everybody) {
        let answer = await send(visitor, "GET");
        while (answer === undefined) answer = await send(visitor, "GET");
        const stored = answer.items;
        report.lost.push(...visitor.acknowledged.filter((thing) => !stored.includes(thing)));
        const attempted = new Set(visitor.attempted);
        report.invented.push(...stored.filter((thing) => !attempted.delete(thing)));
      }
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      return report;
    },
  };
}
