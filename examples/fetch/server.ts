import { createSessions } from "coatcheck";
import { withSession } from "coatcheck/fetch";
import { memoryStore } from "coatcheck/memory";

const sessions = createSessions<{ cart: string[] }>({ store: memoryStore(), initial: { cart: [] } });

const handler = withSession(sessions, async (request, session) => {
  switch (`${request.method} ${new URL(request.url).pathname}`) {
    case "GET /cart":
      return Response.json({ user: session.userId, cart: session.data.cart });
    case "POST /cart": {
      const { item } = (await request.json()) as { item: string };
      session.data.cart.push(item);
      return Response.json({ cart: session.data.cart });
    }
    case "POST /login": {
      const { user } = (await request.json()) as { user: string };
      // Check a password here.
      await session.login(user);
      return new Response(null, { status: 204 });
    }
    case "POST /logout":
      await session.logout();
      return new Response(null, { status: 204 });
    default:
      return new Response(null, { status: 404 });
  }
});

// What Bun, Deno and Workers serve.
export default { fetch: handler };
