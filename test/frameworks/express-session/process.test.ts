import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const root = resolve(import.meta.dirname, "../../..");
let folder: string;

// An application of its own, with the packages as npm installs them.
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "coatcheck-express-session-"));
  mkdirSync(join(folder, "node_modules"));
  symlinkSync(root, join(folder, "node_modules/coatcheck"));
  for (const name of ["express-session", "connect-pg-simple", "session-file-store"])
    symlinkSync(join(root, "node_modules", name), join(folder, "node_modules", name));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** Runs a script of the application; what it says, by stream. */
function run(script: string, { type = "cjs", env = {}, args = [] as string[] } = {}) {
  const file = join(folder, `app.${type}`);
  writeFileSync(file, script);
  const ran = spawnSync(process.execPath, [...args, file], {
    cwd: folder,
    env: { PATH: process.env.PATH, ...env },
    encoding: "utf8",
  });
  return { stdout: ran.stdout.trim(), stderr: ran.stderr.trim(), status: ran.status };
}

describe("the package", () => {
  it("is the function itself for require, with the classes on it", () => {
    const script = `
      const session = require("coatcheck/express-session");
      const { Store, MemoryStore, Cookie, Session } = session;
      console.log(typeof session, [Store, MemoryStore, Cookie, Session].map((of) => of.name).join());
      console.log(typeof session({ secret: "s", resave: false, saveUninitialized: false }));`;
    expect(run(script)).toEqual({
      stdout: "function Store,MemoryStore,Cookie,Session\nfunction",
      stderr: "",
      status: 0,
    });
  });

  it("has the function as default export and the classes as named ones for import", () => {
    const script = `
      import session, { Store, MemoryStore, Cookie, Session } from "coatcheck/express-session";
      import { createRequire } from "node:module";
      const same = [Store, MemoryStore, Cookie, Session].every((of) => session[of.name] === of);
      console.log(same, createRequire(import.meta.url)("coatcheck/express-session") === session);`;
    expect(run(script, { type: "mjs" })).toEqual({ stdout: "true true", stderr: "", status: 0 });
  });

  it.each(["Store", "MemoryStore"])("%s is a base class for `class` and for util.inherits", (name) => {
    const script = `
      const util = require("node:util");
      const session = require("coatcheck/express-session");
      class New extends session.${name} {}
      function Old(options) {
        session.${name}.call(this, options);
        this.options = options;
      }
      util.inherits(Old, session.${name});
      Old.prototype.get ??= (sid, callback) => callback(null, { cookie: {}, sid });
      Old.prototype.set ??= () => {};
      for (const store of [new New(), new Old({ prefix: "a" })]) {
        let heard = "";
        store.on("connect", () => (heard = "heard"));
        store.emit("connect");
        const kinds = [session.${name}, session.Store, require("node:events")].map((of) => store instanceof of);
        console.log(kinds.join(), heard, JSON.stringify(store.options), typeof store.createSession, typeof store.regenerate);
      }
      const old = new Old({});
      old.set("a", { cookie: {}, n: 1 });
      setImmediate(() => old.load("a", (error, loaded) => console.log(error, loaded instanceof session.Session)));`;
    const expected = ["true,true,true heard undefined", 'true,true,true heard {"prefix":"a"}'];
    expect(run(script)).toEqual({
      stdout: [...expected.map((line) => `${line} function function`), "null true"].join("\n"),
      stderr: "",
      status: 0,
    });
  });

  it("is what stores take that are made by a function of the session", () => {
    const script = `
      const session = require("coatcheck/express-session");
      for (const name of ["connect-pg-simple", "session-file-store"]) {
        const Made = require(name)(session);
        console.log(Made.prototype instanceof session.Store);
      }`;
    expect(run(script).stdout).toBe("true\ntrue");
  });
});

describe("what is deprecated", () => {
  const script = (name: string) => `
    const session = require("${name}");
    const options = [{}, { resave: false }, { secret: "s", saveUninitialized: true }];
    for (let i = 0; i < 2; i++) for (const one of options) session({ secret: undefined, ...one });
    new session.Cookie({ maxAge: new Date() });
    const request = { headers: {}, url: "/", cookies: {}, signedCookies: { "connect.sid": "x" }, socket: {} };
    session({ secret: "s", resave: false, saveUninitialized: false })(request, {}, () => {});
  `;
  const said = (name: string, options: Parameters<typeof run>[1] = {}) =>
    run(script(name), options)
      .stderr.split("\n")
      // The time, and the places inside of the packages.
      .map((line) => line.replace(/^.* GMT /, "").replace(/ at .*$/, ""));

  it("is said in the same words, once for each place", () => {
    const ours = said("coatcheck/express-session");
    expect(ours).toEqual(said("express-session"));
    expect(ours).toContain("express-session deprecated undefined resave option; provide resave option");
    expect(ours).toHaveLength(5);
  });

  it("is said with the place of the caller", () => {
    const { stderr } = run('require("coatcheck/express-session")({ resave: false, saveUninitialized: false });');
    expect(stderr).toMatch(
      /^\w{3}, .* GMT express-session deprecated req\.secret; provide secret option at app\.cjs:1:\d+$/,
    );
  });

  it.each([
    ["NO_DEPRECATION=express-session", { env: { NO_DEPRECATION: "other,express-session" } }],
    ["NO_DEPRECATION=*", { env: { NO_DEPRECATION: "*" } }],
    ["--no-deprecation", { args: ["--no-deprecation"] }],
  ])("is not said with %s", (_, options) => {
    expect(said("coatcheck/express-session", options)).toEqual([""]);
    expect(said("express-session", options)).toEqual([""]);
  });

  it("is said with a stack with TRACE_DEPRECATION=express-session", () => {
    const lines = said("coatcheck/express-session", { env: { TRACE_DEPRECATION: "express-session" } });
    expect(lines[0]).toBe("express-session deprecated undefined resave option; provide resave option");
    expect(lines[1]).toMatch(/^ {3}/);
  });

  it("is told to listeners of `deprecation` instead", () => {
    const listening = `process.on("deprecation", (error) => console.log(error.name, error.namespace, error.message));`;
    const told = (name: string) => run(`${listening}\n${script(name)}`);
    const ours = told("coatcheck/express-session");
    expect(ours).toEqual(told("express-session"));
    expect(ours.stderr).toBe("");
    expect(ours.stdout).toContain("DeprecationError express-session req.secret; provide secret option");
  });
});

describe("DEBUG", () => {
  const script = `
    const session = require("coatcheck/express-session");
    const request = { headers: {}, url: "/", method: "GET", socket: {} };
    session({ secret: "s", resave: false, saveUninitialized: false })(request, {}, () => console.log(request.sessionID));`;

  it.each(["express-session", "*", "other,express-*", "other express-session"])(
    "%s: says what happens, and no id",
    (DEBUG) => {
      const { stderr, stdout } = run(script, { env: { DEBUG } });
      expect(stderr).toMatch(/ express-session new session$/m);
      expect(stderr).not.toContain(stdout);
    },
  );

  it.each(["", "express", "*,-express-session"])("%s: says nothing", (DEBUG) => {
    expect(run(script, { env: { DEBUG } }).stderr).toBe("");
  });
});
