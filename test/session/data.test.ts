import { inspect } from "node:util";
import {
  type Codec,
  type ConflictPolicy,
  jsonCodec,
  SessionConflictError,
  SessionDataError,
  SessionTooLargeError,
} from "coatcheck";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SessionData, utf8Length } from "../../src/session/data.ts";
import { patchData } from "../../src/session/record.ts";
import { anyText, type Settings, setUp } from "./support.ts";

type Texts = ReadonlyMap<string, string>;

/** JSON that counts. */
function countingCodec() {
  const counts = { parsed: 0, written: 0 };
  const codec: Codec = {
    stringify(value) {
      counts.written++;
      return JSON.stringify(value);
    },
    parse(text) {
      counts.parsed++;
      return JSON.parse(text) as unknown;
    },
  };
  return { codec, counts };
}

interface Given {
  readonly codec?: Codec;
  readonly initial?: Record<string, unknown>;
  readonly onConflict?: ConflictPolicy;
  readonly maxBytes?: number;
}

const textsOf = (values: Record<string, unknown>): Map<string, string> =>
  new Map(Object.entries(values).map(([key, value]) => [key, JSON.stringify(value)]));

function dataOf(values: Record<string, unknown> | Texts, given: Given = {}): SessionData {
  const { codec = jsonCodec, initial = {}, onConflict = "reject", maxBytes = 65_536 } = given;
  const texts = values instanceof Map ? values : textsOf(values as Record<string, unknown>);
  return new SessionData({ codec, initial: textsOf(initial), onConflict, maxBytes }, texts);
}

/** A stored session that several requests work on, as the core drives them. */
class Stored {
  texts: Texts;
  constructor(values: Record<string, unknown>) {
    this.texts = textsOf(values);
  }
  open(given?: Given): SessionData {
    return dataOf(this.texts, given);
  }
  commit(data: SessionData): void {
    data.adopt(this.texts);
    const patch = data.plan(this.texts);
    if (patch === undefined) return;
    this.texts = patchData(this.texts, patch);
    data.settle(this.texts);
  }
  get values(): Record<string, unknown> {
    return Object.fromEntries([...this.texts].map(([key, text]) => [key, JSON.parse(text)]));
  }
}

const setOf = (data: SessionData, texts: Texts): Record<string, string> =>
  Object.fromEntries(data.plan(texts)?.set ?? []);

describe("reading", () => {
  it("parses a key when it is first read, once, and never the others", () => {
    const { codec, counts } = countingCodec();
    const data = dataOf({ a: [1], b: [2], c: [3] }, { codec });
    expect(counts).toEqual({ parsed: 0, written: 0 });
    expect(data.view.a).toEqual([1]);
    expect(data.view.a).toBe(data.view.a);
    expect(counts.parsed).toBe(1);
  });

  it("costs nothing at a commit when nothing was read", () => {
    const { codec, counts } = countingCodec();
    const texts = textsOf({ a: [1], b: [2] });
    const data = dataOf(texts, { codec });
    expect(data.changed).toBe(false);
    expect(data.plan(texts)).toBeUndefined();
    expect(counts).toEqual({ parsed: 0, written: 0 });
  });

  it("writes out only the keys that were read", () => {
    const { codec, counts } = countingCodec();
    const texts = textsOf({ a: [1], b: [2], c: [3] });
    const data = dataOf(texts, { codec });
    void data.view.b;
    expect(data.plan(texts)).toBeUndefined();
    expect(counts).toEqual({ parsed: 1, written: 1 });
  });

  it("looks like an object to JSON.stringify, Object.keys, spread and in", () => {
    const values = { n: 1, cart: [{ id: "x" }] };
    const data = dataOf(values);
    expect(Object.keys(data.view)).toEqual(["n", "cart"]);
    expect("cart" in data.view).toBe(true);
    expect("nothing" in data.view).toBe(false);
    expect(JSON.stringify(data.view)).toBe(JSON.stringify(values));
    expect({ ...data.view }).toEqual(values);
    expect(Object.entries(data.view)).toEqual(Object.entries(values));
    expect(data.changed).toBe(false);
  });

  it("shows its values to console.log, without reading a key by it", () => {
    const data = dataOf({ n: 1, cart: [{ id: "x" }], __proto__: null });
    data.view.n = 2;
    expect(inspect(data.view)).toBe(inspect({ n: 2, cart: [{ id: "x" }] }));
    expect(inspect({ data: data.view }, { depth: 0 })).toBe("{ data: [Object] }");
    // An unread key is still one that is assigned blindly: two that empty the cart agree.
    data.view.cart = [];
    expect(data.plan(textsOf({ n: 1, cart: [] }))?.set).toEqual(new Map([["n", "2"]]));
  });

  it("names the key of a text that cannot be read, and keeps its content to itself", () => {
    const data = dataOf(new Map([["cart", "broken-and-secret"]]));
    expect(() => data.view.cart).toThrow(SessionDataError);
    expect(() => data.view.cart).toThrow(/"cart" cannot be read/);
    let error: unknown;
    try {
      void data.view.cart;
    } catch (thrown) {
      error = thrown;
    }
    // As it comes to a log: with its cause, in which a parser may quote.
    expect(inspect(error)).not.toContain("broken-and-secret");
    expect(data.changed).toBe(false);
  });

  it("shows initial values, each session its own, and stores none of them unread", () => {
    const initial = { cart: [] as string[], theme: "light" };
    const one = dataOf({}, { initial });
    const other = dataOf({}, { initial });
    (one.view.cart as string[]).push("x");
    expect(other.view.cart).toEqual([]);
    expect(setOf(one, new Map())).toEqual({ cart: '["x"]' });
    expect(other.plan(new Map())).toBeUndefined();
    expect(Object.fromEntries(one.texts())).toEqual({ cart: '["x"]' });
  });
});

describe("changes", () => {
  it("finds a mutation at any depth", () => {
    const texts = textsOf({ a: { b: { c: [{ d: 1 }] } }, other: 1 });
    const data = dataOf(texts);
    (data.view.a as { b: { c: { d: number }[] } }).b.c.push({ d: 2 });
    expect(data.changed).toBe(true);
    expect(setOf(data, texts)).toEqual({ a: '{"b":{"c":[{"d":1},{"d":2}]}}' });
  });

  it("finds an assignment, a deletion and a new key, and patches just those", () => {
    const texts = textsOf({ a: 1, b: 2, c: 3 });
    const data = dataOf(texts);
    data.view.a = 10;
    delete data.view.b;
    data.view.d = 4;
    expect(data.plan(texts)).toEqual({
      set: new Map([
        ["a", "10"],
        ["d", "4"],
      ]),
      unset: ["b"],
    });
  });

  it("takes an assigned undefined for a deletion", () => {
    const texts = textsOf({ a: 1 });
    const data = dataOf(texts);
    data.view.a = undefined;
    expect(data.plan(texts)).toEqual({ set: new Map(), unset: ["a"] });
  });

  it("does not write what was assigned back", () => {
    const texts = textsOf({ a: [1, 2], b: 1 });
    const data = dataOf(texts);
    data.view.a = [1, 2];
    delete data.view.b;
    data.view.b = 1;
    expect(data.changed).toBe(false);
    expect(data.plan(texts)).toBeUndefined();
  });

  it("keeps what was assigned after a deletion", () => {
    const texts = textsOf({ a: 1 });
    const data = dataOf(texts);
    delete data.view.a;
    data.view.a = 2;
    expect(data.plan(texts)).toEqual({ set: new Map([["a", "2"]]), unset: [] });
  });

  it("gives the initial value to whoever reads a deleted key the next time", () => {
    const stored = new Stored({ cart: ["x"] });
    const data = stored.open({ initial: { cart: [] } });
    delete data.view.cart;
    expect(data.view.cart).toBeUndefined();
    stored.commit(data);
    expect(stored.values).toEqual({});
    expect(data.view.cart).toEqual([]);
    expect(stored.open({ initial: { cart: [] } }).view.cart).toEqual([]);
  });

  it("refuses symbol keys, also when nothing else was touched", () => {
    const data = dataOf({});
    (data.view as Record<symbol, unknown>)[Symbol("s")] = 1;
    expect(() => data.changed).toThrow(TypeError);
    expect(() => data.plan(new Map())).toThrow(/symbol keys/);
    expect(() => data.texts()).toThrow(/symbol keys/);
  });

  const cyclic: Record<string, unknown> = {};
  cyclic.self = cyclic;
  it.each([
    ["a function", () => 1],
    ["a symbol", Symbol("s")],
    ["a BigInt", 1n],
    ["a cycle", cyclic],
    ["a toJSON without a result", { toJSON: () => undefined }],
  ])("refuses %s, names the key, and saves nothing of the request", (_, value) => {
    const data = dataOf({});
    data.view.fine = 1;
    data.view.odd = value;
    expect(() => data.plan(new Map())).toThrow(TypeError);
    expect(() => data.plan(new Map())).toThrow(/"odd"/);
  });

  it("SC-03: treats hostile keys like any other", () => {
    const keys = ["__proto__", "constructor", "toString", "hasOwnProperty", "", "0", "a.b", "\u0000", "💥"];
    const stored = new Stored({});
    const first = stored.open();
    for (const key of keys) {
      expect(first.view[key]).toBeUndefined();
      expect(key in first.view).toBe(false);
      first.view[key] = { polluted: key };
    }
    stored.commit(first);
    expect([...stored.texts.keys()].sort()).toEqual([...keys].sort());
    const second = stored.open();
    for (const key of keys) expect(second.view[key]).toEqual({ polluted: key });
    second.update("__proto__", (value) => ({ ...(value as object), again: true }));
    const [prototype, builder] = ["__proto__", "constructor"];
    delete second.view[builder as string];
    stored.commit(second);
    expect(stored.open().view[prototype as string]).toEqual({ polluted: "__proto__", again: true });
    expect("constructor" in stored.open().view).toBe(false);
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
  });

  it("SC-03: data with a __proto__ inside does not touch any prototype", () => {
    const texts = new Map([["a", '{"__proto__":{"admin":true}}']]);
    const data = dataOf(texts);
    expect((data.view.a as Record<string, unknown>).admin).toBeUndefined();
    expect(data.plan(texts)).toBeUndefined();
  });
});

describe("size", () => {
  it("SC-03: 64 KiB of keys and texts are the limit, to the byte", () => {
    const full = dataOf({});
    full.view.é = "a".repeat(65_536 - 2 - 2);
    expect(utf8Length("é") + utf8Length(JSON.stringify(full.view.é))).toBe(65_536);
    expect(full.plan(new Map())?.set?.size).toBe(1);
    const over = dataOf({});
    over.view.é = "a".repeat(65_536 - 2 - 1);
    expect(() => over.plan(new Map())).toThrow(SessionTooLargeError);
    expect(() => over.texts()).toThrow(SessionTooLargeError);
  });

  it("counts what is stored and stays, not what is replaced or removed", () => {
    const texts = textsOf({ a: "x".repeat(40), b: "y".repeat(40) });
    const data = dataOf(texts, { maxBytes: 100 });
    data.view.c = "z".repeat(40);
    expect(() => data.plan(texts)).toThrow(SessionTooLargeError);
    delete data.view.a;
    expect(data.plan(texts)?.set?.size).toBe(1);
  });

  it("measures UTF-8 as TextEncoder does", () => {
    fc.assert(
      fc.property(anyText(), (text) => {
        expect(utf8Length(text)).toBe(new TextEncoder().encode(text).length);
      }),
    );
    expect(utf8Length("\ud800x\udc00")).toBe(new TextEncoder().encode("\ud800x\udc00").length);
  });
});

describe("RN-07: concurrent requests", () => {
  it("combine changes of different keys", () => {
    const stored = new Stored({ a: 1, b: 1 });
    const [one, other] = [stored.open(), stored.open()];
    one.view.a = 2;
    other.view.b = 2;
    delete other.view.nothing;
    stored.commit(one);
    stored.commit(other);
    expect(stored.values).toEqual({ a: 2, b: 2 });
  });

  it("see the newer value of a key that they had not looked at", () => {
    const stored = new Stored({ a: 1, b: 1 });
    const [one, other] = [stored.open(), stored.open()];
    one.view.a = 2;
    one.view.c = 3;
    delete one.view.b;
    other.view.d = 1;
    stored.commit(one);
    stored.commit(other);
    expect({ ...other.view }).toEqual({ a: 2, c: 3, d: 1 });
  });

  it("conflict where both changed one key, and the error lists the keys", () => {
    const stored = new Stored({ a: 1, b: [1], c: 1 });
    const [one, other] = [stored.open(), stored.open()];
    one.view.a = 2;
    (one.view.b as number[]).push(2);
    one.view.c = 2;
    other.view.a = 3;
    (other.view.b as number[]).push(3);
    stored.commit(one);
    const before = stored.texts;
    let error: unknown;
    try {
      stored.commit(other);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(SessionConflictError);
    expect((error as SessionConflictError).keys).toEqual(["a", "b"]);
    expect(stored.texts).toBe(before);
  });

  it("agree on a value that neither made from the one before", () => {
    const stored = new Stored({ theme: "light", old: 1 });
    const [one, other] = [stored.open(), stored.open()];
    for (const data of [one, other]) {
      data.view.theme = "dark";
      delete data.view.old;
      stored.commit(data);
    }
    expect(stored.values).toEqual({ theme: "dark" });
  });

  it("conflict when both raised a counter to the same value, or emptied the same cart", () => {
    for (const change of [
      (data: SessionData) => {
        data.view.n = (data.view.n as number) + 1;
      },
      (data: SessionData) => {
        if ((data.view.cart as string[]).length > 0) data.view.cart = [];
      },
      (data: SessionData) => {
        if ((data.view.cart as string[]).length > 0) delete data.view.cart;
      },
      (data: SessionData) => {
        data.view.views = ((data.view.views as number | undefined) ?? 0) + 1;
      },
    ]) {
      const stored = new Stored({ n: 1, cart: ["x"] });
      const [one, other] = [stored.open(), stored.open()];
      change(one);
      change(other);
      stored.commit(one);
      expect(() => stored.commit(other)).toThrow(SessionConflictError);
    }
  });

  it("run update() again on the newer value, also where both came to the same", () => {
    const stored = new Stored({ n: 1, list: ["a"] });
    const requests = [stored.open(), stored.open(), stored.open()];
    requests.forEach((data, index) => {
      data.update("n", (n) => (n as number) + 1);
      data.update("list", (list) => void (list as string[]).push(`b${index}`));
    });
    for (const data of requests) stored.commit(data);
    expect(stored.values).toEqual({ n: 4, list: ["a", "b0", "b1", "b2"] });
    expect(requests[2]?.view.n).toBe(4);
  });

  it("run several updates of one key again in their order", () => {
    const stored = new Stored({ n: 1 });
    const [one, other] = [stored.open(), stored.open()];
    one.update("n", () => 100);
    other.update("n", (n) => (n as number) + 1);
    other.update("n", (n) => (n as number) * 2);
    stored.commit(one);
    stored.commit(other);
    expect(stored.values).toEqual({ n: 202 });
  });

  it("keep an update whose result, once run again, equals the value before", () => {
    const stored = new Stored({ n: 1 });
    const data = stored.open();
    data.update("n", (n) => (n as number) + 1);
    stored.texts = textsOf({ n: 0 });
    // Another request is first: 0 + 1 is 1, which is what this one had read. Then yet another one is.
    expect(setOf(data, stored.texts)).toEqual({ n: "1" });
    stored.texts = textsOf({ n: 10 });
    stored.commit(data);
    expect(stored.values).toEqual({ n: 11 });
  });

  it("drop an update to which the newer value leaves nothing to do", () => {
    const stored = new Stored({ n: 1 });
    const data = stored.open();
    data.update("n", (n) => Math.max(n as number, 5));
    stored.texts = textsOf({ n: 7 });
    expect(data.plan(stored.texts)).toBeUndefined();
  });

  it("conflict when an update is mixed with an assignment, in either order", () => {
    for (const mix of [
      (data: SessionData) => {
        data.view.n = (data.view.n as number) + 5;
        data.update("n", (n) => (n as number) + 1);
      },
      (data: SessionData) => {
        data.update("n", (n) => (n as number) + 1);
        data.view.n = (data.view.n as number) + 5;
      },
    ]) {
      const stored = new Stored({ n: 1 });
      const [one, other] = [stored.open(), stored.open()];
      one.view.n = 2;
      mix(other);
      stored.commit(one);
      expect(() => stored.commit(other)).toThrow(SessionConflictError);
      expect(stored.values).toEqual({ n: 2 });
    }
  });

  it("update() can make a key and can leave the value as it is", () => {
    const data = dataOf({});
    expect(data.update("n", (n) => ((n as number | undefined) ?? 0) + 1)).toBe(1);
    expect(data.update("nothing", () => {})).toBeUndefined();
    expect(setOf(data, new Map())).toEqual({ n: "1" });
  });

  it("overwrite where that is the policy", () => {
    const stored = new Stored({ a: 1, b: 1 });
    const given = { onConflict: "overwrite" as const };
    const [one, other] = [stored.open(given), stored.open(given)];
    one.view.a = 2;
    delete one.view.b;
    other.view.a = 3;
    other.view.b = 3;
    stored.commit(one);
    stored.commit(other);
    expect(stored.values).toEqual({ a: 3, b: 3 });
  });

  it("are merged by a function, which gets copies of all three values", () => {
    const seen: unknown[] = [];
    const given: Given = {
      onConflict: ({ key, base, ours, theirs }) => {
        seen.push({ key, base, ours, theirs });
        return (ours as number) + (theirs as number) - ((base as number | undefined) ?? 0);
      },
    };
    const stored = new Stored({ n: 1 });
    const [one, other] = [stored.open(given), stored.open(given)];
    for (const data of [one, other]) {
      data.view.n = (data.view.n as number) + 1;
      data.view.m = 10;
    }
    stored.commit(one);
    stored.commit(other);
    expect(stored.values).toEqual({ n: 3, m: 20 });
    expect(other.view.n).toBe(3);
    expect(seen).toEqual([
      { key: "n", base: 1, ours: 2, theirs: 2 },
      { key: "m", base: undefined, ours: 10, theirs: 10 },
    ]);
  });

  it("are merged again from the result when a third request is first", () => {
    const given: Given = {
      onConflict: ({ base, ours, theirs }) => (ours as number) + (theirs as number) - (base as number),
    };
    const stored = new Stored({ n: 1 });
    const data = stored.open(given);
    data.view.n = (data.view.n as number) + 1;
    stored.texts = textsOf({ n: 11 });
    expect(setOf(data, stored.texts)).toEqual({ n: "12" });
    stored.texts = textsOf({ n: 111 });
    stored.commit(data);
    expect(stored.values).toEqual({ n: 112 });
  });

  it("a merge function can decide for no value", () => {
    const given: Given = { onConflict: () => undefined };
    const stored = new Stored({ a: 1 });
    const [one, other] = [stored.open(given), stored.open(given)];
    one.view.a = 2;
    other.view.a = 3;
    stored.commit(one);
    stored.commit(other);
    expect(stored.values).toEqual({});
  });

  it("a request that goes on after its commit conflicts with what came in between, and not with itself", () => {
    const stored = new Stored({ a: 1, b: 1 });
    const data = stored.open();
    data.view.a = 2;
    void data.view.b;
    stored.commit(data);
    data.view.a = 3;
    stored.commit(data);
    expect(stored.values).toEqual({ a: 3, b: 1 });
    stored.texts = textsOf({ a: 3, b: 5 });
    data.view.b = 2;
    expect(() => stored.commit(data)).toThrow(SessionConflictError);
  });
});

describe("while a commit is under way", () => {
  /** Plans, lets the handler go on, and only then has the write done. */
  function commitMeanwhile(stored: Stored, data: SessionData, meanwhile: () => void): void {
    data.adopt(stored.texts);
    const patch = data.plan(stored.texts);
    meanwhile();
    if (patch === undefined) return;
    stored.texts = patchData(stored.texts, patch);
    data.settle(stored.texts);
  }

  it("what the handler assigns or mutates is kept for the next one, and is no conflict", () => {
    const stored = new Stored({ a: 1, list: [1] });
    const data = stored.open();
    data.view.a = 2;
    (data.view.list as number[]).push(2);
    commitMeanwhile(stored, data, () => {
      data.view.a = 3;
      (data.view.list as number[]).push(3);
      data.view.new = 1;
    });
    expect(stored.values).toEqual({ a: 2, list: [1, 2] });
    expect(data.changed).toBe(true);
    stored.commit(data);
    expect(stored.values).toEqual({ a: 3, list: [1, 2, 3], new: 1 });
  });

  it("an update that is added is run once, also when others come first", () => {
    const stored = new Stored({ n: 0 });
    const data = stored.open();
    data.update("n", (n) => (n as number) + 1);
    commitMeanwhile(stored, data, () => {
      data.update("n", (n) => (n as number) + 10);
    });
    expect(stored.values).toEqual({ n: 1 });
    stored.texts = textsOf({ n: 101 });
    stored.commit(data);
    expect(stored.values).toEqual({ n: 111 });
  });

  it("a deletion is kept for the next one", () => {
    const stored = new Stored({ a: 1 });
    const data = stored.open();
    data.view.a = 2;
    commitMeanwhile(stored, data, () => {
      delete data.view.a;
    });
    stored.commit(data);
    expect(stored.values).toEqual({});
  });
});

describe("a reference that a handler holds", () => {
  it("across a commit, still leads to the stored value", () => {
    const stored = new Stored({ cart: ["a"] });
    const data = stored.open();
    const cart = data.view.cart as string[];
    cart.push("b");
    stored.commit(data);
    cart.push("c");
    stored.commit(data);
    expect(stored.values).toEqual({ cart: ["a", "b", "c"] });
  });

  it("to a value that a rebase replaced, conflicts when it is changed: it is never silently lost", () => {
    const merge: ConflictPolicy = ({ theirs }) => theirs;
    for (const [onConflict, change] of [
      ["reject", (data: SessionData) => void data.update("cart", (cart) => void (cart as string[]).push("mine"))],
      [merge, (data: SessionData) => void (data.view.cart as string[]).push("mine")],
    ] as const) {
      const stored = new Stored({ cart: ["a"] });
      const data = stored.open({ onConflict });
      const cart = data.view.cart as string[];
      change(data);
      stored.texts = textsOf({ cart: ["a", "theirs"] });
      stored.commit(data);
      expect(data.changed).toBe(false);
      cart.push("later");
      expect(data.changed).toBe(true);
      expect(() => stored.commit(data)).toThrow(SessionConflictError);
    }
  });
});

describe("going on elsewhere", () => {
  it("moves to a new record with the same view, and keeps what is assigned to it later", () => {
    const data = dataOf({}, { initial: { theme: "light" } });
    const { view } = data;
    view.cart = ["a"];
    const cart = view.cart as string[];
    const texts = data.texts();
    view.late = 1;
    data.moveTo(texts, () => true);
    expect(data.view).toBe(view);
    cart.push("b");
    expect(setOf(data, texts)).toEqual({ cart: '["a","b"]', late: "1" });
    expect(view.theme).toBe("light");
  });

  it("takes along only what may go", () => {
    const { codec, counts } = countingCodec();
    const data = dataOf({ cart: ["a"], secret: 1 }, { codec });
    const keep = (key: string) => key === "cart";
    const texts = data.texts(keep);
    expect(Object.fromEntries(texts)).toEqual({ cart: '["a"]' });
    data.moveTo(texts, keep);
    expect(Object.keys(data.view)).toEqual(["cart"]);
    expect(data.changed).toBe(false);
    expect(counts.parsed).toBe(0);
  });

  it("lays its own over the texts of another record", () => {
    const data = dataOf({}, { initial: { theme: "light", n: 0 } });
    data.view.own = 1;
    data.view.n = 0;
    const texts = data.texts(() => true, textsOf({ theme: "dark", n: 5, own: 0, cart: ["a"] }));
    expect(Object.fromEntries(texts)).toEqual({ theme: '"dark"', own: "1", cart: '["a"]' });
    data.moveTo(texts, () => true);
    expect({ ...data.view }).toEqual({ theme: "dark", n: 0, own: 1, cart: ["a"] });
    expect(data.changed).toBe(false);
  });

  it("starts again with what may stay as if it had just been assigned", () => {
    const data = dataOf({ cart: ["a"], secret: 1, theme: "light" }, { initial: { theme: "light" } });
    data.restart((key) => key !== "secret");
    expect({ ...data.view }).toEqual({ theme: "light", cart: ["a"] });
    expect(setOf(data, new Map())).toEqual({ cart: '["a"]' });
    data.restart(() => false);
    expect(data.changed).toBe(false);
    expect({ ...data.view }).toEqual({ theme: "light" });
  });
});

describe("property: plan, adopt and settle", () => {
  const KEYS = ["a", "b", "c"] as const;
  type Operation =
    | { kind: "read" | "delete" | "blind" | "push" | "update"; who: number; key: string }
    | { kind: "adopt" | "commit" | "fail"; who: number };
  const who = fc.nat({ max: 2 });
  const operation: fc.Arbitrary<Operation> = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constantFrom("read" as const, "delete" as const, "blind" as const, "push" as const, "update" as const),
        who,
        key: fc.constantFrom(...KEYS),
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({ kind: fc.constantFrom("adopt" as const, "commit" as const, "fail" as const), who }),
    },
  );

  /**
   * The rules in the plainest words: everything parsed, everything copied, one list of marks per key. Every change
   * leaves its own mark, so that what is lost or doubled shows.
   */
  class Naive {
    readonly base = new Map<string, string[] | undefined>();
    readonly ours = new Map<string, string[] | undefined>();
    readonly seen = new Set<string>();
    readonly own = new Map<string, { mark: string; how: "update" | "plain" }[]>();
    adopt(stored: Map<string, string[]>): void {
      for (const key of KEYS) {
        if (this.seen.has(key) || this.own.has(key)) continue;
        this.base.set(key, stored.get(key));
        this.ours.set(key, stored.get(key));
      }
    }
  }
  const same = (a: string[] | undefined, b: string[] | undefined) => JSON.stringify(a) === JSON.stringify(b);

  it("RN-07: follows a naive model; each mark that was committed is stored once, unless it was deleted", () => {
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 40 }), (operations) => {
        let texts: Texts = textsOf({ a: ["start"], b: ["start"] });
        let stored = new Map<string, string[]>([
          ["a", ["start"]],
          ["b", ["start"]],
        ]);
        const real = [0, 1, 2].map(() => dataOf(texts));
        const naive = [0, 1, 2].map(() => {
          const one = new Naive();
          one.adopt(stored);
          return one;
        });
        let marks = 0;
        for (const operation of operations) {
          const data = real[operation.who] as SessionData;
          const model = naive[operation.who] as Naive;
          const mark = `m${marks++}`;
          if ("key" in operation) {
            const { kind, key } = operation;
            const now = model.ours.get(key);
            // An absent key shows nothing when it is read, so only one that is there counts as seen.
            const see = () => void (model.base.get(key) !== undefined && !model.own.has(key) && model.seen.add(key));
            switch (kind) {
              case "read":
                see();
                expect(data.view[key]).toEqual(now);
                break;
              case "delete":
                delete data.view[key];
                model.ours.set(key, undefined);
                model.own.set(key, [...(model.own.get(key) ?? []), { mark, how: "plain" }]);
                break;
              case "blind":
                data.view[key] = [mark];
                model.ours.set(key, [mark]);
                model.own.set(key, [...(model.own.get(key) ?? []), { mark, how: "plain" }]);
                break;
              case "push":
                see();
                if (now === undefined) break;
                (data.view[key] as string[]).push(mark);
                model.ours.set(key, [...now, mark]);
                model.own.set(key, [...(model.own.get(key) ?? []), { mark, how: "plain" }]);
                break;
              case "update":
                see();
                data.update(key, (value) => [...((value as string[] | undefined) ?? []), mark]);
                model.ours.set(key, [...(now ?? []), mark]);
                model.own.set(key, [...(model.own.get(key) ?? []), { mark, how: "update" }]);
                break;
            }
            continue;
          }
          if (operation.kind === "adopt") {
            data.adopt(texts);
            model.adopt(stored);
            continue;
          }
          // What the model says of a commit.
          const conflicts: string[] = [];
          const next = new Map(stored);
          const replayed = new Map<string, string[] | undefined>();
          for (const key of KEYS) {
            const [base, ours, theirs] = [model.base.get(key), model.ours.get(key), stored.get(key)];
            if (same(ours, base)) continue;
            let result = ours;
            if (!same(theirs, base)) {
              const own = model.own.get(key) ?? [];
              if (own.every(({ how }) => how === "update")) {
                result = [...(theirs ?? []), ...own.map(({ mark }) => mark)];
                replayed.set(key, result);
              } else if (!(same(ours, theirs) && base !== undefined && !model.seen.has(key))) {
                conflicts.push(key);
                continue;
              }
            }
            if (result === undefined) next.delete(key);
            else next.set(key, result);
          }
          for (const [key, result] of replayed) {
            model.base.set(key, stored.get(key));
            model.ours.set(key, result);
          }
          data.adopt(texts);
          model.adopt(stored);
          if (conflicts.length > 0) {
            expect(() => data.plan(texts)).toThrow(SessionConflictError);
            continue;
          }
          const patch = data.plan(texts);
          // The store failed before it wrote.
          if (operation.kind === "fail") continue;
          const changed = JSON.stringify([...next].sort()) !== JSON.stringify([...stored].sort());
          expect(patch !== undefined).toBe(changed);
          if (patch === undefined) continue;
          texts = patchData(texts, patch);
          data.settle(texts);
          stored = next;
          for (const key of KEYS) {
            if (same(model.ours.get(key), model.base.get(key)) && !model.own.has(key)) continue;
            if (!same(model.ours.get(key), model.base.get(key))) model.base.set(key, model.ours.get(key));
            if (model.own.delete(key)) model.seen.add(key);
            if (model.base.get(key) === undefined) model.seen.delete(key);
          }
          model.adopt(stored);
          expect(Object.fromEntries([...texts].map(([key, text]) => [key, JSON.parse(text)]))).toEqual(
            Object.fromEntries(stored),
          );
        }
        for (const list of stored.values()) expect(new Set(list).size).toBe(list.length);
      }),
      { numRuns: 500 },
    );
  });
});

describe("through a session", () => {
  const withCart = async (settings?: Settings) => {
    const world = setUp(settings);
    const client = world.client();
    await client.request((session) => {
      session.data.cart = ["a"];
    });
    return { ...world, browser: client };
  };

  it("a value that has no text saves nothing of the request", async () => {
    const { browser, stored } = await withCart();
    await expect(
      browser.request((session) => {
        session.data.n = 1;
        session.data.anything = () => 1;
      }),
    ).rejects.toThrow(/session\.data\["anything"\]/);
    const record = await stored(browser.token?.slice(0, 22) as string);
    expect(record?.data).toEqual(textsOf({ cart: ["a"] }));
  });

  it("a nested reference held across an explicit commit saves or conflicts", async () => {
    const { browser, client, stored } = await withCart();
    await browser.request(async (session) => {
      const cart = session.data.cart as string[];
      cart.push("b");
      await session.commit();
      cart.push("c");
    });
    expect((await stored(browser.token?.slice(0, 22) as string))?.data.get("cart")).toBe('["a","b","c"]');
    const request = browser.request(async (session) => {
      const cart = session.data.cart as string[];
      session.update("cart", (lines) => void lines?.push("d"));
      await client(browser.token).request((other) => void other.data.cart?.push("x"));
      await session.commit();
      cart.push("e");
    });
    await expect(request).rejects.toThrow(SessionConflictError);
    expect((await stored(browser.token?.slice(0, 22) as string))?.data.get("cart")).toBe('["a","b","c","x","d"]');
  });

  it("what is assigned while an explicit commit is under way is saved by the next", async () => {
    const { browser, stored, store } = await withCart();
    await browser.request(async (session) => {
      session.update("n", (n) => (n ?? 0) + 1);
      session.data.cart?.push("b");
      const hold = store.hold("update");
      const commit = session.commit();
      await hold.reached;
      session.update("n", (n) => (n ?? 0) + 10);
      session.data.cart?.push("c");
      session.flash("info", "late");
      hold.release();
      await commit;
    });
    const record = await stored(browser.token?.slice(0, 22) as string);
    expect(record?.data).toEqual(textsOf({ cart: ["a", "b", "c"], n: 11 }));
    expect(record?.meta.flashes).toEqual([{ kind: "info", message: "late" }]);
  });

  it("the conflict is reported as an event, with its keys", async () => {
    const { browser, client, events } = await withCart();
    const request = browser.request(async (session) => {
      session.data.cart?.push("b");
      await client(browser.token).request((other) => void other.data.cart?.push("x"));
    });
    await expect(request).rejects.toMatchObject({ code: "session_conflict", status: 409, keys: ["cart"] });
    expect(events.filter(({ type }) => type === "conflict")).toMatchObject([{ keys: ["cart"] }]);
  });

  it("a merge function, overwrite, and 64 KiB come from the settings", async () => {
    const { browser, client, stored } = await withCart({
      maxDataBytes: 40,
      onConflict: ({ ours, theirs }) => [...new Set([...(theirs as string[]), ...(ours as string[])])],
    });
    await browser.request(async (session) => {
      session.data.cart?.push("b");
      await client(browser.token).request((other) => void other.data.cart?.push("x"));
    });
    const id = browser.token?.slice(0, 22) as string;
    expect((await stored(id))?.data.get("cart")).toBe('["a","x","b"]');
    const large = browser.request((session) => {
      session.data.theme = "x".repeat(40);
    });
    await expect(large).rejects.toMatchObject({ code: "session_too_large", status: 413 });
  });
});
