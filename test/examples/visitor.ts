import { expect } from "vitest";

type Send = (request: Request) => Promise<Response>;

/** A client that keeps what a browser, or with a token an API client, keeps. */
export class Client {
  readonly #base: string;
  readonly #send: Send;
  cookie: string | undefined;
  token: string | undefined;

  constructor(base: string, send: Send = fetch) {
    this.#base = base;
    this.#send = send;
  }

  async call(method: string, path: string, body?: object): Promise<Response> {
    const headers = new Headers(body === undefined ? {} : { "Content-Type": "application/json" });
    if (this.cookie !== undefined) headers.set("Cookie", this.cookie);
    if (this.token !== undefined) headers.set("Authorization", `Bearer ${this.token}`);
    const init = { method, headers, ...(body === undefined ? undefined : { body: JSON.stringify(body) }) };
    const response = await this.#send(new Request(new URL(path, this.#base), init));
    const token = response.headers.get("Session-Token");
    if (token !== null) this.token = token === "" ? undefined : token;
    for (const line of response.headers.getSetCookie())
      this.cookie = line.includes("Max-Age=0") ? undefined : line.split(";")[0];
    return response;
  }

  async cart(): Promise<unknown> {
    return (await this.call("GET", "/cart")).json();
  }
}

/**
 * A visitor fills a cart, logs in, finds it again, logs out, and is a stranger. Copies of the credentials die, unless they are
 * sealed cookies without a store.
 */
export async function goesShopping(
  client: Client,
  credential: "cookie" | "token",
  { copiesDie = true } = {},
): Promise<void> {
  expect(await client.cart()).toEqual({ cart: [] });
  expect(client[credential]).toBeUndefined();
  expect(await (await client.call("POST", "/cart", { item: "hat" })).json()).toEqual({ cart: ["hat"] });
  const anonymous = client[credential];
  expect((await client.call("POST", "/login", { user: "ada" })).status).toBe(204);
  expect(client[credential]).not.toBe(anonymous);
  await client.call("POST", "/cart", { item: "coat" });
  expect(await client.cart()).toEqual({ user: "ada", cart: ["hat", "coat"] });
  const copy = client[credential];
  expect((await client.call("POST", "/logout")).status).toBe(204);
  expect(client[credential]).toBeUndefined();
  expect(await client.cart()).toEqual({ cart: [] });
  for (const dead of copiesDie ? [anonymous, copy] : []) {
    client[credential] = dead;
    expect(await client.cart()).toEqual({ cart: [] });
  }
}
