import { createSessions } from "coatcheck";
import { sessionOf, sessionPlugin } from "coatcheck/fastify";
import { memoryStore } from "coatcheck/memory";
import Fastify from "fastify";

const sessions = createSessions<{ cart: string[] }>({ store: memoryStore(), initial: { cart: [] } });

const app = Fastify();
app.register(sessionPlugin, { sessions });

// Asking for the cart every few seconds keeps nobody logged in.
app.get("/cart", { config: { coatcheck: { passive: true } } }, async (request) => {
  const { userId, data } = sessionOf(sessions, request);
  return { user: userId, cart: data.cart };
});
app.post<{ Body: { item: string } }>("/cart", async (request) => {
  const { data } = sessionOf(sessions, request);
  data.cart.push(request.body.item);
  return { cart: data.cart };
});
app.post<{ Body: { user: string } }>("/login", async (request, reply) => {
  // Check a password here.
  await sessionOf(sessions, request).login(request.body.user);
  return reply.code(204).send();
});
app.post("/logout", async (request, reply) => {
  await sessionOf(sessions, request).logout();
  return reply.code(204).send();
});

await app.listen({ port: Number(process.env.PORT ?? 3000) });
export const server = app.server;
