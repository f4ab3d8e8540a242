import { createRequire } from "node:module";
import express from "express";
import { describe, expect, it } from "vitest";
import { type Handler, kinds, onBoth, SECRET, type SessionPackage, serve, type Untyped } from "./support.ts";

const require = createRequire(import.meta.url);
const cookieParser: Untyped = require("cookie-parser");
const csurf: Untyped = require("csurf");
const flash: Untyped = require("connect-flash");
const passport: Untyped = require("passport");
const { Strategy }: Untyped = require("passport-local");
const supertest: Untyped = require("supertest");
const { doubleCsrf }: Untyped = require("csrf-csrf");

const forms = express.urlencoded({ extended: false }) as Handler;
const quiet = (of: SessionPackage, more = {}) =>
  of({ secret: SECRET, resave: false, saveUninitialized: false, ...more }) as Handler;
const form = (fields: Record<string, string>, cookie?: string, headers = {}) => ({
  method: "POST",
  cookie,
  headers: { "Content-Type": "application/x-www-form-urlencoded", ...headers },
  body: new URLSearchParams(fields).toString(),
});

onBoth("companions", ({ session }) => {
  describe.each(kinds.filter((kind) => kind !== "node:http"))("on %s", (kind) => {
    it("express.urlencoded: what a form sends is kept", async () => {
      const served = await serve(kind, quiet(session), {
        between: [forms],
        handler: (request, response) => {
          if (request.method === "POST") request.session.name = request.body.name;
          response.end(String(request.session.name));
        },
      });
      const { cookie } = await served.send("/", form({ name: "Ada & Bob" }));
      expect((await served.get("/", cookie)).body).toBe("Ada & Bob");
    });

    it("connect-flash: a message is shown once, after a redirect", async () => {
      const served = await serve(kind, quiet(session), {
        between: [flash()],
        handler: (request, response) => {
          if (request.url === "/set") {
            request.flash("info", "saved");
            return response.redirect("/");
          }
          response.json(request.flash("info"));
        },
      });
      const { cookie, status } = await served.get("/set");
      expect(status).toBe(302);
      expect((await served.get("/", cookie)).body).toBe('["saved"]');
      expect((await served.get("/", cookie)).body).toBe("[]");
    });

    it("passport and passport-local: login, a new id, logout", async () => {
      const auth = new passport.Passport();
      auth.use(
        new Strategy((name: string, password: string, done: Untyped) =>
          done(null, password === "right" ? { name } : false),
        ),
      );
      auth.serializeUser((user: Untyped, done: Untyped) => done(null, user.name));
      auth.deserializeUser((name: string, done: Untyped) => done(null, { name }));
      const served = await serve(kind, quiet(session), {
        between: [forms, auth.initialize(), auth.session()],
        handler: (request, response, next) => {
          const user = () => response.end(String(request.user?.name));
          if (request.url === "/logout") return request.logout((error: unknown) => (error ? next(error) : user()));
          if (request.url !== "/login") return user();
          auth.authenticate("local", { failureMessage: true })(request, response, (error: unknown) =>
            error ? next(error) : user(),
          );
        },
      });
      const wrong = await served.send("/login", form({ username: "ada", password: "wrong" }));
      expect(wrong.status).toBe(401);
      const right = await served.send("/login", form({ username: "ada", password: "right" }, wrong.cookie));
      expect(right.body).toBe("ada");
      expect(right.cookie).not.toBe(wrong.cookie);
      expect((await served.get("/", right.cookie)).body).toBe("ada");
      expect((await served.get("/", wrong.cookie)).body).toBe("undefined");
      const out = await served.get("/logout", right.cookie);
      expect((await served.get("/", right.cookie)).body).toBe("undefined");
      expect((await served.get("/", out.cookie)).body).toBe("undefined");
    });

    it("csurf: a form needs the token of the session", async () => {
      const served = await serve(kind, quiet(session), {
        between: [forms, csurf()],
        handler: (request, response) => response.end(request.csrfToken()),
      });
      const page = await served.get();
      expect((await served.send("/", form({ _csrf: page.body }, page.cookie))).status).toBe(200);
      expect((await served.send("/", form({ _csrf: "other" }, page.cookie))).status).toBe(500);
      expect((await served.send("/", form({ _csrf: page.body }))).status).toBe(500);
    });

    it("csrf-csrf: a form needs the token of the session", async () => {
      const { generateCsrfToken, doubleCsrfProtection } = doubleCsrf({
        getSecret: () => SECRET,
        getSessionIdentifier: (request: Untyped) => request.session.id,
        cookieName: "csrf",
        cookieOptions: { secure: false },
        getCsrfTokenFromRequest: (request: Untyped) => request.body._csrf,
      });
      const served = await serve(kind, quiet(session, { saveUninitialized: true }), {
        between: [cookieParser(), forms, doubleCsrfProtection],
        handler: (request, response) =>
          response.end(request.method === "GET" ? generateCsrfToken(request, response) : "ok"),
      });
      const page = await served.get();
      const cookies = page.setCookies.map(({ name, value }) => `${name}=${value}`);
      expect(page.setCookies.map(({ name }) => name).toSorted()).toEqual(["connect.sid", "csrf"]);
      expect((await served.send("/", form({ _csrf: page.body }, cookies.join("; ")))).body).toBe("ok");
      expect((await served.send("/", form({ _csrf: "other" }, cookies.join("; ")))).status).toBe(500);
      const stranger = await served.get();
      const mixed = [cookies.find((cookie) => cookie.startsWith("csrf=")), stranger.cookie].join("; ");
      expect((await served.send("/", form({ _csrf: page.body }, mixed))).status).toBe(500);
    });

    it("cookie-parser with another secret: each reads its own", async () => {
      const served = await serve(kind, quiet(session), {
        before: cookieParser("another secret"),
        handler: (request, response) => {
          request.session.n = (request.session.n ?? 0) + 1;
          response.end(String(request.session.n));
        },
      });
      const { cookie } = await served.get();
      expect((await served.get("/", cookie)).body).toBe("2");
    });

    it("supertest: an agent stays in its session", async () => {
      const served = await serve(kind, quiet(session), {
        handler: (request, response) => {
          request.session.n = (request.session.n ?? 0) + 1;
          response.end(String(request.session.n));
        },
      });
      const agent = supertest.agent(served.url);
      await agent
        .get("/")
        .expect(200, "1")
        .expect("Set-Cookie", /^connect\.sid=/);
      await agent.get("/").expect(200, "2");
      await supertest(served.url).get("/").expect(200, "1");
    });
  });
});
