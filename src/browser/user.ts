import { localArea } from "./platform.ts";

/** What all names begin with. Alone, it names the record of whose the state is. */
export const PREFIX = "coatcheck";

/** Stands for everybody in the name of an entry that is not one user's own. No user's encoded id contains it. */
export const EVERYBODY = "@";

/** The record while storage is refused. */
let inMemory = "|";

/** `<epoch>|<user>`: changes with each wipe, and whose the state is: encoded; empty for an anonymous visitor. */
export function readOwner(): string {
  try {
    return localArea().getItem(PREFIX) ?? inMemory;
  } catch {
    return inMemory;
  }
}

export function writeOwner(owner: string): void {
  inMemory = owner;
  try {
    localArea().setItem(PREFIX, owner);
  } catch {}
}

export const userOf = (owner: string): string => owner.split("|")[1] as string;

/** `coatcheck|<user>|<key>` */
export const nameOf = (user: string, key: string): string => `${PREFIX}|${user}|${key}`;
