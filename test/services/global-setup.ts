import type { TestProject } from "vitest/node";
import { ServiceHost } from "./service-host.ts";

/** Offers the services of a run to its test files; at the end stops what was started and prints the table. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const host = new ServiceHost();
  project.provide("servicesAddress", await host.listen());
  return async () => {
    const table = await host.table();
    await host.close();
    if (table !== "") console.log(`\n${table}\n`);
  };
}
