/** A server that tests may need, and how to come by one. Each has its file in this folder; `registry.ts` lists them. */
export interface Service {
  readonly name: ServiceName;
  /** As the table at the end of a run calls it. */
  readonly title: string;
  /** The environment variable that may hold its URL. */
  readonly variable: string;
  /** Where it is when it runs at its standard port of this machine. Absent for what is never used that way. */
  readonly localUrl?: string;
  /** Connects, and answers with the server's version. Rejects when that fails. */
  version(url: string): Promise<string>;
  /** Starts one of our own on a private port. Rejects, with the reason, when that is not possible. */
  start?(): Promise<StartedService>;
}

export type ServiceName =
  | "redis"
  | "redis-cluster"
  | "postgres"
  | "mysql"
  | "mongodb"
  | "chromium"
  | "bun"
  | "deno"
  | "workerd";

export interface StartedService {
  readonly url: string;
  stop(): Promise<void>;
}

/** A service that tests can use. */
export interface FoundService {
  readonly url: string;
  readonly version: string;
  /** Where it comes from, in words. */
  readonly origin: string;
}

/** What became of the search for a service. */
export type Finding = FoundService | { readonly missing: string };
