import { createServer, type IncomingMessage } from "node:http";
import { type AddressInfo, connect } from "node:net";
import type { Duplex } from "node:stream";
import { CoatcheckError, createSessions, hours } from "coatcheck";
import { openUpgrade } from "coatcheck/node";
import { afterEach, describe, expect, it } from "vitest";
import { errorAnswer } from "../../src/frameworks/error-answer.ts";
import { facts, recorded, TestClock, type Visit, visit, watchedStore } from "../frameworks/support.ts";

describe("WebSocket upgrades", () => {
  let close = async () => {};
  afterEach(() => close());

  /** A server that answers an upgrade as an application would: 101 and the user's name, or the error. */
  async function chat() {
    const store = watchedStore();
    const clock = new TestClock();
    const sessions = createSessions<Visit>({ store, clock });
    const server = createServer((_request, response) => response.end("page"));
    server.on("upgrade", (request: IncomingMessage, socket: Duplex) => {
      openUpgrade(sessions, request).then(
        async (session) => {
          session.data.n = (session.data.n ?? 0) + 1;
          await session.commit().catch(() => {});
          socket.end(
            `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n${session.userId}`,
          );
        },
        (error: unknown) => {
          const { status, headers } = errorAnswer(error);
          const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
          const reason = error instanceof CoatcheckError ? error.code : "error";
          socket.end(`HTTP/1.1 ${status} ${reason}\r\n${lines.join("")}Connection: close\r\n\r\n`);
        },
      );
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    close = () => new Promise((resolve) => server.close(() => resolve()));
    const origin = `http://localhost:${port}`;
    /** The raw answer to a handshake. */
    const upgrade = (headers: Record<string, string>) =>
      new Promise<string>((resolve, reject) => {
        const socket = connect(port, "127.0.0.1");
        let answer = "";
        socket.setEncoding("utf8").on("data", (piece: string) => {
          answer += piece;
        });
        socket.on("end", () => resolve(answer)).on("error", reject);
        const lines = Object.entries({
          Host: `localhost:${port}`,
          Connection: "Upgrade",
          Upgrade: "websocket",
          "Sec-WebSocket-Version": "13",
          "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
          ...headers,
        }).map(([name, value]) => `${name}: ${value}\r\n`);
        socket.write(`GET /chat HTTP/1.1\r\n${lines.join("")}\r\n`);
      });
    const local = { secure: false, host: `localhost:${port}` };
    const { cookie } = await visit(sessions, local, (session) => session.login("ada"));
    return { store, clock, sessions, origin, upgrade, cookie, events: recorded(sessions), port };
  }

  it("CS-11: a page of this site may, and the session is there", async () => {
    const { upgrade, origin, cookie } = await chat();
    for (const headers of [
      { Origin: origin },
      { Origin: origin, "Sec-Fetch-Site": "same-origin" },
      { "Sec-Fetch-Site": "none" },
      {},
    ] as Record<string, string>[])
      expect(await upgrade({ Cookie: cookie, ...headers })).toMatch(/^HTTP\/1\.1 101 [\s\S]*\r\n\r\nada$/);
    expect(await upgrade({ Origin: origin })).toMatch(/^HTTP\/1\.1 101 [\s\S]*undefined$/);
  });

  it("CS-11, CS-13: a page of another site may not: 403 with Vary, before the session is read", async () => {
    const { upgrade, cookie, store, events, port } = await chat();
    const calls = store.calls();
    for (const headers of [
      { Origin: "https://evil.example" },
      { Origin: "null" },
      { Origin: "http://localhost" },
      { Origin: `https://localhost:${port}` },
      { Origin: `http://localhost:${port + 1}` },
      { Origin: `http://127.0.0.1:${port}` },
      { "Sec-Fetch-Site": "cross-site" },
      { "Sec-Fetch-Site": "same-site", Origin: `http://localhost:${port}` },
    ] as Record<string, string>[]) {
      const answer = await upgrade({ Cookie: cookie, ...headers });
      expect(answer, JSON.stringify(headers)).toMatch(/^HTTP\/1\.1 403 cross_site_request\r\n/);
      expect(answer).toMatch(/\r\nVary: Sec-Fetch-Site, Origin\r\n/);
    }
    expect(store.calls()).toBe(calls);
    expect(events.map(({ type }) => type)).toEqual(Array(8).fill("csrfRejected"));
  });

  it("CS-11: what is written is kept by commit, for a session that exists; none is begun, as no cookie can be sent", async () => {
    const { upgrade, cookie, sessions, store, origin } = await chat();
    expect(await upgrade({ Cookie: cookie, Origin: origin })).toContain("101");
    const host = origin.slice("http://".length);
    expect((await visit(sessions, { secure: false, host, headers: { cookie } })).session.data.n).toBe(1);
    const creates = store.calls("create");
    expect(await upgrade({ Origin: origin })).toContain("101");
    expect(store.calls("create")).toBe(creates);
  });

  it("CS-11: an upgrade takes no turn, and an ended session opens nothing", async () => {
    const { sessions, cookie, upgrade, clock, origin } = await chat();
    const host = origin.slice("http://".length);
    const busy = await sessions.open(facts({ method: "POST", secure: false, host, headers: { cookie } }));
    expect(await upgrade({ Cookie: cookie, Origin: origin })).toContain("ada");
    busy.end();
    await clock.advance(hours(12));
    expect(await upgrade({ Cookie: cookie, Origin: origin })).toContain("undefined");
  });

  it("CS-11: a store that is down and a header that is too large are errors, for the socket to be closed with", async () => {
    const { upgrade, cookie, store, origin } = await chat();
    store.fail();
    expect(await upgrade({ Cookie: cookie, Origin: origin })).toMatch(/^HTTP\/1\.1 503 [\s\S]*Retry-After: 5/);
    store.recover();
    expect(await upgrade({ Cookie: `a=${"x".repeat(9000)}`, Origin: origin })).toMatch(/^HTTP\/1\.1 431/);
  });
});
