import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";

const root = resolve(import.meta.dirname, "../../..");
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "coatcheck-types-"));
  mkdirSync(join(folder, "node_modules"));
  symlinkSync(root, join(folder, "node_modules/coatcheck"));
  for (const name of ["@types", "express"])
    symlinkSync(join(root, "node_modules", name), join(folder, "node_modules", name));
  writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
});
afterAll(() => rmSync(folder, { recursive: true }));

/** What the compiler has against one file of an application. */
function complaints(name: string, text: string): string {
  writeFileSync(join(folder, name), text);
  const options = [
    "--strict",
    "--noEmit",
    "--module",
    "nodenext",
    "--target",
    "es2023",
    "--lib",
    "es2023,es2025.float16",
  ];
  const tsc = join(root, "node_modules/.bin/tsc");
  const ran = spawnSync(tsc, [...options, "--types", "node", "--esModuleInterop", name], {
    cwd: folder,
    encoding: "utf8",
  });
  return ran.stdout.trim();
}

it("an Express application has typed sessions, with data of its own", () => {
  const application = `
    import express, { type Request } from "express";
    import session, { MemoryStore, type SessionData, type SessionOptions, Store } from "coatcheck/express-session";
    declare module "coatcheck/express-session" {
      interface SessionData {
        views: number;
        user: { name: string };
      }
    }
    const options: SessionOptions = {
      secret: ["new", Buffer.from("old")],
      genid: (request) => request.url ?? "",
      cookie: { maxAge: 1000, sameSite: "lax", secure: "auto", priority: "high", partitioned: true },
      resave: false,
      saveUninitialized: false,
      unset: "destroy",
      concurrency: "turns",
      store: new session.MemoryStore(),
    };
    const same: session.SessionOptions = { cookie: (request) => ({ secure: request.secure === true }) };
    const annotated: SessionOptions = { genid: (request: Request) => request.path, cookie: (request: Request) => ({ path: request.baseUrl }) };
    const app = express();
    app.use(session(options), session(same), session(annotated), session());
    app.get("/", async (request, response) => {
      request.session.views = (request.session.views ?? 0) + 1;
      const name: string | undefined = request.session.user?.name;
      const id: string = request.session.id + request.sessionID;
      request.session.cookie.maxAge = 5000;
      request.session.cookie.expires = false;
      request.session.save((error: Error | null) => response.json([name, id, error])).touch();
      await request.session.save();
      await request.session.regenerate();
      request.session.reload(() => {}).destroy((error: unknown) => error);
      request.sessionStore.generate(request);
      // @ts-expect-error: no such data
      request.session.nothing;
      // @ts-expect-error: views is a number
      request.session.views = "1";
    });
    // @ts-expect-error: no such value
    session({ unset: "forget" });
    // @ts-expect-error: no such option
    session({ sercet: "s" });
    class Mine extends Store {
      readonly data = new Map<string, SessionData>();
      get(sid: string, callback: (error: Error | null, session?: SessionData | null) => void) {
        callback(null, this.data.get(sid));
      }
      set(sid: string, data: SessionData, callback?: (error?: Error) => void) {
        this.data.set(sid, data);
        callback?.();
      }
      async destroy(sid: string, callback?: (error?: Error) => void) {
        this.data.delete(sid);
        callback?.();
      }
    }
    // @ts-expect-error: no get, set, destroy
    class Half extends session.Store {}
    const store: session.Store = new Mine();
    session({ store });
    new MemoryStore().all((error, sessions) => void sessions[""]?.views);
    // As @types/express-session has it, for stores that were made for that.
    interface OtherData { cookie: { originalMaxAge: number | null } }
    declare const other: {
      get(sid: string, callback: (error: any, session?: OtherData | null) => void): void;
      set(sid: string, session: OtherData, callback?: (error?: any) => void): void;
      destroy(sid: string, callback?: (error?: any) => void): void;
      touch?(sid: string, session: OtherData, callback?: () => void): void;
      on(event: string, listener: (...args: any[]) => void): unknown;
    };
    session({ store: other });
    export { Half };
  `;
  expect(complaints("application.ts", application)).toBe("");
});

it("an application with node:http alone needs no types of Express", () => {
  const application = `
    import { createServer } from "node:http";
    import session, { type SessionRequest } from "coatcheck/express-session";
    const sessions = session({ secret: "s" });
    createServer((request, response) => {
      sessions(request, response, () => {
        const { session: own } = request as SessionRequest;
        response.end(own.id + own.cookie.path);
      });
    });
  `;
  expect(complaints("node.ts", application)).toBe("");
});

it("a CommonJS application has the function by require", () => {
  const application = `
    import session = require("coatcheck/express-session");
    class Mine extends session.MemoryStore {}
    const cookie: session.Cookie = new session.Cookie({ maxAge: 1 });
    session({ secret: "s", store: new Mine(), cookie });
  `;
  expect(complaints("common.cts", application)).toBe("");
});

it("an application may use coatcheck/express beside it", () => {
  const application = `
    import express from "express";
    import session from "coatcheck/express-session";
    import { createSessions } from "coatcheck";
    import { sessionMiddleware } from "coatcheck/express";
    import { memoryStore } from "coatcheck/memory";
    declare module "coatcheck/express-session" { interface SessionData { views: number } }
    declare module "coatcheck" { interface SessionDataShape { cart: string[] } }
    const app = express();
    app.use("/old", session({ secret: "s" }), async (request, response) => {
      request.session.views = 1;
      await request.session.regenerate();
      response.end(request.session.cookie.path);
    });
    app.use("/new", sessionMiddleware(createSessions({ store: memoryStore(), initial: { cart: [] } })), async (request, response) => {
      request.session.data.cart.push("lamp");
      await request.session.login("bob");
      await request.session.destroy();
      response.end(request.session.id);
    });
  `;
  expect(complaints("both.ts", application)).toBe("");
});
