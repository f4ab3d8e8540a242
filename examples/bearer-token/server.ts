import { createSessions, headerTransport } from "coatcheck";
import { sessionMiddleware, sessionOf } from "coatcheck/express";
import { memoryStore } from "coatcheck/memory";
import express from "express";

// Clients that are no browsers: they get the token in a header of the answer, and send it in Authorization.
const sessions = createSessions<{ cart: string[] }>({
  store: memoryStore(),
  initial: { cart: [] },
  transport: headerTransport(),
});

const app = express();
app.use(sessionMiddleware(sessions), express.json());

app.get("/cart", (req, res) => {
  const { userId, data } = sessionOf(sessions, req);
  res.json({ user: userId, cart: data.cart });
});
app.post("/cart", (req, res) => {
  const { data } = sessionOf(sessions, req);
  data.cart.push(String(req.body.item));
  res.json({ cart: data.cart });
});
app.post("/login", async (req, res) => {
  // Check a password here.
  await sessionOf(sessions, req).login(String(req.body.user));
  res.sendStatus(204);
});
app.post("/logout", async (req, res) => {
  await sessionOf(sessions, req).logout();
  res.sendStatus(204);
});

export const server = app.listen(Number(process.env.PORT ?? 3000));
