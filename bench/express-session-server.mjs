// One package on one store in a process of its own. The parent asks for its CPU time, and ends it.
import { createServer, get } from "node:http";
import express from "express";

const [, , name, storeName, sessions] = process.argv;
// Never outlives the parent.
process.once("disconnect", () => process.exit());

const { default: session } = await import(name === "ours" ? "coatcheck/express-session" : "express-session");
const { store, close } = await stores()[storeName]();

const app = express();
app.use(
  session({ secret: "a secret of the benchmark, of more than 32", resave: false, saveUninitialized: false, store }),
);
app.get("/seed", (request, response) => {
  Object.assign(request.session, visit());
  response.json({});
});
app.get("/about", (_request, response) => {
  response.json({ about: "a shop" });
});
app.get("/cart", (request, response) => {
  const { cart = [] } = request.session;
  response.json({ lines: cart.length, items: cart.reduce((sum, line) => sum + line.quantity, 0) });
});
app.post("/cart/add", (request, response) => {
  const [line] = request.session.cart;
  line.quantity += 1;
  response.json({ productId: line.productId, quantity: line.quantity });
});

const server = createServer(app);
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const { port } = server.address();
const cookies = [];
for (let i = 0; i < Number(sessions); i++) cookies.push(await cookieFrom(`http://127.0.0.1:${port}/seed`));

process.on("message", async (message) => {
  if (message === "cpu") return process.send(process.cpuUsage());
  server.close();
  server.closeAllConnections();
  await close();
  process.disconnect();
});
process.send({ port, cookies });

/** What the session of every visitor holds. */
function visit() {
  return {
    cart: [
      { productId: "lamp", quantity: 1 },
      { productId: "chair", quantity: 2 },
    ],
    theme: "dark",
    language: "en",
    trail: ["/", "/products", "/products/lamp", "/products/chair"],
  };
}

function stores() {
  return {
    memory: () => ({ store: new session.MemoryStore(), close: async () => {} }),
    // What most stores come to, without their database.
    json: () => {
      class JsonStore extends session.Store {
        texts = new Map();
        get(sid, callback) {
          const text = this.texts.get(sid);
          setImmediate(() => callback(null, text && JSON.parse(text)));
        }
        set(sid, data, callback) {
          this.texts.set(sid, JSON.stringify(data));
          setImmediate(callback, null);
        }
        touch(_sid, _data, callback) {
          setImmediate(callback, null);
        }
        destroy(sid, callback) {
          this.texts.delete(sid);
          setImmediate(callback, null);
        }
      }
      return { store: new JsonStore(), close: async () => {} };
    },
    redis: async () => {
      const [{ createClient }, { RedisStore }] = await Promise.all([import("redis"), import("connect-redis")]);
      const client = await createClient({ url: process.env.REDIS_URL ?? "redis://127.0.0.1:6379" }).connect();
      const store = new RedisStore({ client, prefix: `coatcheck-bench-${process.pid}:` });
      return {
        store,
        async close() {
          await store.clear();
          client.destroy();
        },
      };
    },
  };
}

function cookieFrom(url) {
  return new Promise((resolve, reject) => {
    get(url, (response) => {
      response.resume();
      const line = response.headers["set-cookie"]?.[0];
      if (line === undefined) reject(new Error(`${url} answered without a cookie`));
      else resolve(line.split(";")[0]);
    }).on("error", reject);
  });
}
