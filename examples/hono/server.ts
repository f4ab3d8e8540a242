import { serve } from "@hono/node-server";
import { getConnInfo } from "@hono/node-server/conninfo";
import { createSessions } from "coatcheck";
import { type SessionEnv, sessionMiddleware } from "coatcheck/hono";
import { memoryStore } from "coatcheck/memory";
import { Hono } from "hono";

type Visit = { cart: string[] };
const sessions = createSessions<Visit>({ store: memoryStore(), initial: { cart: [] } });

const app = new Hono<SessionEnv<Visit>>();
app.use(sessionMiddleware(sessions, { connInfo: getConnInfo }));

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

// On Bun, Deno and Workers: export default app.
export const server = serve({ fetch: app.fetch, port: Number(process.env.PORT ?? 3000) });
