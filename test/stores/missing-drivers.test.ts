import { openStore } from "coatcheck/stores";
import { expect, it, vi } from "vitest";

vi.mock("pg", () => {
  throw new Error("Cannot find package 'pg'");
});
vi.mock("mysql2/promise", () => {
  throw new Error("Cannot find package 'mysql2'");
});
vi.mock("mongodb", () => {
  throw new Error("Cannot find package 'mongodb'");
});

it.each([
  ["postgres://ada:hunter2@localhost/x", "npm install pg"],
  ["postgresql://ada:hunter2@localhost/x", "npm install pg"],
  ["mysql://ada:hunter2@localhost/x", "npm install mysql2"],
  ["mariadb://ada:hunter2@localhost/x", "npm install mysql2"],
  ["mongodb://ada:hunter2@localhost/x", "npm install mongodb"],
  ["mongodb+srv://ada:hunter2@localhost/x", "npm install mongodb"],
])("%s without its driver says what to install, at the first use", async (url, command) => {
  const store = await openStore(url);
  const error = await store.removeAll().catch((reason: Error) => reason);
  expect((error as Error).message).toContain(command);
  expect((error as Error).message).not.toContain("hunter2");
  await store.close?.();
});
