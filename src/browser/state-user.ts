import { type Clock, systemClock } from "../session/clock.ts";
import { cookieArea, cookieNames } from "./cookies.ts";
import { localArea, onPage, type PageEvent } from "./platform.ts";
import { anybody, type Drops, othersThan, settle, settleTab } from "./settle.ts";
import { changed } from "./state.ts";
import { PREFIX, readOwner, userOf, writeOwner } from "./user.ts";

/**
 * Says whose state this browser shows from now on, in all tabs. A user takes over what was gathered before the login, and
 * what other users had is removed. `undefined` when a session has expired: the user's state is out of sight, and there
 * again when the same user comes back. For a logout, use `wipeState`.
 */
export function setStateUser(userId: string | undefined): void {
  const user = encodeURIComponent(userId ?? "");
  if (user !== userOf(readOwner())) change(readOwner().split("|")[0] as string, user, othersThan(user));
}

/** Removes all state that is not shared, in all tabs: for the logout. It needs no server. */
export function wipeState(clock: Clock = systemClock): void {
  change(`${clock.now()}`, "", anybody);
}

function change(epoch: string, user: string, drops: Drops): void {
  writeOwner(`${epoch}|${user}`);
  settleShared(user, drops);
  settleTab();
  changed(PREFIX, true);
}

/** Settles what this tab wrote while another tab's login or logout was on its way to it. */
export function watchStateUser(): void {
  onPage("storage", onOwner);
  onPage("pageshow", settleTab);
}

function onOwner({ key, oldValue, newValue }: PageEvent): void {
  if (key !== PREFIX) return;
  const [before, [epoch, user = ""]] = [(oldValue ?? "|").split("|"), (newValue ?? "|").split("|")];
  // After a wipe, what an anonymous visitor has begun may stay.
  const drops = epoch === before[0] ? othersThan(user) : (owner: string) => owner !== "" && owner !== user;
  settleShared(user, drops);
  settleTab();
}

function settleShared(user: string, drops: Drops): void {
  settle(localArea, () => Object.keys(localArea()), user, drops);
  settle(cookieArea, cookieNames, user, drops);
}
