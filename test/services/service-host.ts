import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { type Search, search } from "./find.ts";
import { registry } from "./registry.ts";
import type { Finding } from "./service.ts";

/**
 * Holds the services of one test run. It lives in the main process and answers the test files over HTTP, so that a
 * service is started once, when the first file asks, and not at all when none does.
 */
export class ServiceHost {
  readonly #searches = new Map<string, Promise<Search>>();
  readonly #server = createServer(async (request, response) => {
    const finding = await this.#find((request.url ?? "").slice(1));
    response.setHeader("Content-Type", "application/json");
    response.end(JSON.stringify(finding));
  });

  /** Begins; the address for `findService`. */
  listen(): Promise<string> {
    return new Promise((resolve) => {
      this.#server.listen(0, "127.0.0.1", () => {
        resolve(`http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`);
      });
    });
  }

  /** Stops whatever was started. */
  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    for (const searching of this.#searches.values()) {
      const outcome = await searching;
      if ("found" in outcome) await outcome.started?.stop();
    }
  }

  /** What a run with services says at its end: store, server version, ran or skipped, why. Empty when none was asked for. */
  async table(): Promise<string> {
    if (this.#searches.size === 0) return "";
    const rows = [["store", "server", "tests", "why"]];
    for (const { name, title } of registry) {
      const outcome = await this.#searches.get(name);
      if (outcome === undefined) rows.push([title, "", "not run", "no test of this run needs it"]);
      else if ("missing" in outcome) rows.push([title, "", "SKIPPED", outcome.missing]);
      else rows.push([title, outcome.found.version, "ran", outcome.found.origin]);
    }
    const widths = [0, 1, 2].map((column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
    return rows
      .map((row) =>
        row
          .map((cell, column) => cell.padEnd(widths[column] ?? 0))
          .join("  ")
          .trimEnd(),
      )
      .join("\n");
  }

  async #find(name: string): Promise<Finding> {
    const service = registry.find((candidate) => candidate.name === name);
    if (service === undefined) return { missing: `there is no service ${JSON.stringify(name)}` };
    let searching = this.#searches.get(name);
    if (searching === undefined) {
      searching = search(service);
      this.#searches.set(name, searching);
    }
    const outcome = await searching;
    return "found" in outcome ? outcome.found : outcome;
  }
}
