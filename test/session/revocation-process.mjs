// One process of an application that checks copies of sessions without reading the store. It uses the built library.
import { createSessions, headerTransport, minutes, seconds, systemClock } from "coatcheck";
import { signedInCookie } from "coatcheck/testing";

const OPENERS = {
  sqlite: async (url, { table }) => (await import("coatcheck/sqlite")).sqliteStore(url, { table }),
  redis: async (url, { table }) => (await import("coatcheck/redis")).redisStore(url, { prefix: `${table}:` }),
  postgres: async (url, { schema, table }) =>
    (await import("coatcheck/postgres")).postgresStore(url, { schema, table }),
  mysql: async (url, { table }) => (await import("coatcheck/mysql")).mysqlStore(url, { table }),
  mongodb: async (url, { table }) => (await import("coatcheck/mongodb")).mongodbStore(url, { collection: table }),
};

/** Time passes, but no appointment is ever kept: whatever happens, happens without polling. */
const timeless = { now: () => systemClock.now(), schedule: () => () => {} };

const { kind, url, names, polls, whenBehind } = JSON.parse(process.argv[2]);
const store = await OPENERS[kind](url, names);
const sessions = createSessions({
  store,
  transport: headerTransport(),
  clock: polls ? systemClock : timeless,
  revocation: { whenBehind },
  // A machine that is busy with tests loads drivers slowly.
  storeTimeout: seconds(15),
});
const feed = sessions.revocationFeed(minutes(10));

const ANSWERS = {
  /** Logs a user in; a copy of the session as it now is. */
  async login(userId) {
    const { sessionId } = await signedInCookie(sessions, userId);
    return { sessionId, userId, issuedAt: systemClock.now() };
  },
  check: (copy) => feed.check(copy),
  /** Resolves when the copy is refused; answers the time of the machine. */
  async refused(copy) {
    while (!feed.isRevoked(copy)) await new Promise((resolve) => setTimeout(resolve, 1));
    return systemClock.now();
  },
  async revokeAll(userId) {
    const begun = systemClock.now();
    await sessions.forUser(userId).revokeAll();
    return begun;
  },
  close: () => sessions.close(),
};

process.on("message", async ({ id, question, argument }) => {
  try {
    process.send({ id, answer: await ANSWERS[question](argument) });
  } catch (error) {
    process.send({ id, error: error.code ?? error.message });
  }
  // Then nothing is left that would keep the process alive.
  if (question === "close") process.disconnect();
});
process.send({ id: 0 });
