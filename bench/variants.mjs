// The same small shop four times: without sessions, with coatcheck, and with express-session.
import { mkdtempSync, rmSync } from "node:fs";
import { get } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import express from "express";

/** What the session of every visitor holds. */
const visit = () => ({
  cart: [
    { productId: "lamp", quantity: 1 },
    { productId: "chair", quantity: 2 },
  ],
  theme: "dark",
  language: "en",
  trail: ["/", "/products", "/products/lamp", "/products/chair"],
});

/**
 * `app`: the Express application, listening somewhere when `seed` is called. `seed(count, port)`: makes that many
 * sessions and answers the `Cookie` header of each. `close`: gives back what was opened.
 */
export const variants = {
  bare() {
    const everybody = visit();
    return {
      app: shop((app) => app, { read: () => everybody, change: () => everybody }),
      // Also without sessions a browser sends a cookie as long as the others.
      seed: async (count) => Array.from({ length: count }, (_, i) => `__Host-Http-sid=${String(i).padStart(66, "x")}`),
      close: async () => {},
    };
  },

  async memory() {
    const { memoryStore } = await import("coatcheck/memory");
    return coatcheck(memoryStore(), async () => {});
  },

  async sqlite() {
    const { sqliteStore } = await import("coatcheck/sqlite");
    const folder = mkdtempSync(join(tmpdir(), "coatcheck-bench-"));
    return coatcheck(await sqliteStore(join(folder, "sessions.db")), async () =>
      rmSync(folder, { recursive: true, force: true }),
    );
  },

  async "express-session"() {
    const { default: session } = await import("express-session");
    const sessions = session({ secret: "a secret of the benchmark", resave: false, saveUninitialized: false });
    const app = shop((app) => app.use(sessions), {
      read: (request) => request.session,
      change: (request) => request.session,
    });
    app.get("/seed", (request, response) => {
      Object.assign(request.session, visit());
      response.json({});
    });
    return {
      app,
      async seed(count, port) {
        const cookies = [];
        for (let i = 0; i < count; i++) cookies.push(await cookieFrom(`http://127.0.0.1:${port}/seed`));
        return cookies;
      },
      close: async () => {},
    };
  },
};

async function coatcheck(store, afterwards) {
  const { createSessions } = await import("coatcheck");
  const { sessionMiddleware } = await import("coatcheck/express");
  const sessions = createSessions({ store });
  return {
    app: shop((app) => app.use(sessionMiddleware(sessions)), {
      read: (request) => request.session.data,
      change: (request) => request.session.data,
    }),
    async seed(count) {
      const cookies = [];
      // In production a session only begins over TLS, so the requests that make them say so.
      const request = { method: "GET", header: () => undefined, secure: true, host: "shop.example", ip: "192.0.2.1" };
      for (let i = 0; i < count; i++) {
        const exchange = await sessions.open(request);
        Object.assign(exchange.session.data, visit());
        await exchange.commit();
        cookies.push(exchange.responseChanges().cookies[0].line.split(";")[0]);
      }
      return cookies;
    },
    async close() {
      await sessions.close();
      await afterwards();
    },
  };
}

function shop(mount, { read, change }) {
  const app = express();
  mount(app);
  app.get("/cart", (request, response) => {
    const { cart = [] } = read(request);
    response.json({ lines: cart.length, items: cart.reduce((sum, line) => sum + line.quantity, 0) });
  });
  app.post("/cart/add", (request, response) => {
    const [line] = change(request).cart;
    line.quantity += 1;
    response.json({ productId: line.productId, quantity: line.quantity });
  });
  return app;
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
