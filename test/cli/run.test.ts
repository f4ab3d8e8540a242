import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createSessions, days, minutes, type SessionId } from "coatcheck";
import { openStore, type SessionRecord } from "coatcheck/stores";
import { signedInCookie, TestClock } from "coatcheck/testing";
import { createTokens, generateKey } from "coatcheck/tokens";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { run } from "../../src/cli/run.ts";

let folder: string;
let storeUrl: string;
let clock: TestClock;
let ids: SessionId[];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "coatcheck-cli-"));
  storeUrl = `sqlite:${join(folder, "sessions.db")}`;
  clock = new TestClock();
  const store = await openStore(storeUrl);
  const sessions = createSessions({ store, clock });
  for (const user of ["ada", "ada", "bob"]) await signedInCookie(sessions, user);
  ids = [];
  for await (const record of store.all()) ids.push(record.id);
  await sessions.close();
});

afterEach(() => rmSync(folder, { recursive: true }));

async function coatcheck(argv: string[], ask?: (question: string) => Promise<boolean>) {
  const out: string[] = [];
  const error: string[] = [];
  const surroundings = {
    out: (line: string) => out.push(line),
    error: (line: string) => error.push(line),
    progress: () => {},
    storeUrl,
    clock,
    ask,
  };
  const code = await run(argv, surroundings);
  return { code, out: out.join("\n"), error: error.join("\n") };
}

const idsOf = async (user?: string): Promise<string[]> =>
  JSON.parse((await coatcheck(["list", "--json", ...(user === undefined ? [] : ["--user", user])])).out).map(
    (found: { id: string }) => found.id,
  );

describe("coatcheck", () => {
  it("lists all sessions, or those of a user", async () => {
    expect((await idsOf()).sort()).toEqual([...ids].sort());
    expect(await idsOf("ada")).toHaveLength(2);
    const text = await coatcheck(["list", "--limit", "2"]);
    expect(text.out).toContain("2 shown");
    expect(text.out).toContain("live");
  });

  it("shows one session without its secret's hash and without the values of its data", async () => {
    const store = await openStore(storeUrl);
    const id = ids[0] as SessionId;
    const record = await store.read(id);
    await store.update(id, record?.version ?? 0, { set: new Map([["cart", '["secret hat"]']]) });
    await store.close?.();
    for (const argv of [["show", id], ["show", id, "--json"], ["list"], ["list", "--json"], ["stats"]]) {
      const { code, out } = await coatcheck(argv);
      expect(code).toBe(0);
      expect(out).not.toContain(record?.secretHash);
      expect(out).not.toContain("secret hat");
    }
    expect(JSON.parse((await coatcheck(["show", id, "--json"])).out)).toMatchObject({ id, dataBytes: { cart: 14 } });
  });

  it("does not let the text of users steer the terminal", async () => {
    const store = await openStore(storeUrl);
    const [record] = await store.listByUser("bob");
    const userId = "bob\u001b[2J\u009b2J\u202egnp";
    await store.update(record?.id as SessionId, record?.version as number, { userId });
    await store.close?.();
    for (const argv of [["list"], ["show", record?.id as string]]) {
      const { out } = await coatcheck(argv);
      expect(out).toContain("bob");
      expect(out).not.toMatch(/[^\P{C}\n]/u);
    }
  });

  it("answers 1 for a session that does not exist", async () => {
    expect((await coatcheck(["show", "A".repeat(22)])).code).toBe(1);
    expect((await coatcheck(["revoke", "A".repeat(22)])).code).toBe(1);
    expect((await coatcheck(["show", "../../etc"])).code).toBe(1);
  });

  it("ends one session without asking", async () => {
    expect((await coatcheck(["revoke", ids[0] as string])).out).toBe("1 ended");
    expect(await idsOf()).toHaveLength(2);
  });

  it("LO-09: ends the access tokens of what it ends, of a session, a user, everybody", async () => {
    const store = await openStore(storeUrl);
    const sessions = createSessions({ store, clock });
    const keys = generateKey("HS256");
    const tokens = createTokens({ sessions, keys, issuer: "https://shop.example", audience: "https://shop.example" });
    const isGood = (token: string) =>
      tokens.verify(token).then(
        () => true,
        () => false,
      );
    for (const [user, argv] of [
      ["ada", (id: string) => ["revoke", id]],
      ["bob", () => ["revoke", "--user", "bob", "--yes"]],
      ["eve", () => ["revoke", "--all", "--yes"]],
    ] as const) {
      const { accessToken, refreshToken } = await tokens.login(user);
      await clock.advance(1000);
      expect(await isGood(accessToken)).toBe(true);
      expect((await coatcheck(argv(refreshToken.split(".")[0] ?? ""))).code).toBe(0);
      // And are not forgotten where the sessions move to.
      const to = `sqlite:${join(folder, `${user}.db`)}`;
      expect((await coatcheck(["migrate", "--to", to])).code).toBe(0);
      const moved = await openStore(to);
      expect((await moved.revocations?.read(undefined))?.entries.length).toBeGreaterThan(0);
      await moved.close?.();
      await clock.advance(1000);
      expect(await isGood(accessToken)).toBe(false);
    }
    await sessions.close();
  });

  it("makes no file and no table by looking for one", async () => {
    for (const argv of [
      ["list", "--store", `sqlite:${join(folder, "typo.db")}`],
      ["list", "--name", "typo"],
      ["revoke", "--all", "--yes", "--name", "typo"],
    ])
      for (const _ of [1, 2])
        expect(await coatcheck(argv)).toMatchObject({
          code: 1,
          error: expect.stringMatching(/no such (table: typo|SQLite file)/),
        });
    expect(readdirSync(folder).filter((name) => name.startsWith("typo"))).toEqual([]);
  });

  it("asks before it ends several, and ends none when the answer is no", async () => {
    const asked: string[] = [];
    const ask = async (question: string) => asked.push(question) > 99;
    expect((await coatcheck(["revoke", "--user", "ada"], ask)).code).toBe(1);
    expect((await coatcheck(["revoke", "--all"], ask)).code).toBe(1);
    expect(asked).toEqual(["End 2 sessions of ada?", "End every session of everybody?"]);
    expect(await idsOf()).toHaveLength(3);
    expect((await coatcheck(["revoke", "--user", "ada"], async () => true)).out).toBe("2 ended");
  });

  it("counts sessions, and not the claim of the clean-up", async () => {
    const store = await openStore(storeUrl);
    const sessions = createSessions({ store, clock });
    await signedInCookie(sessions, "eve");
    await clock.advance(minutes(7));
    await sessions.close();
    expect((await coatcheck(["revoke", "--all", "--yes"])).out).toBe("4 ended");
  });

  it("refuses to end several when nobody can be asked, unless told --yes", async () => {
    expect((await coatcheck(["revoke", "--all"])).code).toBe(2);
    expect(await idsOf()).toHaveLength(3);
    expect((await coatcheck(["revoke", "--all", "--yes", "--json"])).out).toBe('{"revoked":3}');
    expect(await idsOf()).toHaveLength(0);
  });

  it("removes expired records and counts what is there", async () => {
    expect(JSON.parse((await coatcheck(["stats", "--json"])).out)).toMatchObject({ sessions: 3, live: 3, users: 2 });
    await clock.advance(days(1));
    expect(JSON.parse((await coatcheck(["stats", "--json"])).out)).toMatchObject({ live: 0, expired: 3 });
    expect((await coatcheck(["prune"])).out).toBe("3 removed");
    expect(await idsOf()).toHaveLength(0);
  });

  it("moves sessions to another store, and can be run again", async () => {
    const to = `sqlite:${join(folder, "other.db")}`;
    expect(JSON.parse((await coatcheck(["migrate", "--to", to, "--json"])).out)).toEqual({ moved: 3, expired: 0 });
    expect(JSON.parse((await coatcheck(["migrate", "--to", to, "--json"])).out)).toEqual({ moved: 0, expired: 0 });
    expect(await idsOf()).toHaveLength(0);
    const there = await openStore(to);
    expect(await there.listByUser("ada")).toHaveLength(2);
    await there.close?.();
  });

  it("refuses to move a store into itself, however it is named", async () => {
    const { code, error } = await coatcheck(["migrate", "--to", storeUrl.replace("sqlite:", "sqlite://")]);
    expect(code).toBe(2);
    expect(error).toContain("the same store");
    expect(await idsOf()).toHaveLength(3);
  });

  it("takes an id that begins with a dash for an id", async () => {
    const store = await openStore(storeUrl);
    const [record] = await store.listByUser("bob");
    for (const id of ["-aaaaaaaaaaaaaaaaaaaaa", "--aaaaaaaaaaaaaaaaaaaa"] as SessionId[]) {
      await store.create({ ...(record as SessionRecord), id });
      expect(JSON.parse((await coatcheck(["show", id, "--json"])).out)).toMatchObject({ id });
      expect((await coatcheck(["revoke", id])).out).toBe("1 ended");
    }
    await store.close?.();
  });

  it.each([
    [["frobnicate"], "there is no command"],
    [["list", "--limit", "none"], "--limit takes a whole number"],
    [["list", "--colour"], "--colour"],
    [["show"], "show needs the id"],
    [["revoke"], "revoke takes one of"],
    [["revoke", "--all", "--user", "ada"], "revoke takes one of"],
    [["migrate"], "migrate needs --to"],
    [["list", "--store", "carrier-pigeon:x"], "the URL of a store begins with"],
  ])("answers 2 and says why for %j", async (argv, message) => {
    const { code, error } = await coatcheck(argv);
    expect(code).toBe(2);
    expect(error).toContain(message);
  });

  it("prints its usage", async () => {
    expect((await coatcheck(["--help"])).code).toBe(0);
    expect((await coatcheck([])).out).toContain("coatcheck migrate");
  });

  it("says nothing of the credentials in a store's URL", async () => {
    const { code, error } = await coatcheck(["list", "--store", "redis://ada:s3cret@127.0.0.1:1"]);
    expect(code).not.toBe(0);
    expect(error).not.toContain("s3cret");
  });
});
