import { createRequire } from "node:module";
import { days, minutes } from "coatcheck";
import { ironSession } from "coatcheck/upgrade";
import { describe, expect, it } from "vitest";
import { type Handler, serve, type Untyped } from "../frameworks/express-session/support.ts";
import { Browser, native, POST } from "./support.ts";

const { getIronSession, sealData }: Untyped = createRequire(import.meta.url)("iron-session");

const PASSWORD = "a password of at least 32 characters";
const OPTIONS = { password: PASSWORD, cookieName: "shop", cookieOptions: { secure: false } };
const ADA = { user: "ada", isNew: false, data: { userId: "ada", cart: ["lämp"] } };
const STRANGER = { isNew: true, data: {} };

/** The old application. */
function oldShop(options: Untyped) {
  const handler: Handler = async (request, response) => {
    const session = await getIronSession(request, response, options);
    if (request.url === "/login") {
      Object.assign(session, { userId: "ada", cart: ["lämp"] });
      await session.save();
    }
    response.end(JSON.stringify({ user: session.userId }));
  };
  return serve("node:http", (_request, _response, next) => next(), { handler });
}

async function loggedIn(options: Untyped = OPTIONS) {
  const old = await oldShop(options);
  const ada = new Browser();
  await ada.send(old, "/login");
  expect(await ada.get(old, "/me")).toEqual({ user: "ada" });
  return { old, ada };
}

describe("visitors of iron-session", () => {
  it("go on with their data, logged in, once for parallel requests", async () => {
    const { ada } = await loggedIn();
    const { served, sessions } = await native(ironSession(OPTIONS));
    const tabs = Array.from({ length: 6 }, () => ada.copy());
    for (const seen of await Promise.all(tabs.map((tab) => tab.get(served, "/me")))) expect(seen).toEqual(ADA);
    expect(new Set(tabs.map(({ jar }) => jar.get("sid"))).size).toBe(1);
    expect(await sessions.forUser("ada").list()).toHaveLength(1);
  });

  it("are not one visitor, though they have the same data", async () => {
    const [one, other] = [await loggedIn(), await loggedIn()];
    const { served, sessions } = await native(ironSession(OPTIONS));
    await one.ada.get(served, "/add?item=chair", POST);
    expect(await other.ada.get(served, "/me")).toEqual(ADA);
    expect(await sessions.forUser("ada").list()).toHaveLength(2);
  });

  it("who have logged out cannot come back with the old cookie", async () => {
    const { ada } = await loggedIn();
    const { served } = await native(ironSession(OPTIONS));
    await ada.get(served, "/me");
    const copy = ada.copy();
    await ada.get(served, "/logout", POST);
    expect(ada.jar.size).toBe(0);
    copy.jar.delete("sid");
    expect(await copy.get(served, "/me")).toEqual(STRANGER);
  });

  it("who have logged out cannot come back with another version written behind the seal", async () => {
    const { ada } = await loggedIn();
    const { served, sessions } = await native(ironSession(OPTIONS));
    await ada.get(served, "/me");
    const [seal = ""] = (ada.jar.get("shop") ?? "").split("~");
    const variants = ["~2", "~2~", "~2~3", "~02", "~", ""].map((version) => {
      const thief = new Browser();
      thief.jar.set("shop", seal + version);
      return thief;
    });
    for (const variant of variants) expect(await variant.copy().get(served, "/me")).toEqual(ADA);
    expect(await sessions.forUser("ada").list()).toHaveLength(1);
    await ada.get(served, "/logout", POST);
    for (const variant of variants) expect(await variant.get(served, "/me")).toEqual(STRANGER);
  });

  it("lose the old cookie after the grace, and nothing else", async () => {
    const { ada } = await loggedIn();
    const { served, clock } = await native(ironSession(OPTIONS));
    await ada.get(served, "/me");
    await clock.advance(minutes(5));
    expect(await ada.get(served, "/me")).toEqual(ADA);
    expect([...ada.jar.keys()]).toEqual(["sid"]);
  });

  it("come with any of several passwords", async () => {
    const passwords = { 1: "another password of more than 32 characters", 2: PASSWORD };
    const { ada } = await loggedIn({ ...OPTIONS, password: passwords });
    const { served } = await native(ironSession({ ...OPTIONS, password: passwords }));
    expect(await ada.get(served, "/me")).toEqual(ADA);
  });

  it("come with seals without an end, or of versions before 7", async () => {
    const endless = await sealData({ userId: "ada", cart: ["lämp"] }, { password: PASSWORD, ttl: 0 });
    const early = await sealData({ persistent: { userId: "ada", cart: ["lämp"] } }, { password: PASSWORD });
    const { served, clock } = await native(ironSession({ ...OPTIONS, ttl: 0 }));
    await clock.advance(days(13));
    for (const seal of [endless, early.replace("~2", "")]) {
      const browser = new Browser();
      browser.jar.set("shop", seal);
      expect(await browser.get(served, "/me")).toEqual(ADA);
    }
  });

  it("are strangers when the seal has expired, and its cookie is cleared", async () => {
    const { ada } = await loggedIn({ ...OPTIONS, ttl: 100 });
    const { served, clock } = await native(ironSession(OPTIONS));
    // A minute more, for clocks that differ.
    await clock.advance(159_000);
    expect(await ada.copy().get(served, "/me")).toEqual(ADA);
    await clock.advance(1000);
    const late = new Browser();
    late.jar.set("shop", await sealData({ userId: "ada" }, { password: PASSWORD, ttl: 1 }));
    expect(await late.get(served, "/me")).toEqual(STRANGER);
    expect(late.jar.size).toBe(0);
  });

  it("are strangers when anything of the seal is changed", async () => {
    const { ada } = await loggedIn();
    const { served } = await native(ironSession(OPTIONS));
    const parts = decodeURIComponent(ada.jar.get("shop") ?? "").split("*");
    const changed = parts.map((part, i) =>
      parts.map((other, j) => (i === j ? `${part.startsWith("0") ? "1" : "0"}${other.slice(1)}` : other)).join("*"),
    );
    const other: string = await sealData({ userId: "ada" }, { password: PASSWORD.replace("a", "b") });
    for (const value of [...changed, other, parts.slice(1).join("*"), "Fe26.2", "*******", ""]) {
      const thief = new Browser();
      thief.jar.set("shop", encodeURIComponent(value));
      expect(await thief.get(served, "/me")).toEqual(STRANGER);
    }
  });
});

it("cannot end all sealed cookies, and says so", async () => {
  const { sessions } = await native(ironSession(OPTIONS));
  await expect(sessions.revokeEveryone()).rejects.toMatchObject({
    code: "store_unavailable",
    cause: { message: expect.stringContaining("take upgradeFrom away") },
  });
});

it.each([
  ["no name", { password: PASSWORD }],
  ["no password", { cookieName: "shop" }],
  ["an empty password", { cookieName: "shop", password: "" }],
  ["a short password among several", { cookieName: "shop", password: { 1: PASSWORD, 2: "short" } }],
])("refuses %s", (_name, options) => {
  expect(() => ironSession(options as never)).toThrow(TypeError);
});
