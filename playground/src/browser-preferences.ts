import type { Session } from "coatcheck";
import { oneOf, preferences, type Stamped } from "coatcheck/browser";
import type { ShopDatabase } from "./database.ts";
import type { Visit } from "./visit.ts";

/** The preferences that a visitor's browser keeps before the login, defined as in `public/shop.js`. */
export const browserPreferences = preferences({
  theme: { initial: "auto", schema: oneOf("auto", "light", "dark") },
});

export type BrowserPreferences = Stamped<ReturnType<typeof browserPreferences.get>>;

/** Merges choices into those of the user's account, which go along to every device, and into the session. */
export function takePreferences(
  database: ShopDatabase,
  session: Session<Visit>,
  userId: string,
  choices: unknown,
): BrowserPreferences {
  const merged = database.updatePreferences(userId, (kept) => browserPreferences.merge(kept, choices));
  const { theme } = merged;
  if (theme !== undefined && session.data.preferences.theme !== theme[0])
    session.update("preferences", (old) => ({ ...old, theme: theme[0] }));
  return merged;
}
