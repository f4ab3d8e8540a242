import { createRequire } from "node:module";
import { createSessions } from "coatcheck";
import { sessionMiddleware } from "coatcheck/express";
import { memoryStore } from "coatcheck/memory";
import express from "express";
import { expect, it } from "vitest";
import { type Handler, serve, type Untyped } from "../frameworks/express-session/support.ts";
import { Browser } from "./support.ts";

const cookieSession: Untyped = createRequire(import.meta.url)("cookie-session");
const keys = ["a key of the old application"];

it("visitors of cookie-session can be moved over by hand, as docs/moving-over.md shows it", async () => {
  const old = await serve("Express 5", cookieSession({ name: "session", keys }), {
    handler: (request, response) => {
      Object.assign(request.session, { userId: 7, cart: ["lamp"] });
      response.json({});
    },
  });
  const ada = new Browser();
  await ada.send(old, "/login");
  expect([...ada.jar.keys()]).toEqual(["session", "session.sig"]);

  const app = express.Router();
  app.use(cookieSession({ name: "session", keys }), (req: Untyped, _res: Untyped, next: Untyped) => {
    req.old = req.session;
    Object.defineProperty(req, "session", { value: undefined, writable: true, configurable: true });
    next();
  });
  const sessions = createSessions({ store: memoryStore() });
  app.use(sessionMiddleware(sessions), async (req: Untyped, res: Untyped, next: Untyped) => {
    if (req.old && !req.old.isNew && req.session.isNew) {
      Object.assign(req.session.data, req.old);
      if (req.old.userId) await req.session.login(String(req.old.userId));
      res.append("Set-Cookie", ["session=; Max-Age=0; Path=/; HttpOnly", "session.sig=; Max-Age=0; Path=/; HttpOnly"]);
    }
    next();
  });
  const served = await serve("Express 5", app as Handler, {
    handler: (request, response) => response.json({ user: request.session.userId, data: { ...request.session.data } }),
  });
  const forged = new Browser();
  forged.jar.set("session", ada.jar.get("session") ?? "");
  forged.jar.set("session.sig", "A".repeat(27));
  expect(await forged.get(served, "/me")).toEqual({ data: {} });

  const seen = { user: "7", data: { userId: 7, cart: ["lamp"] } };
  expect(await ada.get(served, "/me")).toEqual(seen);
  expect([...ada.jar.keys()]).toEqual(["sid"]);
  expect(await ada.get(served, "/me")).toEqual(seen);
});
