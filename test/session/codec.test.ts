import { type Codec, jsonCodec } from "coatcheck";
import { parse, stringify } from "devalue";
import { describe, expect, it } from "vitest";
import { idOf, setUp } from "./support.ts";

describe("JSON, the default codec", () => {
  it("SC-03: is data only, and safe against __proto__", () => {
    const value = jsonCodec.parse('{"__proto__":{"admin":true},"a":1}') as Record<string, unknown>;
    expect(value.admin).toBeUndefined();
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
    expect(jsonCodec.stringify(value)).toBe('{"__proto__":{"admin":true},"a":1}');
  });

  it("has no text for what JSON does not know", () => {
    expect(jsonCodec.stringify(undefined)).toBeUndefined();
    expect(jsonCodec.stringify(() => 1)).toBeUndefined();
    expect(() => jsonCodec.stringify(1n)).toThrow(TypeError);
  });
});

describe("another codec: devalue", () => {
  const codec: Codec = { stringify, parse };
  const values = {
    date: new Date("2030-01-01T00:00:00Z"),
    map: new Map([["a", new Set([1, 2])]]),
    big: 12345678901234567890n,
    pattern: /x+/gi,
    hole: [1, undefined, Number.NaN, -0],
  };

  it("keeps Date, Map, Set, BigInt and what else it knows", async () => {
    const { client } = setUp({ codec });
    const browser = client();
    await browser.request((session) => {
      session.data.anything = values;
    });
    await browser.request((session) => expect(session.data.anything).toEqual(values));
  });

  it("finds a change inside a Map, and none where there is none", async () => {
    const { client, store, stored } = setUp({ codec });
    const browser = client();
    await browser.request((session) => {
      session.data.anything = values;
    });
    await browser.request((session) => void JSON.stringify(Object.keys(session.data.anything as object)));
    expect(store.calls("update")).toBe(0);
    await browser.request((session) => (session.data.anything as typeof values).map.get("a")?.add(3));
    expect(store.calls("update")).toBe(1);
    const text = (await stored(idOf(browser.token)))?.data.get("anything") as string;
    expect((parse(text) as typeof values).map.get("a")).toEqual(new Set([1, 2, 3]));
  });

  it("does not store undefined, although it has a text for it", async () => {
    const { client, stored } = setUp({ codec });
    const browser = client();
    await browser.request((session) => {
      session.data.theme = "dark";
      session.data.n = undefined;
    });
    expect([...((await stored(idOf(browser.token)))?.data.keys() ?? [])]).toEqual(["theme"]);
  });

  it("names the key of a value that it refuses", async () => {
    const { client } = setUp({ codec });
    class Custom {}
    const request = client().request((session) => {
      session.data.anything = new Custom();
    });
    await expect(request).rejects.toThrow(/session\.data\["anything"\] cannot be written/);
  });

  it("reports text of another codec as data that cannot be read, and leaves it as it is", async () => {
    const { client, sessions, store } = setUp();
    const browser = client();
    await browser.request((session) => {
      session.data.theme = "dark";
      session.data.n = 1;
    });
    const other = setUp({ codec, store });
    expect(sessions).not.toBe(other.sessions);
    const reading = other.client(browser.token).request((session) => session.data.theme);
    await expect(reading).rejects.toMatchObject({ code: "session_data_invalid", status: 500 });
    await browser.request((session) => expect(session.data).toEqual({ theme: "dark", n: 1 }));
  });
});
