import { describe } from "vitest";

// The shop's tests once more, with its sessions kept in another way. In one file, so that everything is loaded once.
process.env.STRATEGY = "sealed";

describe("sealed: accounts", async () => void (await import("./accounts.test.ts")));
describe("sealed: cart", async () => void (await import("./cart.test.ts")));
describe("sealed: checkout", async () => void (await import("./checkout.test.ts")));
describe("sealed: csrf", async () => void (await import("./csrf.test.ts")));
describe("sealed: devices", async () => void (await import("./devices.test.ts")));
describe("sealed: journey", async () => void (await import("./journey.test.ts")));
describe("sealed: pages", async () => void (await import("./pages.test.ts")));
describe("sealed: processes", async () => void (await import("./processes.test.ts")));
describe("sealed: races", async () => void (await import("./races.test.ts")));
describe("sealed: secrets", async () => void (await import("./secrets.test.ts")));
