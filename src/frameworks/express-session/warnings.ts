const REMEDIES = {
  COATCHECK_SECURE_COOKIE_DROPPED:
    "The session cookie is not set: it is Secure, and the connection is not, as far as the application knows. A proxy in " +
    'front of it says "X-Forwarded-Proto: https", but is not trusted. Say app.set("trust proxy", 1) in Express, or pass ' +
    "session({ proxy: true }) without Express.",
  COATCHECK_TWO_SESSION_COOKIES:
    "A request brought two cookies of the session cookie's name; the first counts. They were set with different `domain` " +
    "or `path`. Use another `name`, or clear the old one with the attributes that it was set with.",
  COATCHECK_SESSION_TOO_LATE:
    "A new session was first changed when the response had begun, so its cookie could not be sent and the visitor will " +
    "not come back to it. Change req.session before the first byte of the response.",
  COATCHECK_TURN_TIMED_OUT:
    'A request waited 5 seconds for its turn on a session (concurrency: "turns") and went ahead without. Another request ' +
    "on the same session takes longer than that.",
  COATCHECK_MEMORY_STORE:
    "MemoryStore keeps sessions in this process alone, loses them at a restart, and keeps the abandoned ones for ever. " +
    "Pass session({ store }) in production.",
} as const;

export type WarningCode = keyof typeof REMEDIES;

/** Warns of a mistake that is in the configuration, so once is enough. */
export class Warnings {
  readonly #given = new Set<WarningCode>();

  give(code: WarningCode): void {
    if (this.#given.has(code)) return;
    this.#given.add(code);
    process.emitWarning(REMEDIES[code], { type: "coatcheck", code });
  }
}
