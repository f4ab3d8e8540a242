import { mkdirSync } from "node:fs";
import { join } from "node:path";
import Libsql from "libsql";
import { CATALOGUE } from "./catalogue.ts";
import type { CartLine, CheckoutForm, PendingOrder } from "./visit.ts";

export interface Account {
  readonly id: string;
  readonly username: string;
}

export interface Product {
  readonly id: string;
  readonly name: string;
  readonly about: string;
  /** In euros. */
  readonly price: number;
}

export interface OrderLine extends CartLine {
  name: string;
  price: number;
}

export interface Order {
  readonly id: string;
  readonly lines: readonly OrderLine[];
  readonly total: number;
  /** Milliseconds since 1970. */
  readonly placedAt: number;
  readonly details: CheckoutForm;
}

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS accounts (
    id INTEGER PRIMARY KEY,
    username TEXT NOT NULL,
    username_key TEXT NOT NULL UNIQUE,
    password_hash TEXT NOT NULL
  ) STRICT;
  CREATE TABLE IF NOT EXISTS products (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    about TEXT NOT NULL,
    price_cents INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE IF NOT EXISTS orders (
    id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL,
    lines TEXT NOT NULL,
    total_cents INTEGER NOT NULL,
    details TEXT NOT NULL,
    placed_at INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE IF NOT EXISTS preferences (
    user_id TEXT PRIMARY KEY,
    chosen TEXT NOT NULL
  ) STRICT;
  CREATE INDEX IF NOT EXISTS orders_of_user ON orders (user_id, placed_at);
`;

type Row = Readonly<Record<string, string | number>>;

/** Accounts, products and orders, in one SQLite file. Several processes may share it. */
export class ShopDatabase {
  readonly #db: Libsql.Database;

  constructor(directory: string) {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    this.#db = new Libsql(join(directory, "shop.db"));
    this.#db.exec("PRAGMA busy_timeout = 5000");
    this.#turnOnWal();
    // An order that was confirmed survives a loss of power too.
    this.#db.exec("PRAGMA synchronous = FULL");
    this.#db.exec(SCHEMA);
    const add = this.#db.prepare("INSERT OR IGNORE INTO products (id, name, about, price_cents) VALUES (?, ?, ?, ?)");
    for (const { id, name, about, priceCents } of CATALOGUE) add.run(id, name, about, priceCents);
  }

  /** SQLite does not wait, whatever `busy_timeout` says, when two processes turn a new file to WAL at the same moment. */
  #turnOnWal(): void {
    const deadline = Date.now() + 5000;
    for (;;)
      try {
        this.#db.exec("PRAGMA journal_mode = WAL");
        return;
      } catch (error) {
        if (!/locked|busy/i.test(String(error)) || Date.now() >= deadline) throw error;
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
      }
  }

  /** `undefined` when the name is taken, whatever the case of its letters. */
  addAccount(username: string, passwordHash: string): Account | undefined {
    const { changes, lastInsertRowid } = this.#db
      .prepare("INSERT OR IGNORE INTO accounts (username, username_key, password_hash) VALUES (?, ?, ?)")
      .run(username, keyOf(username), passwordHash);
    return changes === 1 ? { id: String(lastInsertRowid), username } : undefined;
  }

  account(id: string): Account | undefined {
    const row = this.#get("SELECT id, username FROM accounts WHERE id = ?", id);
    return row && { id: String(row.id), username: String(row.username) };
  }

  accountNamed(username: string): (Account & { readonly passwordHash: string }) | undefined {
    const row = this.#get("SELECT id, username, password_hash FROM accounts WHERE username_key = ?", keyOf(username));
    if (row === undefined) return undefined;
    return { id: String(row.id), username: String(row.username), passwordHash: String(row.password_hash) };
  }

  /** Changes what a user has chosen for all devices, in one transaction. */
  updatePreferences<Chosen>(userId: string, change: (chosen: unknown) => Chosen): Chosen {
    return this.#db
      .transaction(() => {
        const row = this.#get("SELECT chosen FROM preferences WHERE user_id = ?", userId);
        const chosen = change(row === undefined ? {} : JSON.parse(String(row.chosen)));
        this.#db
          .prepare("INSERT OR REPLACE INTO preferences (user_id, chosen) VALUES (?, ?)")
          .run(userId, JSON.stringify(chosen));
        return chosen;
      })
      .immediate();
  }

  products(): Product[] {
    const rows = this.#db.prepare("SELECT id, name, about, price_cents FROM products ORDER BY rowid").all();
    return rows.map((row) => asProduct(row as Row));
  }

  product(id: string): Product | undefined {
    const row = this.#get("SELECT id, name, about, price_cents FROM products WHERE id = ?", id);
    return row && asProduct(row);
  }

  /** Lines with names and prices. What is sold no longer is left out. */
  priced(lines: readonly CartLine[]): OrderLine[] {
    return lines.flatMap(({ productId, quantity }) => {
      const product = this.product(productId);
      return product ? [{ productId, name: product.name, price: product.price, quantity }] : [];
    });
  }

  /** Places an order. The same order again changes nothing and answers as the first time. */
  placeOrder({ id, userId, lines, details }: PendingOrder, now: number): Order {
    const priced = this.priced(lines);
    this.#db
      .prepare(
        `INSERT INTO orders (id, user_id, lines, total_cents, details, placed_at) VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT (id) DO NOTHING`,
      )
      .run(id, userId, JSON.stringify(priced), totalCents(priced), JSON.stringify(details), now);
    return this.order(id, userId) as Order;
  }

  order(id: string, userId: string): Order | undefined {
    const row = this.#get("SELECT * FROM orders WHERE id = ? AND user_id = ?", id, userId);
    return row && asOrder(row);
  }

  /** The newest first. */
  ordersOf(userId: string): Order[] {
    const rows = this.#db.prepare("SELECT * FROM orders WHERE user_id = ? ORDER BY placed_at DESC, id").all(userId);
    return rows.map((row) => asOrder(row as Row));
  }

  close(): void {
    this.#db.close();
  }

  #get(sql: string, ...values: unknown[]): Row | undefined {
    return this.#db.prepare(sql).get(...values) as Row | undefined;
  }
}

/** Total of some lines, in euros. */
export const totalOf = (lines: readonly OrderLine[]): number => totalCents(lines) / 100;

const totalCents = (lines: readonly OrderLine[]): number =>
  lines.reduce((sum, { price, quantity }) => sum + Math.round(price * 100) * quantity, 0);

/** Names that look the same are the same. */
const keyOf = (username: string): string => username.normalize("NFKC").toLowerCase();

const asProduct = (row: Row): Product => ({
  id: row.id as string,
  name: row.name as string,
  about: row.about as string,
  price: (row.price_cents as number) / 100,
});

const asOrder = (row: Row): Order => ({
  id: row.id as string,
  lines: JSON.parse(row.lines as string),
  total: (row.total_cents as number) / 100,
  placedAt: row.placed_at as number,
  details: JSON.parse(row.details as string),
});
