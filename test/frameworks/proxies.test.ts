import { createSessions, InsecureTransportError, type Sessions } from "coatcheck";
import { sessionMiddleware, sessionOf } from "coatcheck/express";
import { type TrustProxy, withSession } from "coatcheck/node";
import express5 from "express";
import express4 from "express4";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { trustedProxies } from "../../src/frameworks/node-request.ts";
import { http1, http2Tls, type Listener, type Sending, type Served } from "./servers.ts";
import { TestClock, type UnreliableStore, type Visit, watchedStore } from "./support.ts";

const SECURE = /^__Host-Http-sid=[\w.-]{66}; Path=\/; Secure; HttpOnly; SameSite=Lax$/;
const behindProxy = { host: "shop.example", "x-forwarded-proto": "https" };

/** Each adapter with a way to say whom to trust: nobody, or whoever connects from this machine. */
const ways: [name: string, listener: (sessions: Sessions<Visit>, trust: boolean) => Listener][] = [
  [
    "node:http",
    (sessions, trust) =>
      withSession(
        sessions,
        async (request, response, session) => {
          if (request.method === "POST") await session.login("ada");
          response.end(String(session.userId));
        },
        trust ? { trustProxy: ["loopback"] } : {},
      ),
  ],
  ...(
    [
      ["Express 4", express4 as unknown as typeof express5],
      ["Express 5", express5],
    ] as const
  ).map(([name, create]): (typeof ways)[number] => [
    name,
    (sessions, trust) => {
      const app = create();
      app.set("env", "test");
      if (trust) app.set("trust proxy", "loopback");
      app.use(sessionMiddleware(sessions));
      app.use((req, res, next) => {
        const session = sessionOf(sessions, req);
        Promise.resolve(req.method === "POST" ? session.login("ada") : undefined)
          .then(() => res.send(String(session.userId)))
          .catch(next);
      });
      return app as unknown as Listener;
    },
  ]),
];

for (const [name, listenerOf] of ways)
  describe(`${name} behind a proxy`, () => {
    let store: UnreliableStore;
    let served: Served;
    let warnings: unknown[];
    beforeEach(() => {
      warnings = [];
      vi.spyOn(console, "error").mockImplementation((...given) => void warnings.push(...given));
    });
    afterEach(async () => {
      vi.restoreAllMocks();
      await served.close();
    });

    async function serve(trust: boolean): Promise<void> {
      store = watchedStore();
      const sessions = createSessions<Visit>({ store, clock: new TestClock() });
      served = await http1(listenerOf(sessions, trust));
    }
    // The Host header of a real site, as a proxy passes it on.
    const ask = (headers: Record<string, string>, sending: Sending = {}) => {
      const { host = "shop.example", ...rest } = headers;
      return served.send("/", { method: "POST", ...sending, headers: rest, host }).whole;
    };

    it("CK-19: X-Forwarded-Proto of a peer that is not trusted counts for nothing: no cookie, no record, a clear error", async () => {
      await serve(false);
      for (const headers of [
        behindProxy,
        { ...behindProxy, "x-forwarded-ssl": "on", forwarded: "proto=https" },
        { host: "shop.example" },
      ]) {
        const answer = await ask(headers);
        expect([answer.status, answer.cookies]).toEqual([500, []]);
        expect(answer.text).not.toContain("ada");
      }
      expect(store.calls("create")).toBe(0);
      if (name === "node:http") {
        expect(warnings).toEqual(Array(3).fill(expect.any(InsecureTransportError)));
        expect(String(warnings[0])).toMatch(/plain HTTP to "shop\.example".*trustProxy/s);
      }
    });

    it("CK-19: a proxy that is trusted makes the cookie Secure, and plain HTTP at the proxy is refused", async () => {
      await serve(true);
      const answer = await ask(behindProxy);
      expect([answer.status, answer.text]).toEqual([200, "ada"]);
      expect(answer.cookies).toEqual([expect.stringMatching(SECURE)]);
      const cookie = answer.cookies[0]?.split(";")[0] ?? "";
      expect((await ask({ ...behindProxy, cookie }, { method: "GET" })).text).toBe("ada");
      for (const proto of ["http", "", "ftp"]) {
        const plain = await ask({ ...behindProxy, "x-forwarded-proto": proto });
        expect([plain.status, plain.cookies], proto).toEqual([500, []]);
      }
    });

    it("CS-02: an Origin with a port is compared with the host the client asked for, port included", async () => {
      await serve(true);
      for (const [origin, status] of [
        ["https://shop.example", 403],
        ["https://shop.example:8443", 200],
        ["https://SHOP.example:8443", 200],
        ["https://shop.example:8444", 403],
        ["http://shop.example:8443", 403],
        ["null", 403],
      ] as const) {
        const direct = await ask({ host: "shop.example:8443", "x-forwarded-proto": "https", origin });
        expect(direct.status, `${origin} to Host`).toBe(status);
        const forwarded = await ask({
          host: "internal:80",
          "x-forwarded-proto": "https",
          "x-forwarded-host": "shop.example:8443",
          origin,
        });
        expect(forwarded.status, `${origin} to X-Forwarded-Host`).toBe(status);
      }
    });

    it("CS-02: X-Forwarded-Host of a peer that is not trusted does not make an origin one's own", async () => {
      await serve(false);
      const origin = "http://evil.example";
      const answer = await ask({ host: "localhost", "x-forwarded-host": "evil.example", origin });
      expect([answer.status, answer.cookies]).toEqual([403, []]);
      expect((await ask({ host: "localhost:1234", origin: "http://localhost:1234" })).status).toBe(200);
      expect((await ask({ host: "localhost:1234", origin: "http://localhost" })).status).toBe(403);
    });

    it("CC-06: the device is the client's network, not the proxy's, and what is no address is left out", async () => {
      await serve(true);
      const recorded = async (chain: string) => {
        const { cookies } = await ask({ ...behindProxy, "x-forwarded-for": chain });
        const id = cookies[0]?.split(/[=.]/)[1] ?? "";
        return (await store.read(id as never))?.meta.device?.ip;
      };
      expect(await recorded("198.51.100.23")).toBe("198.51.100.0");
      // What the client claims to be lies left of what the nearest trusted proxy saw.
      expect(await recorded("203.0.113.9, 198.51.100.23")).toBe("198.51.100.0");
      expect(await recorded("2001:db8:1:2:3:4:5:6")).toBe("2001:db8:1::");
      for (const odd of ["fe80::1%eth0", "unknown", "_hidden", "<script>", "1.2.3.4.5", "::ffff:1.2.3.4:80", ",,,"])
        expect(await recorded(odd).catch(() => "an error"), odd).not.toBe("an error");
    });
  });

describe("trustedProxies", () => {
  it("CK-19: trusts exactly the addresses and ranges it was given", () => {
    const cases: [TrustProxy, yes: string[], no: string[]][] = [
      [[], [], ["127.0.0.1", "::1", "10.0.0.1"]],
      [
        ["loopback"],
        ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"],
        ["128.0.0.1", "::2", "10.0.0.1", "127.0.0.1.evil"],
      ],
      [["10.0.0.0/8"], ["10.0.0.1", "10.255.255.255", "::ffff:10.1.2.3"], ["11.0.0.0", "9.255.255.255", "::10.0.0.1"]],
      [["10.0.0.5"], ["10.0.0.5"], ["10.0.0.6", "10.0.0.50"]],
      [
        ["fd00::/8", "192.168.1.0/24"],
        ["fd12::1", "192.168.1.77", "fd00::1%eth0"],
        ["fe00::1", "192.168.2.1"],
      ],
      [(address) => address === "x", ["x"], ["y"]],
    ];
    for (const [trust, yes, no] of cases) {
      const trusts = trustedProxies(trust);
      for (const address of yes) expect(trusts(address), `${trust} ${address}`).toBe(true);
      for (const address of [...no, "", "unknown", undefined])
        expect(trusts(address), `${trust} ${address}`).toBe(false);
    }
  });

  it("CK-19: a typing error does not become trust in everybody", () => {
    for (const entry of [
      "10.0.0.0/",
      "10.0.0.0/33",
      "::/129",
      "10.0.0.0/8/9",
      "10.0.0.0/x",
      "10.0.0",
      "proxy.internal",
      "",
      "*",
      "/8",
    ])
      expect(() => trustedProxies([entry]), entry).toThrow(TypeError);
  });
});

describe("TLS", () => {
  it("CK-19: a connection that is encrypted itself needs no header, and none can take that away", async () => {
    const store = watchedStore();
    const sessions = createSessions<Visit>({ store, clock: new TestClock() });
    const served = await http2Tls(
      withSession(sessions, async (_request, response, session) => {
        await session.login("ada");
        response.end();
      }),
    );
    for (const headers of [{}, { "x-forwarded-proto": "http" }]) {
      const { cookies } = await served.send("/", { method: "POST", headers }).whole;
      expect(cookies).toEqual([expect.stringMatching(SECURE)]);
    }
    await served.close();
  });
});
