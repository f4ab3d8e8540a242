import type { Sessions } from "coatcheck";
import { type HonoOptions, type SessionEnv, sessionMiddleware } from "coatcheck/hono";
import { Hono } from "hono";

export type Visit = { cart: string[] };

/** The same on every platform; each has its way to tell the client's address. */
export function createApp(sessions: Sessions<Visit>, connInfo: HonoOptions["connInfo"]): Hono<SessionEnv<Visit>> {
  const app = new Hono<SessionEnv<Visit>>();
  app.use(sessionMiddleware(sessions, { connInfo }));

  app.get("/cart", (c) => {
    const { userId, data } = c.var.session;
    return c.json({ user: userId, cart: data.cart });
  });
  app.post("/cart", async (c) => {
    const { item } = await c.req.json<{ item: string }>();
    c.var.session.data.cart.push(item);
    return c.json({ cart: c.var.session.data.cart });
  });
  app.post("/login", async (c) => {
    const { user } = await c.req.json<{ user: string }>();
    // Check a password here.
    await c.var.session.login(user);
    return c.body(null, 204);
  });
  app.post("/logout", async (c) => {
    await c.var.session.logout();
    return c.body(null, 204);
  });
  return app;
}
