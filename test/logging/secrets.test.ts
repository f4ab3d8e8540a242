import { createHash } from "node:crypto";
import diagnostics from "node:diagnostics_channel";
import { inspect } from "node:util";
import {
  CorruptRecordError,
  createSessions,
  headerTransport,
  hours,
  minutes,
  type Session,
  type SessionsOptions,
  seconds,
} from "coatcheck";
import { withSession } from "coatcheck/node";
import { afterEach, describe, expect, it, vi } from "vitest";
import { type Answer, http1, type Sending } from "../frameworks/servers.ts";
import { EVENTS, recorded, TestClock, type Visit, watchedStore } from "../frameworks/support.ts";

/** Everything that could end up in a log, as text. */
class Sinks {
  readonly texts: string[] = [];

  add(...values: unknown[]): void {
    for (const value of values) {
      if (typeof value === "string") this.texts.push(value);
      this.texts.push(String(value), inspect(value, { depth: 12, getters: true }));
      this.texts.push(inspect(value, { depth: 12, showHidden: true, customInspect: false }));
      try {
        this.texts.push(JSON.stringify(value, (_key, v) => (typeof v === "bigint" ? String(v) : v)) ?? "");
      } catch {
        // A cycle.
      }
      for (let error: unknown = value; error instanceof Error; error = error.cause)
        this.texts.push(
          error.message,
          error.stack ?? "",
          JSON.stringify(Object.assign({}, error, { cause: undefined })),
        );
    }
  }
}

const sha256 = (text: string) => createHash("sha256").update(text);

describe("LG-01", () => {
  afterEach(() => vi.restoreAllMocks());

  for (const transport of ["cookie", "header"] as const)
    it(`LG-01: over a whole journey with the ${transport} transport, no secret, token or hash reaches any log, error, event or body`, async () => {
      const sinks = new Sinks();
      const secrets = new Set<string>();
      // Every secret is 32 bytes of the generator; nothing else asks for as many.
      const generate = globalThis.crypto.getRandomValues.bind(globalThis.crypto);
      vi.spyOn(globalThis.crypto, "getRandomValues").mockImplementation(((bytes: Uint8Array) => {
        generate(bytes);
        if (bytes.length === 32) secrets.add(Buffer.from(bytes).toString("base64url"));
        return bytes;
      }) as never);
      for (const method of ["log", "info", "warn", "error", "debug", "trace"] as const)
        vi.spyOn(console, method).mockImplementation((...given: unknown[]) => sinks.add(...given));
      vi.spyOn(process, "emitWarning").mockImplementation(((...given: unknown[]) => sinks.add(...given)) as never);
      const channels = EVENTS.map((type) => `coatcheck:${type}`);
      const subscriber = (message: unknown) => sinks.add(message);
      for (const name of channels) diagnostics.subscribe(name, subscriber);

      const clock = new TestClock();
      const store = watchedStore();
      const csrfTokens: string[] = [];
      const make = (options: Partial<SessionsOptions<Visit>> = {}) =>
        createSessions<Visit>({
          store,
          clock,
          lifetime: { renewEvery: minutes(10), remember: { idle: hours(2), absolute: hours(2) } },
          ...(transport === "header" && { transport: headerTransport() }),
          ...options,
        });
      const sessions = make();
      const limited = make({ sessionsPerUser: { max: 1, atLimit: "reject" } });
      const events = recorded(sessions);
      for (const type of EVENTS) sessions.on(type, (event) => sinks.add(event));

      const actions: Record<string, (session: Session<Visit>) => unknown> = {
        write: (session) => {
          session.data.n = (session.data.n ?? 0) + 1;
        },
        login: (session) => session.login("ada", { remember: true }),
        elevate: (session) => session.elevate({ methods: ["otp"] }),
        renew: (session) => session.renew(),
        logout: (session) => session.logout(),
        destroy: (session) => session.destroy(),
        flash: (session) => session.flash("info", "saved"),
        takeFlash: (session) => session.takeFlash(),
        form: async (session) => void csrfTokens.push(await session.csrfToken()),
        badToken: (session) => session.requireCsrfToken("x".repeat(22)),
        recent: (session) => session.requireRecentAuth(1),
        tooLarge: (session) => {
          session.data.text = "x".repeat(70_000);
        },
        unwritable: (session) => {
          session.data.anything = 10n;
        },
        badLogin: (session) => session.login(""),
        throws: () => {
          throw new Error("the application's own");
        },
        list: async (session) => sinks.add(await sessions.forUser("ada").list({ by: session })),
        conflict: async (session) => {
          session.data.text = "ours";
          const record = await store.read(session.id);
          await store.update(session.id, record?.version ?? 0, { set: new Map([["text", '"theirs"']]) });
        },
        late: async (session) => {
          session.data.n = 5;
          await store.remove(session.id);
        },
        limited: async () => {},
      };
      const served = await http1(
        withSession(
          sessions,
          async (request, response, session) => {
            sinks.add(session);
            const name = (request.url ?? "").slice(1);
            try {
              await actions[name]?.(session);
            } catch (error) {
              sinks.add(error);
              throw error;
            } finally {
              sinks.add(session, session.id, sessions);
            }
            if (name === "headersSent") {
              response.write("a");
              await session.login("ada").catch((error) => sinks.add(error));
            }
            response.end("ok");
          },
          {
            onError(error, _request, response) {
              sinks.add(error);
              if (response.headersSent) response.destroy();
              else response.writeHead(500).end();
            },
          },
        ),
      );

      /** The one place where the token may be. */
      const tokenOf = (answer: Answer) =>
        transport === "header" ? answer.headers["session-token"] : /^sid=([^;]*)/.exec(answer.cookies[0] ?? "")?.[1];
      const credential = (token: string): Record<string, string> =>
        transport === "header" ? { authorization: `Bearer ${token}` } : { cookie: `sid=${token}` };
      const tokens = new Set<string>();
      let current = "";
      const ask = async (path: string, token = current, sending: Sending = {}) => {
        const answer = await served.send(`/${path}`, {
          method: "POST",
          ...sending,
          headers: { "user-agent": "journey", ...credential(token), ...sending.headers },
        }).whole;
        const sent = tokenOf(answer);
        if (sent) {
          tokens.add(sent);
          current = sent;
        }
        const { "session-token": _, ...headers } = answer.headers;
        sinks.add(
          answer.text,
          headers,
          answer.cookies.map((line) => line.replace(/^sid=[^;]*/, "")),
        );
        return answer;
      };

      await ask("write");
      const anonymous = current;
      await ask("form");
      await ask("login");
      const first = current;
      await ask("write", anonymous);
      await clock.advance(seconds(30));
      await ask("write", anonymous);
      for (const path of ["elevate", "renew", "flash", "takeFlash", "form", "badToken", "badLogin", "list", "throws"])
        await ask(path);
      for (const path of ["tooLarge", "unwritable", "conflict", "headersSent", "write"]) await ask(path);
      await clock.advance(minutes(11));
      await ask("write");
      await ask("recent");
      for (const token of [
        first,
        `${first}x`,
        first.slice(1),
        `${current}.${first}`,
        `${current}, ${current}`,
        current.toUpperCase(),
      ])
        await ask("write", token).catch(() => {});
      await ask("write", current, { headers: { "sec-fetch-site": "cross-site" } });
      await ask("write", current, {
        headers: transport === "cookie" ? { cookie: `sid=${current}; sid=${first}` } : {},
      });
      if (transport === "cookie") await ask("write", `${current}; a=${"x".repeat(9000)}`);
      await ask("login", "", { host: "shop.example" });
      for (const verb of ["read", "update", "touch", "create", "remove"] as const) {
        store.failNext(verb, { error: new Error("driver: connection reset") });
        await ask("write");
        await ask("logout", first);
        store.recover();
      }
      store.failNext("read", { error: new CorruptRecordError() });
      await ask("write");
      current = "";
      await ask("login");
      const exchange = await limited.open({
        method: "POST",
        header: () => undefined,
        secure: true,
        host: "shop.example",
        ip: "198.51.100.7",
      });
      sinks.add(exchange, limited);
      sinks.add(await exchange.session.login("ada").catch((error: unknown) => error));
      sinks.add(exchange.session, exchange);
      await ask("late");
      current = "";
      await ask("login");
      await ask("destroy");
      current = "";
      await ask("login");
      await ask("logout");
      await clock.advance(hours(2));
      await ask("write", first);
      sinks.add(await sessions.forUser("ada").revokeAll(), await sessions.revokeEveryone());
      await served.close();
      for (const name of channels) diagnostics.unsubscribe(name, subscriber);

      // The journey was long enough to prove something.
      expect(tokens.size).toBeGreaterThan(8);
      expect(secrets.size).toBeGreaterThanOrEqual(tokens.size);
      expect(csrfTokens.length).toBe(2);
      expect(new Set(events.map(({ type }) => type)).size).toBeGreaterThanOrEqual(14);
      for (const token of tokens) expect(secrets).toContain(token.split(".")[1]);
      const everything = sinks.texts.join("\n");
      expect(everything.length).toBeGreaterThan(50_000);
      expect(everything).toContain([...tokens][0]?.split(".")[0]);

      const forbidden = [...secrets].flatMap((secret) => [
        secret,
        // A part is a leak too.
        secret.slice(0, 16),
        secret.slice(-16),
        sha256(secret).digest("base64url"),
        sha256(secret).digest("hex"),
        sha256(secret).digest("base64").slice(0, 42),
      ]);
      forbidden.push(...[...tokens].map((token) => sha256(token).digest("base64url")));
      forbidden.push(...csrfTokens.flatMap((token) => [token, token.slice(23)]));
      for (const text of forbidden) expect(everything.includes(text), `${text.slice(0, 6)}…`).toBe(false);
    });

  it("LG-01, CK-04: the token is in one line of the head and nowhere else in the response", async () => {
    const sessions = createSessions<Visit>({ store: watchedStore(), clock: new TestClock() });
    const served = await http1(
      withSession(sessions, async (_request, response, session) => {
        await session.login("ada");
        const devices = await sessions.forUser("ada").list({ by: session });
        response.setHeader("X-Session", session.id);
        response.end(JSON.stringify([session, session.data, devices, String(session), inspect(session)]));
      }),
    );
    const answer = await served.send("/", { method: "POST" }).whole;
    const [line] = answer.cookies;
    const token = /^sid=([^;]*)/.exec(line ?? "")?.[1] ?? "";
    expect(token).toHaveLength(66);
    expect(answer.cookies).toHaveLength(1);
    const rest = JSON.stringify([answer.text, answer.headers, line?.replace(token, "")]);
    expect(rest).toContain(token.slice(0, 22));
    expect(rest).not.toContain(token.slice(23));
    await served.close();
  });
});
