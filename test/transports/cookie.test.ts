import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  CookieHeaderTooLargeError,
  type CookieOptions,
  CookieTooLargeError,
  cookieTransport,
  createSessions,
  days,
  hours,
  InsecureTransportError,
  minutes,
  seconds,
} from "coatcheck";
import fc from "fast-check";
import { afterEach, describe, expect, it, vi } from "vitest";
import { readCookie } from "../../src/transports/cookie.ts";
import { facts, recorded, sets, TestClock, type Visit, visit, watchedStore } from "../frameworks/support.ts";

const NAME = "__Host-Http-sid";
const write = (options: CookieOptions, token = "t", lifetime?: number) =>
  cookieTransport(options).write(facts(), token, lifetime).cookies[0]?.line ?? "";
const clear = (options: CookieOptions) => cookieTransport(options).clear(facts()).cookies[0]?.line ?? "";

function shop(options: Partial<Parameters<typeof createSessions<Visit>>[0]> = {}) {
  const clock = new TestClock();
  const store = watchedStore();
  const sessions = createSessions<Visit>({ store, clock, ...options });
  const ask = (cookie: string | undefined, handler?: Parameters<typeof visit<Visit>>[2], method = "GET") =>
    visit(sessions, { method, headers: { cookie } }, handler);
  return { clock, store, sessions, events: recorded(sessions), ask };
}

/** A cookie as RFC 6265bis reads it from a Set-Cookie line. */
function parsed(line: string) {
  const [pair = "", ...attributes] = line.split(";").map((part) => part.trim());
  const [name = "", value = ""] = pair.split(/=(.*)/s);
  return {
    name,
    value,
    attributes: Object.fromEntries(
      attributes.map((a) => [a.split("=")[0], a.includes("=") ? a.split(/=(.*)/s)[1] : true]),
    ),
  };
}

describe("what is written", () => {
  it("CK-01: the default cookie is __Host-, Secure, HttpOnly, Lax, for one host and the whole site", () => {
    expect(write({}, "abc")).toBe(`${NAME}=abc; Path=/; Secure; HttpOnly; SameSite=Lax`);
    expect(write({ domain: "shop.example" }, "abc")).toBe(
      "__Secure-sid=abc; Path=/; Domain=shop.example; Secure; HttpOnly; SameSite=Lax",
    );
    expect(write({ name: undefined as never, domain: undefined as never })).toMatch(
      /^__Host-Http-sid=t; Path=\/; Secure/,
    );
  });

  it("CK-02: a prefix that contradicts the attributes is refused, in every letter case", () => {
    const prefixes = ["__Host-", "__Secure-", "__Http-", "__Host-Http-"];
    const cases = [(s: string) => s, (s: string) => s.toUpperCase(), (s: string) => s.toLowerCase()];
    let refused = 0;
    for (const prefix of prefixes)
      for (const domain of [undefined, "shop.example"])
        for (const path of ["/", "/app"])
          for (const cased of cases) {
            const options = { name: cased(`${prefix}x`), path, ...(domain && { domain }) };
            const hostOnly = prefix.startsWith("__Host-");
            if (hostOnly && (domain !== undefined || path !== "/")) {
              expect(() => cookieTransport(options), JSON.stringify(options)).toThrow(TypeError);
              refused++;
            } else {
              const { attributes } = parsed(write(options));
              expect(attributes).toMatchObject({ Secure: true, HttpOnly: true, Path: path });
              expect(attributes.Domain).toBe(domain);
            }
          }
    expect(refused).toBe(2 * 3 * 3);
  });

  it("CK-02: options that no browser would take are refused at configuration", () => {
    for (const options of [
      { sameSite: "none" },
      { sameSite: "" },
      { priority: "high" },
      { domain: ".shop.example" },
      { domain: "com" },
      { domain: "" },
      { path: "app" },
      { path: "" },
    ])
      expect(() => cookieTransport(options as CookieOptions), JSON.stringify(options)).toThrow(TypeError);
    expect(() => createSessions({ store: watchedStore(), cookie: { name: "__Host-x", path: "/app" } })).toThrow(
      TypeError,
    );
  });

  it("CK-05: SameSite is written whatever is chosen, and None never without Secure", () => {
    expect(parsed(write({})).attributes.SameSite).toBe("Lax");
    for (const sameSite of ["Strict", "Lax", "None"] as const) {
      const { attributes } = parsed(write({ sameSite }));
      expect(attributes).toMatchObject({ SameSite: sameSite, Secure: true });
      // On a developer's own machine there is no Secure, so None is not written.
      const local = cookieTransport({ sameSite }).write(
        facts({ secure: false, host: "localhost:3000" }),
        "t",
        undefined,
      );
      const plain = parsed(local.cookies[0]?.line ?? "").attributes;
      expect(plain.Secure).toBeUndefined();
      expect(plain.SameSite).toBe(sameSite === "None" ? "Lax" : sameSite);
    }
  });

  it("CK-06: of all bytes only those of the grammar get into name, value, path and domain", () => {
    const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]$/;
    const octet = /^[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]$/;
    const taken = (run: () => unknown): boolean => {
      try {
        run();
        return true;
      } catch (error) {
        expect(error).toBeInstanceOf(TypeError);
        return false;
      }
    };
    for (let byte = 0; byte < 256; byte++) {
      const char = String.fromCharCode(byte);
      const shown = `byte ${byte}`;
      expect(
        taken(() => write({ name: `a${char}b` })),
        `name, ${shown}`,
      ).toBe(token.test(char));
      expect(
        taken(() => write({}, `a${char}b`)),
        `value, ${shown}`,
      ).toBe(octet.test(char));
      expect(
        taken(() => write({ name: "x", path: `/a${char}b` })),
        `path, ${shown}`,
      ).toBe(byte >= 0x20 && byte < 0x7f && char !== ";");
      expect(
        taken(() => write({ domain: `a${char}b.example` })),
        `domain, ${shown}`,
      ).toBe(/^[a-z0-9.-]$/i.test(char));
    }
    expect(() => write({ name: "" })).toThrow(TypeError);
  });

  it("CK-06: no text in any option makes a second header or attribute", () => {
    const text = fc.string({
      unit: fc.integer({ min: 0, max: 255 }).map((n) => String.fromCharCode(n)),
      maxLength: 40,
    });
    const hostile = fc.oneof(
      text,
      fc.constantFrom("x\r\nSet-Cookie: evil=1", "x; Domain=evil.example", "x\nevil", "x\u0000", "a,b", 'a"b', "a\\b"),
    );
    fc.assert(
      fc.property(hostile, hostile, hostile, hostile, (name, value, path, domain) => {
        const given = [{ name }, { name: "x", path: `/${path}` }, { domain }, {}] as CookieOptions[];
        for (const options of given) {
          let line: string;
          try {
            line = write(options, options.name === undefined ? value : "t");
          } catch {
            continue;
          }
          expect(line).toMatch(/^[\x20-\x7e]+$/);
          expect(line.split(";").length).toBe(options.domain === undefined ? 5 : 6);
          expect(new Headers([["Set-Cookie", line]]).getSetCookie()).toEqual([line]);
        }
      }),
      { numRuns: 1000 },
    );
  });

  it("CK-07: name and value of 4096 bytes are written, 4097 throw", () => {
    const room = 4096 - NAME.length;
    expect(write({}, "x".repeat(room)).split(";")[0]).toHaveLength(4096 + 1);
    expect(() => write({}, "x".repeat(room + 1))).toThrow(CookieTooLargeError);
    const name = "n".repeat(4095);
    expect(write({ name }, "x")).toContain(`${name}=x;`);
    expect(() => write({ name }, "xx")).toThrow(CookieTooLargeError);
  });

  it("CK-07: an attribute of 1024 bytes is written, 1025 throw", () => {
    const path = `/${"p".repeat(1023)}`;
    expect(parsed(write({ name: "x", path })).attributes.Path).toBe(path);
    expect(() => cookieTransport({ name: "x", path: `${path}p` })).toThrow(CookieTooLargeError);
    const domain = `${"d".repeat(1020)}.com`;
    expect(parsed(write({ domain })).attributes.Domain).toBe(domain);
    expect(() => cookieTransport({ domain: `d${domain}` })).toThrow(CookieTooLargeError);
  });

  it("CK-08: Max-Age is digits, whole seconds, never more than 400 days", () => {
    const maxAge = (lifetime: number) => parsed(write({}, "t", lifetime)).attributes["Max-Age"];
    expect(maxAge(seconds(90))).toBe("90");
    expect(maxAge(1999)).toBe("1");
    expect(maxAge(days(400))).toBe("34560000");
    expect(maxAge(days(400) + 1000)).toBe("34560000");
    expect(maxAge(Number.MAX_VALUE)).toBe("34560000");
    expect(maxAge(Number.POSITIVE_INFINITY)).toBe("34560000");
    expect(maxAge(-5)).toBe("0");
    fc.assert(fc.property(fc.double({ noNaN: true }), (n) => /^\d{1,8}$/.test(String(maxAge(n)))));
  });

  it("CK-08: Expires, where it is written, is an IMF-fixdate that agrees with Max-Age", () => {
    const { attributes } = parsed(clear({}));
    expect(attributes["Max-Age"]).toBe("0");
    expect(attributes.Expires).toBe(new Date(0).toUTCString());
  });

  it("CK-09: the cookie ends with the browser unless the user asked to be remembered, and then with the session", async () => {
    const { clock, ask, store } = shop({ lifetime: { remember: { idle: hours(3), absolute: hours(3) } } });
    const plain = await ask(undefined, (session) => session.login("ada"));
    expect(plain.line).not.toMatch(/Max-Age|Expires/);

    const kept = await ask(undefined, (session) => session.login("ada", { remember: true }));
    expect(parsed(kept.line ?? "").attributes["Max-Age"]).toBe(String(hours(3) / 1000));
    await clock.advance(hours(1));
    const later = await ask(kept.cookie, (session) => session.renew());
    expect(parsed(later.line ?? "").attributes["Max-Age"]).toBe(String(hours(2) / 1000));
    const record = await store.read(later.session.id);
    expect(clock.now() + Number(parsed(later.line ?? "").attributes["Max-Age"]) * 1000).toBe(record?.expiresAt);
    // The browser's idea of the end is not asked: the server's deadline holds.
    await clock.advance(hours(2));
    expect((await ask(later.cookie)).session.isNew).toBe(true);
  });

  it("CK-14: the deletion repeats name and attributes, is empty, and lies in the past in both spellings", () => {
    for (const options of [
      {},
      { domain: "shop.example", path: "/app" },
      { name: "sid", path: "/app", sameSite: "Strict" },
      { sameSite: "None", partitioned: true, priority: "High" },
    ] as CookieOptions[]) {
      const { "Max-Age": maxAge, Expires, ...gone } = parsed(clear(options)).attributes;
      expect(parsed(clear(options)).name).toBe(parsed(write(options)).name);
      expect(parsed(clear(options)).value).toBe("");
      expect(gone).toEqual(parsed(write(options)).attributes);
      expect([maxAge, Expires]).toEqual(["0", "Thu, 01 Jan 1970 00:00:00 GMT"]);
    }
  });

  it("CK-15: Partitioned is off, needs SameSite=None, and comes with Secure and a __Host- name", () => {
    expect(write({})).not.toContain("Partitioned");
    for (const sameSite of [undefined, "Lax", "Strict"] as const)
      expect(() => cookieTransport({ partitioned: true, ...(sameSite && { sameSite }) })).toThrow(/SameSite|sameSite/);
    const { name, attributes } = parsed(write({ partitioned: true, sameSite: "None" }));
    expect(attributes).toMatchObject({ Partitioned: true, Secure: true, SameSite: "None" });
    expect(name).toBe(NAME);
    const local = cookieTransport({ partitioned: true, sameSite: "None" });
    expect(local.write(facts({ secure: false, host: "localhost" }), "t", undefined).cookies[0]?.line).not.toContain(
      "Partitioned",
    );
  });
});

describe("what is read", () => {
  it("CK-13: pairs are found as browsers and other servers send them", () => {
    const vectors: [header: string, values: string[]][] = [
      ["sid=1", ["1"]],
      ["a=1; sid=2; b=3", ["2"]],
      ["a=1;sid=2;b=3", ["2"]],
      ["  sid =  2  ;b=3", ["2"]],
      ["\tsid=2\t", ["2"]],
      ['sid="quoted"', ["quoted"]],
      ['sid="', ['"']],
      ['sid=""', [""]],
      ["sid=", [""]],
      ["sid", []],
      ["sid;", []],
      ["", []],
      [";;; ;sid=1;;", ["1"]],
      ["=sid=1", []],
      ["=; sid=1", ["1"]],
      ["sid=a=b=c", ["a=b=c"]],
      ["sid==", ["="]],
      ["xsid=1; sidx=2; sid-=3; SID=4; Sid=5", []],
      ["sid=1; sid=1", ["1", "1"]],
      ["sid=1; sid=2; sid", ["1", "2"]],
      ["sid=%E0%A4%A", ["%E0%A4%A"]],
      ["sid=%00; a=%", ["%00"]],
      ["a=%E0%A4%A; sid=1", ["1"]],
      ["$Version=1; sid=1; $Path=/", ["1"]],
      ['a={"x":[1,2]}; sid=1', ["1"]],
      ["a=b, sid=1", []],
      ['a="; sid=1; "', ["1"]],
      ["__proto__=1; constructor=2; sid=3", ["3"]],
      ["\u00a0sid=1", []],
      ["sid\u00a0=1", []],
      ["a=\u00ff\u0000; sid=1", ["1"]],
    ];
    for (const [header, values] of vectors) expect(readCookie(header, "sid"), header).toEqual(values);
    expect(readCookie("__proto__=1; __proto__=2", "__proto__")).toEqual(["1", "2"]);
    expect(readCookie("constructor=1", "toString")).toEqual([]);
    expect(({} as Record<string, unknown>)["1"]).toBeUndefined();
  });

  it("CK-13: the parser agrees with a naive one on any text, and never throws within its limits", () => {
    const piece = fc.constantFrom(";", "=", " ", "sid", "sid=", "a=b", '"', "%", "\t", "__proto__", "\u00e9", ",", "x");
    const naive = (header: string) =>
      header
        .split(";")
        .map((pair) => pair.replace(/^[ \t]+/, ""))
        .filter((pair) => /^sid[ \t]*=/.test(pair))
        .map((pair) => pair.slice(pair.indexOf("=") + 1).trim())
        .map((value) => (/^".*"$/s.test(value) ? value.slice(1, -1) : value));
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 60 }), (pieces) => {
        expect(readCookie(pieces.join(""), "sid")).toEqual(naive(pieces.join("")));
      }),
      { numRuns: 3000 },
    );
  });

  it("CK-13: 1 MB of pairs is refused at once, and the largest header that is read takes no time", () => {
    const took: number[] = [];
    for (let round = 0; round < 5; round++) {
      const began = performance.now();
      expect(() => readCookie("a;".repeat(524_288), "sid")).toThrow(CookieHeaderTooLargeError);
      expect(() => readCookie(`sid${" ".repeat(1_048_576)}=1`, "sid")).toThrow(CookieHeaderTooLargeError);
      // Shapes that would make a backtracking parser quadratic.
      for (const header of [
        `sid${" ".repeat(8000)}`,
        `sid=${" ".repeat(8000)}x`,
        `${"sid".repeat(2700)}=1`,
        '"'.repeat(8192),
      ])
        for (let i = 0; i < 20; i++) readCookie(header, "sid");
      took.push(performance.now() - began);
    }
    expect(Math.min(...took)).toBeLessThan(50);
  });

  it("TR-07: 8 KiB and 180 cookies are read, more is refused with 431", async () => {
    const { ask, store } = shop();
    const { cookie } = await ask(undefined, sets(1));
    const pad = (bytes: number) => `${cookie}; a=${"x".repeat(bytes - cookie.length - 4)}`;
    expect(pad(8192)).toHaveLength(8192);
    expect((await ask(pad(8192))).session.data.n).toBe(1);
    const many = (count: number) => `${Array.from({ length: count - 1 }, (_, i) => `c${i}=1`).join("; ")}; ${cookie}`;
    expect((await ask(many(180))).session.data.n).toBe(1);

    const calls = store.calls();
    for (const header of [pad(8193), many(181), "a;".repeat(524_288), "=".repeat(1_048_576)])
      await expect(ask(header), `${header.length} bytes`).rejects.toMatchObject({
        code: "cookie_header_too_large",
        status: 431,
      });
    expect(store.calls()).toBe(calls);
  });

  it("TR-07: whichever cookie the browser drops, the request is served, anonymously if it was ours", async () => {
    const { ask } = shop();
    const { cookie } = await ask(undefined, (session) => session.login("ada"));
    const jar = ["a=1", "theme=dark", cookie, "b=%E0%A4%A", "_ga=GA1.2.3"];
    for (const dropped of jar) {
      const left = jar.filter((entry) => entry !== dropped).join("; ");
      expect((await ask(left)).session.userId, dropped.slice(0, 12)).toBe(dropped === cookie ? undefined : "ada");
    }
  });
});

describe("the id is untrusted input", () => {
  it("ID-04: a well-formed id that was never issued is not adopted", async () => {
    const { ask, store, events } = shop();
    const sent = `${"A".repeat(22)}.${"B".repeat(43)}`;
    const answer = await ask(`${NAME}=${sent}`, (session) => {
      expect(session.isNew).toBe(true);
      session.data.n = 1;
    });
    expect(answer.token).toMatch(/^[\w-]{22}\.[\w-]{43}$/);
    expect(answer.token.slice(0, 22)).not.toBe(sent.slice(0, 22));
    expect(answer.token.slice(23)).not.toBe(sent.slice(23));
    expect(await store.read(sent.slice(0, 22) as never)).toBeUndefined();
    expect(events.map(({ type }) => type)).toEqual(["unknownToken", "created"]);

    // Nor is the id of a living session with another secret.
    const guess = await ask(`${NAME}=${answer.token.slice(0, 22)}.${"B".repeat(43)}`, sets(2));
    expect(guess.token.slice(0, 22)).not.toBe(answer.token.slice(0, 22));
    expect((await ask(answer.cookie)).session.data.n).toBe(1);
  });

  it("ID-05: 10,000 hostile values never reach the store, never throw, and are anonymous", async () => {
    const { ask, store, events } = shop();
    const good = (await ask(undefined, sets(1))).token;
    const calls = store.calls();
    const char = fc.constantFrom(...".-_AZaz09 ;,=\"'\\/%<>&\u0000\r\n\t\u00e9\u2028\ud83d\ude00\ufeff'");
    const hostile = fc.oneof(
      fc.string({ maxLength: 200 }),
      fc.string({ unit: "binary", maxLength: 100 }),
      fc.string({ unit: char, minLength: 60, maxLength: 70 }),
      fc
        .tuple(fc.nat(65), char)
        .map(([at, c]) => (c === good[at] || /[\w-]/.test(c) ? "" : good.slice(0, at) + c + good.slice(at + 1))),
      fc.nat(65).map((length) => good.slice(0, length)),
      fc.constantFrom(
        `${good}\u0000`,
        `\u0000${good}`,
        `${good}.`,
        `${good}A`,
        `${good}${good}`,
        good.replace(".", ""),
        good.replace(".", ".."),
        good.replace(".", ":"),
        good.replace(".", "%2E"),
        `s:${good}`,
        "../../../etc/passwd",
        "' OR '1'='1' --",
        "__proto__",
        "constructor",
        "undefined",
        "null",
        "NaN",
        "[object Object]",
        "*",
        `${"*".repeat(22)}.${"*".repeat(43)}`,
        `sess:${good}`,
        "x".repeat(8000),
        `${"A".repeat(21)}\n.${"B".repeat(43)}`,
        `${"A".repeat(22)}.${"B".repeat(42)}\n`,
      ),
    );
    let tried = 0;
    await fc.assert(
      fc.asyncProperty(hostile, async (value) => {
        // A semicolon ends the value.
        const { session, line } = await ask(`${NAME}=${value.replaceAll(";", "")}`);
        expect([session.isNew, session.userId, line]).toEqual([true, undefined, undefined]);
        tried++;
      }),
      { numRuns: 10_000 },
    );
    expect(tried).toBe(10_000);
    expect(store.calls()).toBe(calls);
    expect(events.filter(({ type }) => type !== "created" && type !== "malformedToken")).toEqual([]);
  });

  it("ID-05: 1 MB in the place of an id reaches neither the store nor the handler", async () => {
    const { sessions, store, ask } = shop();
    await expect(ask(`${NAME}=${"A".repeat(1_048_576)}`)).rejects.toMatchObject({ status: 431 });
    const bare = { ...cookieTransport(), read: () => ({ kind: "token", text: "A".repeat(1_048_576) }) as const };
    const other = createSessions<Visit>({ store, transport: bare });
    expect((await visit(other)).session.isNew).toBe(true);
    expect(store.calls()).toBe(0);
    await sessions.close();
  });

  it("ID-06: a valid id anywhere but in its cookie is nothing, and the client's idea of its end does not count", async () => {
    const { sessions, ask, clock } = shop();
    const { cookie, token } = await ask(undefined, (session) => session.login("ada"));
    for (const headers of [
      { "x-session-id": token },
      { authorization: `Bearer ${token}` },
      { "x-coatcheck": token },
      { "session-token": token },
      { referer: `https://shop.example/?sid=${token}` },
      { cookie: `sid=${token}` },
      { cookie: `__Host-sid=${token}` },
      { cookie: `__host-http-sid=${token}` },
      { cookie: `x=${NAME}=${token}` },
      { cookie2: `${NAME}=${token}` },
    ])
      expect((await visit(sessions, { headers })).session.userId, Object.keys(headers)[0]).toBeUndefined();
    await clock.advance(hours(12));
    expect(
      (await ask(`${cookie}; Max-Age=99999999; Expires=Fri, 31 Dec 2099 23:59:59 GMT`)).session.userId,
    ).toBeUndefined();
  });

  it("ID-09: two cookies with the session's name make the request anonymous in either order", async () => {
    const { ask, events, store } = shop();
    const ada = await ask(undefined, (session) => session.login("ada"));
    const eve = await ask(undefined, (session) => session.login("eve"));
    events.length = 0;
    const calls = store.calls();
    for (const pair of [
      [ada.cookie, eve.cookie],
      [eve.cookie, ada.cookie],
      [ada.cookie, ada.cookie],
      [ada.cookie, `${NAME}=`],
    ]) {
      const { session, line } = await ask(pair.join("; "));
      expect(session.userId).toBeUndefined();
      expect(line).toBe(clear({}));
    }
    expect(store.calls()).toBe(calls);
    expect(events.map(({ type }) => type)).toEqual(Array(4).fill("duplicateCookie"));
    expect((await ask(ada.cookie)).session.userId).toBe("ada");
  });

  it("ID-09: a request with two session cookies that starts a session sends that one, not the deletion", async () => {
    const { ask } = shop();
    const { line, cookie } = await ask(`${NAME}=a; ${NAME}=b`, (session) => session.login("ada"));
    expect(line).not.toContain("Max-Age=0");
    expect((await ask(cookie)).session.userId).toBe("ada");
  });

  it("ID-08: the public id opens nothing, alone or with anything public as its secret", async () => {
    const { ask, store } = shop();
    const { session, token } = await ask(undefined, (session) => session.login("ada"));
    const record = await store.read(session.id);
    expect(token).toContain(session.id);
    for (const value of [
      session.id,
      `${session.id}.`,
      `${session.id}.${record?.secretHash}`,
      `${session.id}.${session.id}${session.id.slice(0, 21)}`,
      `${record?.secretHash}`,
    ])
      expect((await ask(`${NAME}=${value}`)).session.userId).toBeUndefined();
  });

  it("ID-08: lists, events and the session's own texts name the public id and never the secret or its hash", async () => {
    const { ask, store, sessions, events } = shop();
    const { session, token } = await ask(undefined, (session) => session.login("ada"));
    await ask(`${NAME}=${session.id}.${"A".repeat(43)}`);
    const record = await store.read(session.id);
    const shown = JSON.stringify([await sessions.forUser("ada").list({ by: session }), events, session]);
    expect(shown).toContain(session.id);
    expect(shown).not.toContain(token.slice(23));
    expect(shown).not.toContain(record?.secretHash);
  });
});

describe("the token is the only thing the client holds", () => {
  it("CK-17: any changed character makes it worthless", async () => {
    const { ask } = shop();
    const { cookie, token } = await ask(undefined, (session) => session.login("ada"));
    for (let at = 0; at < token.length; at++) {
      const flipped = token[at] === "A" ? "B" : "A";
      const other = token.slice(0, at) + flipped + token.slice(at + 1);
      expect(other).not.toBe(token);
      expect((await ask(`${NAME}=${other}`)).session.userId, `character ${at}`).toBeUndefined();
    }
    // The last characters carry unused bits: another spelling of the same bytes is another text, and opens nothing.
    const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const sibling = (text: string) => text.slice(0, -1) + alphabet[alphabet.indexOf(text.at(-1) ?? "") ^ 1];
    for (const other of [sibling(token), sibling(token.slice(0, 22)) + token.slice(22)]) {
      expect(Buffer.from(other.slice(23), "base64url")).toEqual(Buffer.from(token.slice(23), "base64url"));
      expect((await ask(`${NAME}=${other}`)).session.userId).toBeUndefined();
    }
    expect((await ask(cookie)).session.userId).toBe("ada");
  });

  it("CK-17: halves of two tokens do not make one", async () => {
    const { ask } = shop();
    const ada = (await ask(undefined, (session) => session.login("ada"))).token;
    const eve = (await ask(undefined, (session) => session.login("eve"))).token;
    for (const token of [ada.slice(0, 22) + eve.slice(22), eve.slice(0, 22) + ada.slice(22)])
      expect((await ask(`${NAME}=${token}`)).session.userId).toBeUndefined();
  });

  it("CK-17: a copy from before logout, login, elevation or renewal is worthless, and the new one works", async () => {
    const changes: [
      string,
      (session: Parameters<NonNullable<Parameters<typeof visit<Visit>>[2]>>[0]) => Promise<void>,
      boolean,
    ][] = [
      ["login", (session) => session.login("ada"), true],
      ["elevate", (session) => session.elevate({ methods: ["otp"] }), true],
      ["renew", (session) => session.renew(), true],
      ["logout", (session) => session.logout(), false],
      ["destroy", (session) => session.destroy(), false],
    ];
    for (const [name, change, lives] of changes) {
      const { ask } = shop();
      const before = await ask(undefined, (session) => session.login("ada"));
      const after = await ask(before.cookie, change);
      expect((await ask(before.cookie)).session.userId, name).toBeUndefined();
      expect((await ask(after.cookie)).session.userId, name).toBe(lives ? "ada" : undefined);
    }
  });

  it("CK-17: one name's cookie is not taken for another's", async () => {
    const store = watchedStore();
    const shopSessions = createSessions<Visit>({ store, cookie: { name: "__Host-shop" } });
    const { token } = await visit(shopSessions, {}, (session) => session.login("ada"));
    const headers = { cookie: `__Host-admin=${token}` };
    expect((await visit(shopSessions, { headers })).session.userId).toBeUndefined();
  });
});

describe("plain HTTP", () => {
  afterEach(() => vi.unstubAllEnvs());

  it("CK-19: over plain HTTP no credential is issued; the error says what to do; nothing is stored", async () => {
    const { sessions, store } = shop();
    for (const host of [
      "shop.example",
      "10.0.0.1:8080",
      "localhost.evil.example",
      "127.0.0.1.evil.example",
      "notlocalhost",
      "",
    ]) {
      for (const change of [sets(1), (session: { login(user: string): Promise<void> }) => session.login("ada")]) {
        const error = await visit(sessions, { secure: false, host }, change as never).catch((e: unknown) => e);
        expect(error, host).toBeInstanceOf(InsecureTransportError);
        expect((error as Error).message).toMatch(/HTTPS.*trust proxy.*http:\/\/localhost/s);
      }
    }
    expect(store.calls("create")).toBe(0);
    // Reading is harmless, so that a health check or a redirect to HTTPS works.
    expect((await visit(sessions, { secure: false })).line).toBeUndefined();
  });

  it("CK-19: on a loopback address outside production the cookie is a plain sid", async () => {
    const { sessions } = shop();
    for (const host of [
      "localhost",
      "localhost:3000",
      "shop.localhost:3000",
      "127.0.0.1",
      "127.8.9.1:80",
      "[::1]:3000",
    ]) {
      const { line, cookie } = await visit(sessions, { secure: false, host }, (session) => session.login("ada"));
      expect(line).toMatch(/^sid=[\w.-]{66}; Path=\/; HttpOnly; SameSite=Lax$/);
      const again = await visit(sessions, { secure: false, host, headers: { cookie } });
      expect(again.session.userId).toBe("ada");
    }
    expect(
      cookieTransport({ name: "__Host-" }).write(facts({ secure: false, host: "localhost" }), "t", 0).cookies[0]?.name,
    ).toBe("sid");
  });

  it("CK-19: in production loopback is no exception", async () => {
    vi.stubEnv("NODE_ENV", "production");
    const { sessions } = shop();
    await expect(
      visit(sessions, { secure: false, host: "localhost:3000" }, (session) => session.login("ada")),
    ).rejects.toBeInstanceOf(InsecureTransportError);
  });

  it("CK-19: the plain cookie of development is nothing on a real site", async () => {
    const { sessions } = shop();
    const { cookie } = await visit(sessions, { secure: false, host: "localhost" }, (session) => session.login("ada"));
    expect((await visit(sessions, { headers: { cookie } })).session.userId).toBeUndefined();
  });
});

describe("CK-16", () => {
  it("CK-16: no Set-Cookie and no store call for a visitor who changes nothing, nor for any of 100 parallel ones", async () => {
    const { ask, store } = shop();
    const answers = await Promise.all(
      Array.from({ length: 100 }, () => ask(undefined, (session) => void session.data.cart)),
    );
    expect(answers.filter(({ line }) => line !== undefined)).toEqual([]);
    expect(store.calls()).toBe(0);

    const { cookie } = await ask(undefined, sets(1));
    const reads = await Promise.all(Array.from({ length: 100 }, () => ask(cookie, (session) => void session.data.n)));
    expect(reads.filter(({ line }) => line !== undefined)).toEqual([]);
    expect([store.calls("create"), store.calls("read"), store.calls()]).toEqual([1, 100, 101]);
  });

  it("CK-16: activity is written down without a new cookie", async () => {
    const { ask, store, clock } = shop();
    const { cookie } = await ask(undefined, sets(1));
    await clock.advance(minutes(2));
    expect((await ask(cookie)).line).toBeUndefined();
    expect(store.calls("touch")).toBe(1);
  });
});

describe("the random generator", () => {
  afterEach(() => vi.restoreAllMocks());

  it("ID-01: 100,000 secrets are unique, 32 bytes each, and no bit is biased", async () => {
    const { newSecret, newSessionId } = await import("../../src/session/token.ts");
    const count = 100_000;
    const seen = new Set<string>();
    const values = new Uint32Array(32 * 256);
    for (let i = 0; i < count; i++) {
      const secret = newSecret();
      seen.add(secret);
      const bytes = Buffer.from(secret, "base64url");
      if (bytes.length !== 32 || secret.length !== 43) throw new Error("not 32 bytes");
      for (let at = 0; at < 32; at++) {
        const i = at * 256 + (bytes[at] as number);
        values[i] = (values[i] as number) + 1;
      }
    }
    const ones = new Uint32Array(256);
    for (const [i, n] of values.entries())
      for (let bit = 0; bit < 8; bit++)
        if ((i >> bit) & 1) ones[(i >> 8) * 8 + bit] = (ones[(i >> 8) * 8 + bit] as number) + n;
    expect(seen.size).toBe(count);
    // Each bit's chi-square has one degree of freedom. 256 bits: 27 is passed by chance once in 20,000 runs.
    const expected = count / 2;
    for (const [bit, n] of ones.entries()) expect((2 * (n - expected) ** 2) / expected, `bit ${bit}`).toBeLessThan(27);
    const sum = [...ones].reduce((total, n) => total + (2 * (n - expected) ** 2) / expected, 0);
    expect(sum).toBeGreaterThan(256 - 6 * Math.sqrt(512));
    expect(sum).toBeLessThan(256 + 6 * Math.sqrt(512));
    const ids = new Set(Array.from({ length: count }, newSessionId));
    expect(ids.size).toBe(count);
    expect([...ids].every((id) => /^[\w-]{22}$/.test(id))).toBe(true);
  });

  it("ID-01: the token is exactly the generator's bytes: nothing of user, time or counter is in it", async () => {
    let next = 0;
    const given: number[][] = [];
    vi.spyOn(globalThis.crypto, "getRandomValues").mockImplementation(((bytes: Uint8Array) => {
      for (let i = 0; i < bytes.length; i++) bytes[i] = (next * 7 + i * 31) & 255;
      next++;
      given.push([...bytes]);
      return bytes;
    }) as never);
    const { ask } = shop();
    const { token } = await ask(undefined, (session) => session.login("ada"));
    const [id, secret] = token.split(".").map((part) => [...Buffer.from(part, "base64url")]);
    expect(given).toContainEqual(id);
    expect(given).toContainEqual(secret);
    expect([id?.length, secret?.length]).toEqual([16, 32]);
  });

  it("ID-01: a generator that throws or returns too little means no session and no Set-Cookie, not a weaker one", async () => {
    for (const broken of [
      () => {
        throw new Error("no entropy");
      },
      () => new Uint8Array(8),
    ]) {
      const { sessions, store } = shop();
      const exchange = await sessions.open(facts());
      exchange.session.data.n = 1;
      const spy = vi.spyOn(globalThis.crypto, "getRandomValues").mockImplementation(broken as never);
      await expect(exchange.commit()).rejects.toThrow(/no entropy|too few/);
      await expect(exchange.session.login("ada")).rejects.toThrow(/no entropy|too few/);
      expect(exchange.responseChanges()).toEqual({ cookies: [], headers: [] });
      expect(store.calls("create")).toBe(0);
      spy.mockRestore();
    }
  });

  it("ID-01: no code makes up randomness, and none but the clock asks for the time", () => {
    const root = fileURLToPath(new URL("../../src", import.meta.url));
    const files = readdirSync(root, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".ts"));
    expect(files.length).toBeGreaterThan(20);
    for (const file of files) {
      const text = readFileSync(join(root, file), "utf8");
      const code = text.replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, "");
      expect(code, file).not.toMatch(/\bperformance\.now|hrtime/);
      // Tells tabs apart that ask for a lock at the same time. It is no credential.
      if (file !== join("browser", "locks.ts")) expect(code, file).not.toMatch(/Math\.random/);
      // A UUID may name an access token, which is signed. It is no credential.
      if (file !== join("session", "crypto.ts")) expect(code, file).not.toMatch(/randomUUID/);
      if (file !== join("tokens", "access-token.ts")) expect(code, file).not.toMatch(/randomUuid\(/);
      if (file === join("session", "clock.ts")) continue;
      expect(code, file).not.toMatch(/Date\.now/);
      // The drop-in writes the time of day into its messages, as the original does.
      if (!file.includes("express-session")) expect(code, file).not.toMatch(/new Date\(\s*\)/);
    }
  });
});
