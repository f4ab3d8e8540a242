import { createServer } from "node:http";
import { json } from "node:stream/consumers";
import { createSessions } from "coatcheck";
import { memoryStore } from "coatcheck/memory";
import { withSession } from "coatcheck/node";

const sessions = createSessions<{ cart: string[] }>({ store: memoryStore(), initial: { cart: [] } });

const listener = withSession(sessions, async (request, response, session) => {
  switch (`${request.method} ${request.url}`) {
    case "GET /cart":
      return response.end(JSON.stringify({ user: session.userId, cart: session.data.cart }));
    case "POST /cart": {
      const { item } = (await json(request)) as { item: string };
      session.data.cart.push(item);
      return response.end(JSON.stringify({ cart: session.data.cart }));
    }
    case "POST /login": {
      const { user } = (await json(request)) as { user: string };
      // Check a password here.
      await session.login(user);
      return response.writeHead(204).end();
    }
    case "POST /logout":
      await session.logout();
      return response.writeHead(204).end();
    default:
      return response.writeHead(404).end();
  }
});

export const server = createServer(listener).listen(Number(process.env.PORT ?? 3000));
