import type { Account, ShopDatabase } from "./database.ts";
import { type Credentials, credentials } from "./input.ts";
import { hashPassword, verifyPassword } from "./passwords.ts";
import { Problem } from "./problems.ts";

/** The account that is there from the beginning. Its password is no secret. */
export const SEEDED: Credentials = { username: "ada", password: "lovelace-1843" };

/** `undefined` when the name is taken. */
export async function register(
  database: ShopDatabase,
  { username, password }: Credentials,
): Promise<Account | undefined> {
  return database.addAccount(username, await hashPassword(password));
}

/** `undefined` for an unknown name and for a wrong password, after the same work. */
export async function authenticate(
  database: ShopDatabase,
  { username, password }: Credentials,
): Promise<Account | undefined> {
  const account = database.accountNamed(username);
  const right = await verifyPassword(password, account?.passwordHash);
  return right ? account : undefined;
}

/**
 * The account whose name and password a request's body holds.
 *
 * @throws Problem 400 for a body that lacks them, 401 for wrong ones
 */
export async function identify(database: ShopDatabase, body: unknown): Promise<Account> {
  const account = await authenticate(database, credentials(body));
  if (account === undefined) throw new Problem(401, "Invalid credentials");
  return account;
}

/** Makes the seeded account unless it is there. */
export async function seed(database: ShopDatabase): Promise<void> {
  if (database.accountNamed(SEEDED.username) === undefined) await register(database, SEEDED);
}
