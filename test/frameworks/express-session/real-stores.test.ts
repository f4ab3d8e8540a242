import { expect, it } from "vitest";
import { describeRealStores } from "./real-store-kinds.ts";
import { genuine, type Handler, idIn, type Kind, kinds, lab, packages, type SessionPackage } from "./support.ts";

const [, { session }] = packages;

const app: Handler = (request, response, next) => {
  const done = (error?: unknown) => (error ? next(error) : response.end(JSON.stringify(request.session ?? null)));
  switch (request.url) {
    case "/read":
      return done();
    case "/login":
      return request.session.regenerate((error: unknown) => {
        if (error) return next(error);
        request.session.user = { name: "bob" };
        done();
      });
    case "/logout":
      return request.session.destroy(done);
    case "/reload":
      request.session.n = "forgotten";
      return request.session.reload(done);
    case "/short":
      request.session.cookie.maxAge = 60_000;
      request.session.short = true;
      return done();
    default:
      request.session.n = (request.session.n ?? 0) + 1;
      return done();
  }
};

/** What every store has to do, for applications and with sessions of the genuine package. */
describeRealStores((makeStore, name) => {
  const at = async (of: SessionPackage, kind: Kind = "Express 5") => {
    const store = makeStore(of);
    const served = await lab(of, kind).serve({ store, cookie: { maxAge: 3_600_000 } }, app);
    const get = async (path: string, cookie?: string) => {
      const answer = await served.get(path, cookie);
      expect([answer.status, served.errors]).toEqual([200, []]);
      return { ...answer, data: JSON.parse(answer.body) };
    };
    return { get, store };
  };

  it.each(kinds)("keeps sessions (%s)", async (kind) => {
    const { get } = await at(session, kind);
    const first = await get("/");
    expect(first.data.n).toBe(1);
    expect((await get("/", first.cookie)).data.n).toBe(2);
    const read = await get("/read", first.cookie);
    expect(read.data.n).toBe(2);
    expect(read.setCookies).toEqual([]);
    expect((await get("/reload", first.cookie)).data.n).toBe(2);
  });

  it("changes the id at login, and removes the session at logout", async () => {
    const { get } = await at(session);
    const first = await get("/");
    const login = await get("/login", first.cookie);
    expect(idIn(login)).not.toBe(idIn(first));
    expect((await get("/read", first.cookie)).data.n).toBeUndefined();
    expect((await get("/read", login.cookie)).data.user).toEqual({ name: "bob" });
    expect((await get("/logout", login.cookie)).data).toBeNull();
    expect((await get("/read", login.cookie)).data.user).toBeUndefined();
  });

  it("keeps what expires when, and prolongs it", async () => {
    const { get } = await at(session);
    const { cookie } = await get("/");
    await get("/short", cookie);
    const read = await get("/read", cookie);
    expect(read.data.cookie.originalMaxAge).toBe(60_000);
    expect(Date.parse(read.data.cookie.expires)).toBeLessThan(Date.now() + 60_001);
  });

  it("gives sessions with promises", async () => {
    const store = makeStore(session);
    const served = await lab(session, "Express 5").serve({ store }, async (request, response) => {
      request.session.n = 1;
      await request.session.save();
      await request.session.regenerate();
      request.session.n = 2;
      await request.session.save();
      await request.session.reload();
      response.end(`${request.session.n} ${request.session instanceof session.Session}`);
    });
    expect(await served.get()).toMatchObject({ status: 200, body: "2 true" });
  });

  it("shares sessions with the genuine package, both ways", async () => {
    const theirs = await at(genuine);
    const ours = await at(session);
    const login = await theirs.get("/login");
    expect((await ours.get("/read", login.cookie)).data.user).toEqual({ name: "bob" });
    expect((await ours.get("/", login.cookie)).data.n).toBe(1);
    expect((await theirs.get("/", login.cookie)).data).toMatchObject({ n: 2, user: { name: "bob" } });
    const back = await ours.get("/login");
    expect((await theirs.get("/read", back.cookie)).data.user).toEqual({ name: "bob" });
    await ours.get("/logout", back.cookie);
    expect((await theirs.get("/read", back.cookie)).data.user).toBeUndefined();
  });

  it("does not lose an addition with turns", async () => {
    const store = makeStore(session);
    const served = await lab(session, "Express 5").serve({ store, concurrency: "turns" }, app);
    const { cookie } = await served.get();
    await Promise.all(Array.from({ length: 20 }, () => served.send("/", { method: "POST", cookie })));
    expect(JSON.parse((await served.get("/read", cookie)).body).n).toBe(21);
  });

  it.runIf(name === "connect-redis")("expires with the cookie, also when nothing changed", async () => {
    const store = makeStore(session);
    const served = await lab(session, "Express 5").serve({ store, cookie: { maxAge: 3_600_000 } }, app);
    const first = await served.get();
    const key = `${store.prefix}${idIn(first)}`;
    await store.client.expire(key, 10);
    await served.get("/read", first.cookie);
    expect(await store.client.ttl(key)).toBeGreaterThan(3590);
  });
});
