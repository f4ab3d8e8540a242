import { createSessions, headerTransport, jsonCodec, SessionDataError, type StandardSchema } from "coatcheck";
import { memoryStore } from "coatcheck/memory";
import { TestClock } from "coatcheck/testing";
import * as v from "valibot";
import { describe, expect, it } from "vitest";
import { DataSchema } from "../../src/session/schema.ts";
import { Client, idOf, outcomes, type Settings, setUp } from "./support.ts";

const Cart = v.object({
  cart: v.optional(v.array(v.string())),
  theme: v.optional(v.picklist(["light", "dark"])),
  n: v.optional(v.number()),
  secret: v.optional(v.string()),
  anything: v.optional(v.unknown()),
});

/** A session of version 0, and the same store under other settings. */
async function stored(values: Record<string, unknown>, settings: Settings) {
  const before = setUp();
  const browser = before.client();
  await browser.request((session) => void Object.assign(session.data, values));
  const after = setUp({ ...settings, store: before.store });
  const id = idOf(browser.token);
  return { ...after, browser: after.client(browser.token), texts: async () => (await after.stored(id))?.data, id };
}

describe("a schema", () => {
  it("passes data that fits, and costs no write", async () => {
    const { browser, store } = await stored({ cart: ["a"], theme: "dark" }, { schema: Cart });
    await browser.request((session) => expect({ ...session.data }).toEqual({ cart: ["a"], theme: "dark" }));
    expect(store.calls("update")).toBe(0);
  });

  it("refuses data that does not fit, without its values, and leaves it as it is", async () => {
    const { browser, texts } = await stored({ cart: ["a"], theme: "s3cret-purple" }, { schema: Cart });
    const request = browser.request(() => {});
    await expect(request).rejects.toBeInstanceOf(SessionDataError);
    await expect(request).rejects.toMatchObject({ issues: ['"theme" does not fit the schema'], status: 500 });
    await expect(request).rejects.not.toThrow(/s3cret/);
    expect(Object.fromEntries((await texts()) ?? [])).toEqual({ cart: '["a"]', theme: '"s3cret-purple"' });
    expect(browser.changes).toBe(0);
  });

  it("may transform; what it made is stored with the next change", async () => {
    const schema = v.object({ theme: v.optional(v.pipe(v.string(), v.toLowerCase())), n: v.optional(v.number()) });
    const { browser, texts } = await stored({ theme: "DARK", gone: 1 }, { schema: schema as never });
    await browser.request((session) => expect({ ...session.data }).toEqual({ theme: "dark" }));
    expect((await texts())?.get("theme")).toBe('"DARK"');
    await browser.request((session) => {
      session.data.n = 1;
    });
    expect(Object.fromEntries((await texts()) ?? [])).toEqual({ theme: '"dark"', n: "1" });
  });

  it("may be asynchronous", async () => {
    const schema: StandardSchema<{ n?: number }> = {
      "~standard": {
        version: 1,
        vendor: "test",
        validate: async (value) => {
          await Promise.resolve();
          return (value as { n?: number }).n === 1 ? { value: { n: 2 } } : { issues: [{ message: "no" }] };
        },
      },
    };
    const good = await stored({ n: 1 }, { schema });
    await good.browser.request((session) => expect(session.data.n).toBe(2));
    const bad = await stored({ n: 3 }, { schema });
    await expect(bad.browser.request(() => {})).rejects.toThrow(/the data does not fit the schema/);
  });

  it("sees initial values, and that is what an anonymous visitor's data is made of", async () => {
    const sessions = createSessions<{ cart: string[] }>({
      store: memoryStore(),
      clock: new TestClock(),
      transport: headerTransport(),
      initial: { cart: [] },
      schema: v.object({ cart: v.array(v.string()) }),
    });
    const browser = new Client(sessions as never);
    await browser.request((session) => void session.data.cart?.push("a"));
    await browser.request((session) => expect(session.data.cart).toEqual(["a"]));
  });

  it("names what is wrong where the issue has a path of objects, or none", async () => {
    const issues = (path?: ReadonlyArray<PropertyKey | { key: PropertyKey }>) =>
      new DataSchema({
        schema: {
          "~standard": {
            version: 1,
            vendor: "t",
            validate: () => ({ issues: [{ message: "m", ...(path && { path }) }] }),
          },
        },
      }).load({}, 0);
    await expect(issues(["cart", { key: 0 }, Symbol("s")])).rejects.toThrow(/"cart\.0\.Symbol\(s\)" does not fit/);
    await expect(issues()).rejects.toThrow(/the data does not fit/);
  });

  it("a text that cannot be read is data that is not valid", async () => {
    const { browser } = await stored(
      { n: 1 },
      {
        schema: Cart,
        codec: {
          ...jsonCodec,
          parse: () => {
            throw new SyntaxError("s3cret");
          },
        },
      },
    );
    const request = browser.request(() => {});
    await expect(request).rejects.toBeInstanceOf(SessionDataError);
    await expect(request).rejects.not.toThrow(/s3cret/);
  });
});

describe("migrations", () => {
  const settings: Settings = {
    version: 2,
    migrations: {
      0: ({ colour, ...rest }) => ({ ...rest, theme: colour }),
      1: async (data) => ({ ...data, n: ((data.n as number | undefined) ?? 0) + 100 }),
    },
  };

  it("run one after the other, and nothing is written for it alone", async () => {
    const { browser, store, texts } = await stored({ colour: "dark", n: 1 }, settings);
    await browser.request((session) => expect({ ...session.data }).toEqual({ theme: "dark", n: 101 }));
    expect(store.calls("update")).toBe(0);
    expect(Object.fromEntries((await texts()) ?? [])).toEqual({ colour: '"dark"', n: "1" });
  });

  it("are stored with the next change, and run no more", async () => {
    const { browser, texts, stored: record, id } = await stored({ colour: "dark", n: 1 }, settings);
    for (let i = 0; i < 3; i++) await browser.request((session) => void session.update("n", (n) => (n ?? 0) + 1));
    expect(Object.fromEntries((await texts()) ?? [])).toEqual({ theme: '"dark"', n: "104" });
    expect((await record(id))?.meta.dataVersion).toBe(2);
  });

  it("a new session has the present version", async () => {
    const { client, stored: record } = setUp(settings);
    const browser = client();
    await browser.request((session) => {
      session.data.n = 1;
    });
    expect((await record(idOf(browser.token)))?.meta.dataVersion).toBe(2);
    await browser.request((session) => expect(session.data.n).toBe(1));
  });

  it("two requests that migrate at once are no conflict", async () => {
    const { browser, client, texts } = await stored({ colour: "dark", n: 1 }, settings);
    const one = await browser.open();
    const other = await client(browser.token).open();
    one.session.data.cart = ["a"];
    other.session.data.secret = "b";
    void other.session.data.theme;
    await one.finish();
    await other.finish();
    expect(Object.fromEntries((await texts()) ?? [])).toEqual({
      theme: '"dark"',
      n: "101",
      cart: '["a"]',
      secret: '"b"',
    });
  });

  it("both sides of a conflict are shown in the present shape", async () => {
    const { browser, client, texts } = await stored({ colour: "dark", n: 1 }, settings);
    const one = await browser.open();
    const other = await client(browser.token).open();
    one.session.update("n", (n) => (n ?? 0) + 1);
    other.session.update("n", (n) => (n ?? 0) + 10);
    await one.finish();
    await other.finish();
    expect((await texts())?.get("n")).toBe("112");
  });

  it.each(["login", "renew", "flash"] as const)(
    "%s shows the migrated data still, and stores it rightly",
    async (how) => {
      const { browser, texts } = await stored({ colour: "dark", n: 1 }, settings);
      await browser.request(async (session) => {
        if (how === "login") await session.login("alice");
        else if (how === "renew") await session.renew();
        else {
          session.flash("info", "x");
          await session.commit();
        }
        expect({ ...session.data }).toEqual({ theme: "dark", n: 101 });
        session.data.cart = ["a"];
      });
      expect(Object.fromEntries((await texts()) ?? [])).toEqual({ theme: '"dark"', n: "101", cart: '["a"]' });
      await browser.request((session) => expect(session.data.n).toBe(101));
    },
  );

  it("a version later than this program knows is refused, and left as it is", async () => {
    const later = setUp(settings);
    const browser = later.client();
    await browser.request((session) => {
      session.data.n = 1;
    });
    const earlier = setUp({ store: later.store, version: 1, migrations: { 0: (data) => data } });
    const request = earlier.client(browser.token).request((session) => {
      session.data.n = 2;
    });
    await expect(request).rejects.toThrow(/version 2, later than 1/);
    expect((await later.stored(idOf(browser.token)))?.data.get("n")).toBe("1");
  });

  it("one that fails is named, with its cause, and the data is left as it is", async () => {
    const cause = new Error("no such colour");
    const { browser, texts, client } = await stored(
      { colour: "dark" },
      {
        version: 1,
        migrations: {
          0: () => {
            throw cause;
          },
        },
      },
    );
    const request = browser.request(() => {});
    await expect(request).rejects.toMatchObject({
      code: "session_data_invalid",
      issues: ["migrations[0] failed"],
      cause,
    });
    expect(Object.fromEntries((await texts()) ?? [])).toEqual({ colour: '"dark"' });
    // The request had its turn, and gave it back.
    const { errors } = await outcomes([1, 2].map(() => client(browser.token).request(() => {}, { method: "POST" })));
    expect(errors).toHaveLength(2);
  });

  it("then the schema is asked", async () => {
    const { browser } = await stored({ colour: "purple" }, { ...settings, schema: Cart });
    await expect(browser.request(() => {})).rejects.toThrow(/"theme" does not fit/);
  });

  it("every version below the present one needs one, and a version is a whole number", () => {
    expect(() => new DataSchema({ version: 2, migrations: { 0: (data) => data } })).toThrow(
      /migrations\[1\] is missing/,
    );
    for (const version of [-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY])
      expect(() => new DataSchema({ version })).toThrow(TypeError);
  });
});
