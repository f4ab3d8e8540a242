import { describe, inject, it } from "vitest";
import type { Finding, FoundService, ServiceName } from "./service.ts";

declare module "vitest" {
  interface ProvidedContext {
    /** Where the run's own `ServiceHost` listens. */
    servicesAddress: string;
  }
}

/** The service, or why there is none. It is found or started once per run, when the first test file asks. */
export async function findService(name: ServiceName): Promise<Finding> {
  const response = await fetch(`${inject("servicesAddress")}/${name}`);
  return (await response.json()) as Finding;
}

/**
 * A suite that needs a server. Without one, a skipped test says why; with `COATCHECK_REQUIRE_SERVICES=1` it fails.
 *
 *     describeWithService("redis", ({ url }) => { it("…", …) });
 */
export function describeWithService(name: ServiceName, define: (service: FoundService) => void | Promise<void>): void {
  describe(name, async () => {
    const finding = await findService(name);
    if (!("missing" in finding)) return define(finding);
    const reason = `no ${name}: ${finding.missing}`;
    if (process.env.COATCHECK_REQUIRE_SERVICES === "1") {
      it("needs its server", () => {
        throw new Error(reason);
      });
    } else it.skip(reason, () => {});
  });
}
