import type { Session } from "coatcheck";
import { oneOf, preferences, type Stamped } from "coatcheck/browser";
import type { ShopDatabase } from "./database.ts";
import type { Visit } from "./visit.ts";

/** The preferences that a visitor's browser keeps before the login, defined as in `public/shop.js`. */
export const browserPreferences = preferences({
  theme: { initial: "auto", schema: oneOf("auto", "light", "dark") },
  language: { initial: "auto", schema: oneOf("auto", "en", "de") },
});

export type BrowserPreferences = Stamped<ReturnType<typeof browserPreferences.get>>;

/** Merges choices into those of the user's account, which go along to every device. */
export function keepPreferences(database: ShopDatabase, userId: string, choices: unknown): BrowserPreferences {
  return database.updatePreferences(userId, (kept) => browserPreferences.merge(kept, choices));
}

/** The same, and puts the result into the session. */
export function takePreferences(
  database: ShopDatabase,
  session: Session<Visit>,
  userId: string,
  choices: unknown,
): BrowserPreferences {
  const merged = keepPreferences(database, userId, choices);
  const chosen = Object.entries(merged).map(([name, [value]]) => [name, value] as const);
  if (chosen.some(([name, value]) => session.data.preferences[name] !== value))
    session.update("preferences", (old) => ({ ...old, ...Object.fromEntries(chosen) }));
  return merged;
}
