import { type Area, type PageEvent, tabArea } from "./platform.ts";
import { EVERYBODY, nameOf, PREFIX, readOwner } from "./user.ts";

/** Which entries are removed, by whose they are. */
export type Drops = (owner: string) => boolean;

export const anybody: Drops = () => true;

/** Those of other users. While nobody is logged in nothing: the user may come back. */
export const othersThan =
  (user: string): Drops =>
  (owner) =>
    owner !== "" && user !== "" && owner !== user;

/**
 * Makes the entries of an area agree with whose the state is now. What belongs to everybody stays; what an anonymous
 * visitor has gathered becomes the user's, unless the user has such an entry already.
 */
export function settle(area: () => Area, names: () => string[], user: string, drops: Drops): void {
  try {
    for (const name of names()) {
      const [prefix, owner, ...key] = name.split("|");
      if (prefix !== PREFIX || owner === undefined || owner === EVERYBODY) continue;
      const text = area().getItem(name) ?? "";
      const own = nameOf(user, key.join("|"));
      const moves = owner === "" && user !== "";
      // First removed: there may be no room for both, and nobody else must find it.
      if (drops(owner) || moves) area().removeItem(name);
      if (drops(owner) || !moves || area().getItem(own) !== null) continue;
      try {
        area().setItem(own, text, Number(text.split(";")[1]));
      } catch {
        // As long a name as the user's leaves no room for it; the others are to be settled all the same.
      }
    }
  } catch {
    // Where storage is refused there is nothing to settle.
  }
}

/**
 * The same for this tab: at its start, when it comes back from the cache, and when another tab says so. It remembers up to
 * which wipe it has been settled, because it may have slept through one.
 */
export function settleTab({ key = PREFIX }: PageEvent = {}): void {
  if (key !== PREFIX && key !== null) return;
  const [epoch = "", user = ""] = readOwner().split("|");
  try {
    const wiped = tabArea().getItem(PREFIX) !== epoch;
    settle(tabArea, () => Object.keys(tabArea()), user, wiped ? anybody : othersThan(user));
    tabArea().setItem(PREFIX, epoch);
  } catch {}
}
