import { describe } from "vitest";

// The shop's tests once more, with its sessions kept in another way. In one file, so that everything is loaded once.
process.env.STRATEGY = "hybrid";

describe("hybrid: accounts", async () => void (await import("./accounts.test.ts")));
describe("hybrid: cart", async () => void (await import("./cart.test.ts")));
describe("hybrid: checkout", async () => void (await import("./checkout.test.ts")));
describe("hybrid: csrf", async () => void (await import("./csrf.test.ts")));
describe("hybrid: devices", async () => void (await import("./devices.test.ts")));
describe("hybrid: journey", async () => void (await import("./journey.test.ts")));
describe("hybrid: pages", async () => void (await import("./pages.test.ts")));
describe("hybrid: processes", async () => void (await import("./processes.test.ts")));
describe("hybrid: races", async () => void (await import("./races.test.ts")));
describe("hybrid: secrets", async () => void (await import("./secrets.test.ts")));
