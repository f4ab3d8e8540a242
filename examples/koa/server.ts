import { json } from "node:stream/consumers";
import { createSessions } from "coatcheck";
import { sessionMiddleware } from "coatcheck/koa";
import { memoryStore } from "coatcheck/memory";
import Koa from "koa";

const sessions = createSessions<{ cart: string[] }>({ store: memoryStore(), initial: { cart: [] } });

const app = new Koa().use(sessionMiddleware(sessions)).use(async (ctx) => {
  const { session } = ctx;
  switch (`${ctx.method} ${ctx.path}`) {
    case "GET /cart":
      ctx.body = { user: session.userId, cart: session.data.cart };
      return;
    case "POST /cart": {
      const { item } = (await json(ctx.req)) as { item: string };
      session.data.cart.push(item);
      ctx.body = { cart: session.data.cart };
      return;
    }
    case "POST /login": {
      const { user } = (await json(ctx.req)) as { user: string };
      // Check a password here.
      await session.login(user);
      ctx.status = 204;
      return;
    }
    case "POST /logout":
      await session.logout();
      ctx.status = 204;
  }
});

export const server = app.listen(Number(process.env.PORT ?? 3000));
