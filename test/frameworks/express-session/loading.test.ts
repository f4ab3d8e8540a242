import { createHmac } from "node:crypto";
import { expect, it, vi } from "vitest";
import { type Answer, everywhere, type Handler, idIn, SECRET, sessionsIn, type Untyped, watched } from "./support.ts";

const counter: Handler = (request, response) => {
  request.session.n = (request.session.n ?? 0) + 1;
  response.end(`n=${request.session.n}`);
};

const cookieOf = (id: string, name = "connect.sid", secret = SECRET) => {
  const signature = createHmac("sha256", secret).update(id).digest("base64").replace(/=+$/, "");
  return `${name}=${encodeURIComponent(`s:${id}.${signature}`)}`;
};

everywhere("which session a request has", ({ session, kind, serve }) => {
  it("gives a visitor without a cookie a new session, and its id in a signed cookie", async () => {
    const store = new session.MemoryStore();
    const served = await serve({ store }, counter);
    const answer = await served.get();
    expect(answer.body).toBe("n=1");
    expect(answer.setCookie?.name).toBe("connect.sid");
    const id = idIn(answer) as string;
    expect(id).toMatch(/^[\w-]{32}$/);
    expect(answer.cookie).toBe(cookieOf(id));
    expect(Object.keys(await sessionsIn(store))).toEqual([id]);
  });

  it("gives whoever brings the cookie back the same session", async () => {
    const served = await serve({}, counter);
    const first = await served.get();
    expect((await served.get("/", first.cookie)).body).toBe("n=2");
    expect((await served.get("/", first.cookie)).body).toBe("n=3");
  });

  it("finds its cookie among others, with spaces around it, and decodes it", async () => {
    const served = await serve({}, counter);
    const { cookie } = await served.get();
    const [name, value] = String(cookie).split("=");
    for (const header of [
      `a=b; ${cookie}; c=d`,
      `xconnect.sid=1; ${cookie}`,
      `connect.sidx=1;${cookie};`,
      `broken; ${name} = ${value} ; e=%ff`,
      `${name}="${value}"`,
      `${name}=${decodeURIComponent(String(value))}`,
    ])
      expect((await served.get("/", header)).body).not.toBe("n=1");
  });

  it("takes the first of two cookies of its name", async () => {
    const served = await serve({}, counter);
    const [first, second] = [await served.get(), await served.get()];
    await served.get("/", first.cookie);
    expect((await served.get("/", `${first.cookie}; ${second.cookie}`)).body).toBe("n=3");
  });

  it("gives two visitors two sessions", async () => {
    const store = new session.MemoryStore();
    const served = await serve({ store }, counter);
    const answers = await Promise.all([served.get(), served.get()]);
    expect(answers.map(({ body }) => body)).toEqual(["n=1", "n=1"]);
    expect(Object.keys(await sessionsIn(store))).toHaveLength(2);
  });

  it("takes an id that the store does not have for nobody's, and gives a new one", async () => {
    const served = await serve({}, counter);
    const answer = await served.get("/", cookieOf("an-id-that-nobody-has"));
    expect(answer.body).toBe("n=1");
    expect(idIn(answer)).not.toBe("an-id-that-nobody-has");
  });

  it.each([
    ["without a signature", (cookie: string) => cookie.replace(/\.[^.]*$/, "")],
    ["with a signature that is not right", (cookie: string) => cookie.replace(/..$/, "")],
    ["with an id that was not signed", (cookie: string) => cookie.replace("s%3A", "s%3Ax")],
    ["without the mark of signed values", (cookie: string) => cookie.replace("s%3A", "")],
    ["that is empty", () => "connect.sid="],
    ["that is only the mark", () => "connect.sid=s%3A"],
    ["that is no text of URLs", () => "connect.sid=s%3A%ff"],
  ])("does not ask the store for the id of a cookie %s", async (_, spoil) => {
    const store = watched(new session.MemoryStore());
    const served = await serve({ store }, counter);
    const first = await served.get();
    const answer = await served.get("/", spoil(String(first.cookie)));
    expect(answer.body).toBe("n=1");
    expect(idIn(answer)).not.toBe(idIn(first));
    expect(store.calls.get).toBe(0);
  });

  it("gives the application an error of the store, and no session", async () => {
    const store = new session.MemoryStore();
    const served = await serve({ store }, counter);
    const { cookie } = await served.get();
    store.get = (_id, callback) => callback(new Error("the store is down"));
    const answer = await served.get("/", cookie);
    expect(answer).toMatchObject({ status: 500, body: "the store is down", setCookies: [] });
  });

  it("takes an error with the code ENOENT for a session that is not there", async () => {
    const store = new session.MemoryStore();
    const served = await serve({ store }, counter);
    const { cookie } = await served.get();
    store.get = (_id, callback) => callback(Object.assign(new Error("no such file"), { code: "ENOENT" }));
    expect(await served.get("/", cookie)).toMatchObject({ status: 200, body: "n=1" });
  });

  it("gives the application an error for a stored session without a cookie", async () => {
    const store = new session.MemoryStore();
    const served = await serve({ store }, counter);
    const first = await served.get();
    await new Promise<void>((done) => store.set(idIn(first) as string, { n: 7 } as Untyped, () => done()));
    const answer = await served.get("/", first.cookie);
    expect(answer.status).toBe(500);
    expect(answer.body).toMatch(/^Cannot read prop/);
  });

  it("does not let stored data replace the methods, the id and the request of a session", async () => {
    const store = new session.MemoryStore();
    const served = await serve({ store }, (request, response) => {
      request.session.n ??= 1;
      const { id, req, save } = request.session;
      response.end(JSON.stringify([id === request.sessionID, req === request, typeof save]));
    });
    const first = await served.get();
    const id = idIn(first) as string;
    const text = store as unknown as { sessions: Record<string, string> };
    text.sessions[id] = text.sessions[id]?.replace(/}$/, ',"save":"no","id":"no","req":"no"}') as string;
    expect(await served.get("/", first.cookie)).toMatchObject({ status: 200, body: '[true,true,"function"]' });
  });

  it("ends a session when its time is over, and removes it from the store", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    try {
      const store = new session.MemoryStore();
      const served = await serve({ store, cookie: { maxAge: 5000 } }, counter);
      const first = await served.get();
      vi.advanceTimersByTime(4999);
      expect((await served.get("/", first.cookie)).body).toBe("n=2");
      vi.advanceTimersByTime(5000);
      const late = await served.get("/", first.cookie);
      expect(late.body).toBe("n=1");
      expect(idIn(late)).not.toBe(idIn(first));
      expect(Object.keys(await sessionsIn(store))).toEqual([idIn(late)]);
    } finally {
      vi.useRealTimers();
    }
  });

  it("leaves a request alone that has a session", async () => {
    const before: Handler = (request, _response, next) => {
      request.session = { mine: true };
      next();
    };
    const served = await serve(
      { saveUninitialized: true },
      { before, handler: (request, response) => response.end(JSON.stringify(request.session)) },
    );
    expect(await served.get()).toMatchObject({ body: '{"mine":true}', setCookies: [] });
  });

  it("counts once when it is mounted twice", async () => {
    const store = watched(new session.MemoryStore());
    const again = session({ secret: SECRET, resave: false, saveUninitialized: false, store }) as Handler;
    const served = await serve({ store }, { between: [again], handler: counter });
    const { cookie } = await served.get();
    store.calls.set = 0;
    const answer = await served.get("/", cookie);
    expect(answer.body).toBe("n=2");
    expect(store.calls).toMatchObject({ get: 1, set: 1 });
  });

  it("has no session while the store says that it is disconnected, and one when it is connected again", async () => {
    const store = new session.MemoryStore();
    const served = await serve({ store, saveUninitialized: true }, (request, response) =>
      response.end(typeof request.session),
    );
    store.emit("disconnect");
    expect(await served.get()).toMatchObject({ body: "undefined", setCookies: [] });
    store.emit("connect");
    expect((await served.get()).body).toBe("object");
  });

  it.runIf(kind === "node:http")("serves a request whose URL is empty", async () => {
    const before: Handler = (request, _response, next) => {
      request.url = "";
      next();
    };
    const served = await serve({}, { before, handler: counter });
    expect(await served.get()).toMatchObject({ status: 200, body: "n=1", setCookie: { name: "connect.sid" } });
  });

  it("works without a response to write to, as for a WebSocket's upgrade", async () => {
    const store = new session.MemoryStore();
    const options = { secret: SECRET, resave: false, saveUninitialized: false, store };
    const served = await serve({ store }, counter);
    const { cookie } = await served.get();
    const request = { url: "/socket", method: "GET", headers: { cookie }, connection: {}, socket: {} } as Untyped;
    await new Promise<void>((resolve, reject) => {
      (session(options) as Handler)(request, {} as Untyped, (error) => (error ? reject(error) : resolve()));
    });
    expect(request.session.n).toBe(1);
    request.session.n = 5;
    await new Promise<void>((done) => request.session.save(done));
    expect((await served.get("/", cookie)).body).toBe("n=6");
  });
});

everywhere("what cookie-parser has read", ({ serve }) => {
  const parsed =
    (given: (request: Untyped, cookie: string) => void): Handler =>
    (request, _response, next) => {
      const { cookie } = request.headers;
      if (cookie !== undefined) given(request, decodeURIComponent(cookie.slice("connect.sid=".length)));
      request.headers.cookie = "other=1";
      next();
    };
  const twice = async (before: Handler): Promise<Answer> => {
    const served = await serve({}, { before, handler: counter });
    const first = await served.get();
    return served.get("/", first.cookie);
  };

  it("takes the id from req.signedCookies when the header is gone", async () => {
    const before = parsed((request, value) => {
      request.signedCookies = { "connect.sid": value.slice(2).split(".")[0] };
    });
    expect((await twice(before)).body).toBe("n=2");
  });

  it("takes a signed value from req.cookies when the header is gone", async () => {
    const before = parsed((request, value) => {
      request.cookies = { "connect.sid": value };
    });
    expect((await twice(before)).body).toBe("n=2");
  });

  it("refuses from req.cookies what is not signed, or not right", async () => {
    const unsigned = parsed((request, value) => {
      request.cookies = { "connect.sid": value.slice(2).split(".")[0] };
    });
    const wrong = parsed((request, value) => {
      request.cookies = { "connect.sid": `${value}x` };
    });
    expect((await twice(unsigned)).body).toBe("n=1");
    expect((await twice(wrong)).body).toBe("n=1");
  });
});
