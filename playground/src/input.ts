import { Problem } from "./problems.ts";
import type { Preferences } from "./visit.ts";

type Fields = Readonly<Record<string, unknown>>;

const wrong = (sentence: string) => new Problem(400, sentence);

/** The body of a request, JSON or form, as an object. */
export function fields(body: unknown): Fields {
  if (typeof body !== "object" || body === null || Array.isArray(body))
    throw wrong("Send a JSON object, or a form, as the body.");
  return body as Fields;
}

/** A field's own value: what an object inherits does not count. */
function field(body: unknown, name: string): unknown {
  const object = fields(body);
  return Object.hasOwn(object, name) ? object[name] : undefined;
}

export interface Credentials {
  readonly username: string;
  readonly password: string;
}

const MAX_USERNAME = 64;
const MIN_PASSWORD = 8;
const MAX_PASSWORD = 256;

/** For a login: present, and short enough to be worth hashing. */
export function credentials(body: unknown): Credentials {
  const [username, password] = [field(body, "username"), field(body, "password")];
  if (typeof username !== "string" || username === "") throw wrong("Enter your username.");
  if (typeof password !== "string" || password === "") throw wrong("Enter your password.");
  if (username.length > MAX_USERNAME) throw wrong(`A username has at most ${MAX_USERNAME} characters.`);
  if (password.length > MAX_PASSWORD) throw wrong(`A password has at most ${MAX_PASSWORD} characters.`);
  return { username, password };
}

/** For a registration: also fit to be kept. */
export function newCredentials(body: unknown): Credentials {
  const given = credentials(body);
  if (given.username.trim() !== given.username || /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u.test(given.username))
    throw wrong("A username has no spaces around it and no invisible characters.");
  if (given.password.length < MIN_PASSWORD) throw wrong(`A password has at least ${MIN_PASSWORD} characters.`);
  return given;
}

const MAX_QUANTITY = 99;

/** Of `POST /cart/add`. Forms can only send text, so digits count as a number in a form, and only there. */
export function cartLine(body: unknown, isForm: boolean): { productId: string; quantity: number } {
  const quantity = field(body, "quantity");
  const count = isForm && typeof quantity === "string" && /^\d{1,4}$/.test(quantity) ? Number(quantity) : quantity;
  const id = productId(field(body, "productId"));
  if (typeof count !== "number" || !Number.isInteger(count) || count < 1 || count > MAX_QUANTITY)
    throw wrong(`quantity must be a whole number from 1 to ${MAX_QUANTITY}.`);
  return { productId: id, quantity: count };
}

/** Ids are texts; a number is taken for the text that it prints as. */
function productId(value: unknown): string {
  const id = Number.isSafeInteger(value) ? String(value) : value;
  if (typeof id !== "string" || id === "") throw wrong("productId must be the id of a product.");
  return id;
}

const MAX_PREFERENCES = 50;
const MAX_PREFERENCES_LENGTH = 4096;
const PREFERENCE_NAME = /^[A-Za-z][A-Za-z0-9_.-]{0,63}$/;

/** Names and values to merge into the preferences. Any JSON value will do; the names are those that one would choose. */
export function preferences(body: unknown): Preferences {
  const given = Object.entries(fields(body)).filter(([name]) => name !== "_csrf");
  for (const [name] of given)
    if (!PREFERENCE_NAME.test(name))
      throw wrong("A preference's name is 1 to 64 letters, digits, dots, dashes or underscores, a letter first.");
  return Object.fromEntries(given);
}

/** The preferences with others merged in. */
export function mergedPreferences(old: Preferences, added: Preferences): Preferences {
  const merged = { ...old, ...added };
  if (Object.keys(merged).length > MAX_PREFERENCES) throw wrong(`At most ${MAX_PREFERENCES} preferences are kept.`);
  if (JSON.stringify(merged).length > MAX_PREFERENCES_LENGTH)
    throw wrong(`All preferences together may take ${MAX_PREFERENCES_LENGTH} characters as JSON.`);
  return merged;
}

/** A line of text that somebody typed. */
export function text(body: unknown, name: string, label: string, maxLength = 100): string {
  const value = field(body, name);
  if (typeof value !== "string" || value.trim() === "") throw wrong(`${label} is missing.`);
  if (value.length > maxLength) throw wrong(`${label} has at most ${maxLength} characters.`);
  return value.trim();
}

/** One of the values that a form offers. */
export function choice(body: unknown, name: string, label: string, values: readonly string[]): string {
  const value = field(body, name);
  if (typeof value !== "string" || !values.includes(value))
    throw wrong(`${label} must be one of: ${values.join(", ")}.`);
  return value;
}
