import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Handler, lab, packages } from "./support.ts";

const [, { session }] = packages;
const set: Handler = (request, response) => {
  request.session.n = (request.session.n ?? 0) + 1;
  response.end();
};

describe("warnings, each given once", () => {
  const given: Array<Error & { code?: string }> = [];
  const note = (warning: Error) => void given.push(warning);
  beforeEach(() => {
    given.length = 0;
    process.on("warning", note);
  });
  afterEach(() => {
    process.off("warning", note);
  });
  /** Warnings are given in the next turn. */
  const warnings = async () => {
    await new Promise(setImmediate);
    return given.map(({ name, code }) => ({ name, code }));
  };

  it("for a Secure cookie that is dropped behind a proxy that is not trusted, with the remedy", async () => {
    const served = await lab(session, "Express 5").serve({ cookie: { secure: true } }, set);
    for (let i = 0; i < 3; i++) await served.send("/", { headers: { "X-Forwarded-Proto": "https" } });
    expect(await warnings()).toEqual([{ name: "coatcheck", code: "COATCHECK_SECURE_COOKIE_DROPPED" }]);
    expect(given[0]?.message).toContain('app.set("trust proxy", 1)');
    expect(given[0]?.message).toContain("session({ proxy: true })");
  });

  it("not for a Secure cookie that is dropped because the site is not secure", async () => {
    const served = await lab(session, "Express 5").serve({ cookie: { secure: true } }, set);
    await served.get();
    await served.send("/", { headers: { "X-Forwarded-Proto": "http" } });
    expect(await warnings()).toEqual([]);
  });

  it("for two cookies of one name, with the remedy", async () => {
    const served = await lab(session, "Express 5").serve({}, set);
    const [one, two] = [await served.get(), await served.get()];
    for (let i = 0; i < 3; i++) await served.get("/", `${one.cookie}; ${two.cookie}`);
    expect(await warnings()).toEqual([{ name: "coatcheck", code: "COATCHECK_TWO_SESSION_COOKIES" }]);
    expect(given[0]?.message).toMatch(/`domain` or `path`/);
    for (const value of [one, two]) expect(given[0]?.message).not.toContain(String(value.setCookie?.value));
  });

  it("for a MemoryStore in production", async () => {
    const { NODE_ENV } = process.env;
    try {
      process.env.NODE_ENV = "production";
      session({ secret: "s", resave: false, saveUninitialized: false });
    } finally {
      process.env.NODE_ENV = NODE_ENV;
    }
    expect(await warnings()).toEqual([{ name: "coatcheck", code: "COATCHECK_MEMORY_STORE" }]);
  });
});
