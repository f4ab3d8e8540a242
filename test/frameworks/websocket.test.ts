import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { type AddressInfo, connect as connectTo } from "node:net";
import { createSessions, minutes, type Sessions, seconds } from "coatcheck";
import { signedInCookie } from "coatcheck/testing";
import { acceptWebSockets, SESSION_ENDED, sessionOf, type WebSocketOptions } from "coatcheck/websocket";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import { TestClock, type UnreliableStore, type Visit, watchedStore } from "./support.ts";

describe("WebSockets", () => {
  let clock: TestClock;
  let store: UnreliableStore;
  let sessions: Sessions<Visit>;
  /** Those of another process on the same store, whose events are not heard here. */
  let elsewhere: Sessions<Visit>;
  let server: Server;
  let wss: WebSocketServer;
  let received: string[];

  async function serve(options: WebSocketOptions<Visit> = {}): Promise<void> {
    server = createServer();
    wss = new WebSocketServer({ noServer: true });
    server.on("upgrade", acceptWebSockets(sessions, wss, options));
    wss.on("connection", (socket) => {
      const session = sessionOf(sessions, socket);
      socket.on("message", (data) => {
        received.push(String(data));
        socket.send(`${session.userId}: ${data}`);
      });
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
  }

  beforeEach(() => {
    clock = new TestClock();
    store = watchedStore();
    sessions = createSessions<Visit>({ store, clock, lifetime: { renewEvery: minutes(2) } });
    elsewhere = createSessions<Visit>({ store, clock });
    received = [];
  });
  afterEach(async () => {
    store.recover();
    for (const client of wss.clients) client.terminate();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  const url = () => `ws://localhost:${(server.address() as AddressInfo).port}`;
  const login = async (user = "ada") => signedInCookie(sessions, user, { url: "http://localhost" });

  async function connect(headers: Record<string, string>): Promise<WebSocket> {
    const client = new WebSocket(url(), { headers, family: 4 } as never);
    await once(client, "open");
    return client;
  }
  async function echo(client: WebSocket, text: string): Promise<string> {
    const answered = once(client, "message");
    client.send(text);
    return String((await answered)[0]);
  }
  async function closing(client: WebSocket): Promise<[number, string]> {
    const [code, reason] = await once(client, "close");
    return [code, String(reason)];
  }
  /** What an upgrade that is refused is answered. */
  async function refusal(headers: Record<string, string>) {
    const client = new WebSocket(url(), { headers, family: 4 } as never);
    client.on("error", () => {});
    const [, response] = await once(client, "unexpected-response");
    client.terminate();
    return response;
  }

  it("CS-11: opens the session of the upgrade, and only for the application's own pages", async () => {
    await serve();
    const { headers } = await login();
    const origin = url().replace("ws:", "http:");
    expect(await echo(await connect({ ...headers, origin }), "hello")).toBe("ada: hello");
    expect(await echo(await connect(headers), "no browser")).toBe("ada: no browser");
    expect((await refusal({ ...headers, origin: "https://evil.example" })).statusCode).toBe(403);
    expect((await refusal({ ...headers, "sec-fetch-site": "same-site" })).statusCode).toBe(403);
    expect((await refusal({})).statusCode).toBe(401);
    expect(wss.clients.size).toBe(2);
  });

  it("CS-11: an upgrade that a framework hands on as a GET request is checked in the same way", async () => {
    await serve();
    const request = (headers: Record<string, string>) =>
      sessions.open({
        method: "GET",
        header: (name) => headers[name],
        secure: false,
        host: "localhost",
        ip: undefined,
      });
    const foreign = { "sec-fetch-site": "cross-site" };
    await expect(request({ ...foreign, upgrade: "WebSocket" })).rejects.toThrow("cross-site");
    await expect(request(foreign)).resolves.toBeDefined();
  });

  it("admits whom the application says", async () => {
    await serve({ admit: (session) => session.userId !== "eve" });
    expect(await echo(await connect({}), "hi")).toBe("undefined: hi");
    expect((await refusal((await login("eve")).headers)).statusCode).toBe(401);
  });

  it("a store that is down is a 503, not a 401", async () => {
    await serve();
    const { headers } = await login();
    store.fail();
    const { statusCode, headers: answered } = await refusal(headers);
    expect([statusCode, answered["retry-after"]]).toEqual([503, "5"]);
  });

  it("LO-01: a logout, and a session that is revoked, close its sockets at once, and nobody else's", async () => {
    await serve();
    const [first, second, third] = [await login(), await login(), await login()];
    const bob = await connect((await login("bob")).headers);
    const closed = [];
    for (const { headers } of [first, first, second, third]) closed.push(closing(await connect(headers)));

    const exchange = await sessions.open({
      method: "POST",
      header: (name) => (name === "cookie" ? first.headers.Cookie : undefined),
      secure: false,
      host: "localhost",
      ip: undefined,
    });
    await exchange.session.logout();
    exchange.end();
    expect(await Promise.all(closed.slice(0, 2))).toEqual([
      [SESSION_ENDED, "logged out"],
      [SESSION_ENDED, "logged out"],
    ]);
    await sessions.forUser("ada").revoke(second.sessionId);
    expect(await closed[2]).toEqual([SESSION_ENDED, "session revoked"]);
    await sessions.forUser("ada").revokeAll();
    expect(await closed[3]).toEqual([SESSION_ENDED, "session ended"]);
    expect(await echo(bob, "still here")).toBe("bob: still here");
    const last = closing(bob);
    await sessions.revokeEveryone();
    expect((await last)[0]).toBe(SESSION_ENDED);
  });

  it("a session that is revoked while its upgrade is under way", async () => {
    await serve({
      async admit(session) {
        await sessions.forUser("ada").revokeAll();
        return session.userId === "ada";
      },
    });
    const client = new WebSocket(url(), { headers: (await login()).headers, family: 4 } as never);
    expect(await closing(client)).toEqual([SESSION_ENDED, "session ended"]);
  });

  it("LO-01: all sessions of a user that are revoked while a check has read one of them and not yet answered", async () => {
    const read = store.read.bind(store);
    let answered = Promise.resolve();
    let noteRead = () => {};
    store.read = async (...args) => {
      const record = await read(...args);
      noteRead();
      await answered;
      return record;
    };
    sessions = createSessions<Visit>({ store, clock });
    await serve();
    const closed = closing(await connect((await login()).headers));
    let letGo = () => {};
    answered = new Promise((resolve) => {
      letGo = resolve;
    });
    const hasRead = new Promise<void>((resolve) => {
      noteRead = resolve;
    });
    await clock.advance(seconds(30));
    await hasRead;
    await sessions.forUser("ada").revokeAll();
    letGo();
    expect(await closed).toEqual([SESSION_ENDED, "session ended"]);
  });

  it("a connection that is refused is closed, whatever its client keeps open", async () => {
    await serve();
    const accepted = once(server, "connection");
    const client = connectTo({ port: (server.address() as AddressInfo).port, host: "127.0.0.1", allowHalfOpen: true });
    client.on("error", () => {});
    const head = ["GET / HTTP/1.1", "Host: localhost", "Connection: Upgrade", "Upgrade: websocket"];
    const key = ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="];
    client.write(`${[...head, ...key].join("\r\n")}\r\n\r\n`);
    const [socket] = await accepted;
    const ended = once(socket, "close");
    expect(String((await once(client, "data"))[0])).toMatch(/^HTTP\/1\.1 401 /);
    await ended;
    client.destroy();
  });

  it("a session that another process ends is found out by the next check", async () => {
    await serve();
    const { headers, sessionId } = await login();
    const client = await connect(headers);
    const closed = closing(client);
    await elsewhere.forUser("ada").revoke(sessionId);
    expect(await echo(client, "within the interval")).toBe("ada: within the interval");
    await clock.advance(seconds(30));
    expect(await closed).toEqual([SESSION_ENDED, "session ended"]);
    // Only the clean-up is left.
    expect(clock.pending).toBe(1);
  });

  it("a message waits for the check, and is dropped when the session has ended", async () => {
    await serve();
    const { headers, sessionId } = await login();
    const client = await connect(headers);
    await clock.advance(seconds(5));
    const reads = store.calls("read");
    const hold = store.hold("read");
    const answers = Promise.all([once(client, "message"), echo(client, "one")]);
    client.send("two");
    await hold.reached;
    expect(received).toEqual([]);
    hold.release();
    await answers;
    while (received.length < 2) await once(client, "message");
    expect(received).toEqual(["one", "two"]);
    expect(store.calls("read") - reads).toBe(1);

    await clock.advance(seconds(5));
    await elsewhere.forUser("ada").revoke(sessionId);
    const closed = closing(client);
    client.send("three");
    client.send("four");
    expect(await closed).toEqual([SESSION_ENDED, "session ended"]);
    expect(received).toEqual(["one", "two"]);
  });

  it("LT-07: an open socket keeps no session alive, unless its messages count as activity", async () => {
    for (const passive of [true, false]) {
      await serve({ passive });
      const { headers } = await login();
      const client = await connect(headers);
      const closed = closing(client);
      for (let minute = 0; minute < 29; minute++) {
        await clock.advance(minutes(1));
        await echo(client, "hi");
      }
      await clock.advance(minutes(1));
      if (passive) expect(await closed).toEqual([SESSION_ENDED, "session expired"]);
      else {
        expect(await echo(client, "alive")).toBe("ada: alive");
        await clock.advance(minutes(31));
        expect(await closed).toEqual([SESSION_ENDED, "session expired"]);
        continue;
      }
      server.close();
    }
  });

  it("a token that a rotation replaced ends its socket; a periodic renewal does not", async () => {
    await serve();
    const { headers } = await login();
    const client = await connect(headers);
    const request = async (cookie: string, act: (session: { renew(): Promise<void> }) => unknown) => {
      const header = (name: string) => (name === "cookie" ? cookie : undefined);
      const exchange = await sessions.open({ method: "GET", header, secure: false, host: "localhost", ip: undefined });
      await act(exchange.session);
      await exchange.commit();
      return exchange.responseChanges().cookies[0]?.line.split(";")[0] ?? cookie;
    };
    let cookie = headers.Cookie as string;
    for (let i = 0; i < 3; i++) {
      await clock.advance(minutes(2));
      const renewed = await request(cookie, () => {});
      expect(renewed).not.toBe(cookie);
      cookie = renewed;
      await clock.advance(seconds(30));
      expect(await echo(client, "renewed")).toBe("ada: renewed");
    }
    await request(cookie, (session) => session.renew());
    const closed = closing(client);
    await clock.advance(seconds(30));
    expect(await closed).toEqual([SESSION_ENDED, "session renewed"]);
  });

  it("TR-05: a store that is down closes no socket before its session would have expired", async () => {
    await serve();
    const client = await connect((await login()).headers);
    const closed = closing(client);
    store.fail();
    await clock.advance(minutes(29));
    expect(await echo(client, "hi")).toBe("ada: hi");
    await clock.advance(minutes(1));
    expect(await closed).toEqual([1013, "try again later"]);
  });

  it("the session's data is that of the last check, and what is written is kept by commit", async () => {
    await serve();
    const { headers, sessionId } = await login();
    await connect(headers);
    const session = sessionOf(sessions, [...wss.clients][0] as WebSocket);
    session.data.n = 1;
    await session.commit();
    const again = await connect(headers);
    expect(sessionOf(sessions, [...wss.clients][1] as WebSocket).data).toEqual({ n: 1 });
    expect(session.id).toBe(sessionId);
    again.close();
    expect(() => sessionOf(elsewhere, [...wss.clients][0] as WebSocket)).toThrow(TypeError);
  });

  it("refuses lengths of time that make no sense", async () => {
    await serve();
    for (const options of [{ recheckEvery: 0 }, { recheckEvery: Number.POSITIVE_INFINITY }, { recheckOnMessage: -1 }])
      expect(() => acceptWebSockets(sessions, wss, options)).toThrow(TypeError);
  });
});
