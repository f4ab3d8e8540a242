import type { FoundService, Service, StartedService } from "./service.ts";

export type Search = { readonly found: FoundService; readonly started?: StartedService } | { readonly missing: string };

/** Looks for a service: by its environment variable, else at its standard port, else it starts one of our own. */
export async function search(service: Service): Promise<Search> {
  const { variable, localUrl } = service;
  const given = process.env[variable];
  if (given) {
    try {
      return { found: { url: given, version: await service.version(given), origin: variable } };
    } catch (error) {
      return { missing: `the server of ${variable} does not answer (${reasonOf(error)})` };
    }
  }
  const reasons = [`${variable} is not set`];
  if (localUrl !== undefined) {
    const { host } = new URL(localUrl);
    try {
      return { found: { url: localUrl, version: await service.version(localUrl), origin: `at ${host}` } };
    } catch (error) {
      reasons.push(`${host}: ${reasonOf(error)}`);
    }
  }
  if (service.start !== undefined) {
    try {
      const started = await service.start();
      const version = await service.version(started.url);
      return { found: { url: started.url, version, origin: "started for this run" }, started };
    } catch (error) {
      reasons.push(reasonOf(error));
    }
  }
  return { missing: reasons.join("; ") };
}

function reasonOf(error: unknown): string {
  const { message, code } = error as { message?: string; code?: string };
  return code ?? (message || String(error));
}
