import { parseArgs } from "node:util";
import { type Clock, systemClock } from "../session/clock.ts";
import { CoatcheckError } from "../session/errors.ts";
import { newSessionId, parseSessionId } from "../session/token.ts";
import { openStore } from "../stores/open-store.ts";
import type { SessionStore } from "../stores/store.ts";
import { list, type Output, prune, revoke, show, stats } from "./commands.ts";
import { migrate } from "./migrate.ts";

/** The command's surroundings, so that it can be tested without a process. */
export interface Surroundings extends Output {
  readonly error: (line: string) => void;
  /** Asks the operator; absent where nobody can answer. */
  readonly ask?: ((question: string) => Promise<boolean>) | undefined;
  /** The store when none is named: `STORE_URL`. */
  readonly storeUrl?: string | undefined;
  readonly clock?: Clock;
}

const USAGE = `coatcheck: look after the sessions of an application

  coatcheck list    [--user ID] [--limit N]   sessions, 100 unless told
  coatcheck show    ID                        one session, without its data's values
  coatcheck revoke  ID | --user ID | --all    end sessions
  coatcheck prune                             remove expired records
  coatcheck stats                             how many, how old, how large
  coatcheck migrate --to URL                  move sessions to another store

  --store URL   sqlite:./sessions.db, redis://…, postgres://…; default $STORE_URL
  --name NAME   the table, schema.table, collection or key prefix, if it is not the store's default;
                --to-name for that of the other store
  --json        answer in JSON
  --yes         do not ask before many sessions are ended`;

class UsageError extends Error {}

/** Runs one command. The result is the exit code: 0 done, 1 failed or not found, 2 not understood. */
export async function run(argv: readonly string[], surroundings: Surroundings): Promise<number> {
  let store: SessionStore | undefined;
  try {
    const { values, positionals } = parse(argv);
    const [command, id, ...rest] = positionals;
    if (values.help || command === undefined) {
      surroundings.out(USAGE);
      return values.help ? 0 : 2;
    }
    if (rest.length > 0) throw new UsageError(`too many arguments: ${rest.join(" ")}`);
    const url = values.store ?? surroundings.storeUrl;
    if (url === undefined) throw new UsageError("which store? Use --store URL, or set STORE_URL");
    const opened = await openExisting(url, values.name);
    store = opened;
    const { clock = systemClock, ask } = surroundings;
    const job = { store: opened, clock, output: surroundings, json: values.json };
    switch (command) {
      case "list":
        return await list(job, { userId: values.user, limit: wholeNumber(values.limit ?? "100", "--limit") });
      case "show":
        return await show(job, required(id, "show needs the id of a session"));
      case "revoke":
        return await revoke(job, { id, userId: values.user, all: values.all, yes: values.yes, ask });
      case "prune":
        return await prune(job);
      case "stats":
        return await stats(job);
      case "migrate":
        return await migrate(
          job,
          await openStore(required(values.to, "migrate needs --to URL"), { name: values["to-name"] }),
        );
      default:
        throw new UsageError(`there is no command ${JSON.stringify(command)}`);
    }
  } catch (error) {
    const misuse = error instanceof UsageError || error instanceof TypeError;
    surroundings.error(`coatcheck: ${messageOf(error)}`);
    if (misuse) surroundings.error("Try: coatcheck --help");
    return misuse ? 2 : 1;
  } finally {
    await store?.close?.();
  }
}

/** Opens a store that is there: an operator's slip must not leave a file or tables behind. */
async function openExisting(url: string, name: string | undefined): Promise<SessionStore> {
  const found = await openStore(url, { name, migrate: false });
  try {
    await found.read(newSessionId());
  } finally {
    await found.close?.();
  }
  // What it lacks is only the log of revocations, as long as nobody has needed one.
  return openStore(url, { name });
}

function parse(argv: readonly string[]) {
  try {
    return parseArgs({
      args: idsLast(argv),
      allowPositionals: true,
      options: {
        store: { type: "string" },
        name: { type: "string" },
        to: { type: "string" },
        "to-name": { type: "string" },
        user: { type: "string" },
        limit: { type: "string" },
        all: { type: "boolean", default: false },
        json: { type: "boolean", default: false },
        yes: { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
      },
    });
  } catch (error) {
    throw new UsageError(messageOf(error));
  }
}

/** One id in 64 begins with `-`, and is not to be taken for an option. */
function idsLast(argv: readonly string[]): string[] {
  const isId = (arg: string) => arg.startsWith("-") && parseSessionId(arg) !== undefined;
  if (argv.includes("--") || !argv.some(isId)) return [...argv];
  return [...argv.filter((arg) => !isId(arg)), "--", ...argv.filter(isId)];
}

function required<Value>(value: Value | undefined, message: string): Value {
  if (value === undefined) throw new UsageError(message);
  return value;
}

function wholeNumber(text: string, option: string): number {
  const number = Number(text);
  if (!Number.isSafeInteger(number) || number < 1) throw new UsageError(`${option} takes a whole number, 1 or more`);
  return number;
}

/** Drivers put connection strings into messages, so those of others are given without what looks like credentials. */
function messageOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return error instanceof CoatcheckError ? message : message.replace(/\/\/[^/@\s]*@/g, "//…@");
}
