import { once } from "node:events";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { Client, goesShopping } from "./visitor.ts";

async function started(name: string): Promise<{ server: Server; base: string }> {
  process.env.PORT = "0";
  const { server } = (await import(`../../examples/${name}/server.ts`)) as { server: Server };
  if (!server.listening) await once(server, "listening");
  return { server, base: `http://localhost:${(server.address() as AddressInfo).port}` };
}

async function stop(server: Server | undefined): Promise<void> {
  server?.closeAllConnections();
  await new Promise((resolve) => (server === undefined ? resolve(undefined) : server.close(resolve)));
}

describe.each([
  ["node", "cookie"],
  ["express", "cookie"],
  ["fastify", "cookie"],
  ["koa", "cookie"],
  ["hono", "cookie"],
  ["bearer-token", "token"],
] as const)("the example for %s", (name, credential) => {
  let server: Server;
  let base: string;
  beforeAll(async () => {
    ({ server, base } = await started(name));
  });
  afterAll(() => stop(server));

  it("goes from a cart over login to logout", async () => {
    await goesShopping(new Client(base), credential);
  });

  it("answers a page of another site 403, unless the client sends its token itself", async () => {
    const headers = { "Sec-Fetch-Site": "cross-site", "Content-Type": "application/json" };
    const response = await fetch(`${base}/login`, { method: "POST", headers, body: '{"user":"eve"}' });
    expect(response.status).toBe(credential === "cookie" ? 403 : 204);
  });
});

describe("the example for Fetch", () => {
  it("goes from a cart over login to logout", async () => {
    const { default: app } = await import("../../examples/fetch/server.ts");
    await goesShopping(new Client("https://shop.example", (request) => app.fetch(request)), "cookie");
  });
});

describe("the example for WebSockets", () => {
  let server: Server;
  let base: string;
  beforeAll(async () => {
    ({ server, base } = await started("websocket"));
  });
  afterAll(() => stop(server));

  it("opens a socket after login and closes it at logout", async () => {
    const client = new Client(base);
    const connect = () => new WebSocket(base.replace("http", "ws"), { headers: { cookie: client.cookie ?? "" } });
    const refused = connect();
    const [error] = await once(refused, "error");
    expect(String(error)).toContain("401");

    await client.call("POST", "/login");
    const socket = connect();
    await once(socket, "open");
    socket.send("hello");
    expect(String((await once(socket, "message"))[0])).toBe("ada: hello");
    const closed = once(socket, "close");
    await client.call("POST", "/logout");
    expect(String((await closed)[1])).toBe("logged out");
  });
});
