import { once } from "node:events";
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { type Browser, type BrowserContext, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { rolldown } from "rolldown";
import { afterAll, afterEach, vi } from "vitest";

// A browser has many processes, and machines that test have few cores.
vi.setConfig({ testTimeout: 90_000, hookTimeout: 60_000 });

type Module = typeof import("coatcheck/browser");

declare global {
  interface Window {
    /** All exports of `coatcheck/browser`, as the page has loaded them. */
    coatcheck: Module;
    // biome-ignore lint/suspicious/noExplicitAny: what a test keeps in a page
    kept: any;
  }
}

/** What the pages of these tests are served with: nothing may run but scripts of their own origin. */
export const STRICT_CSP = "default-src 'self'; object-src 'none'; base-uri 'none'; require-trusted-types-for 'script'";

let moduleText: Promise<string> | undefined;

/** `coatcheck/browser` as one file. */
function browserModule(): Promise<string> {
  moduleText ??= (async () => {
    const build = await rolldown({ input: fileURLToPath(new URL("../../src/browser/index.ts", import.meta.url)) });
    const { output } = await build.generate({ format: "esm" });
    return output[0].code;
  })();
  return moduleText;
}

const PAGE = `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Test</title>
<script type="module" src="/page.js"></script></head><body></body></html>`;

/** A page's own script. Evaluations of a test wait for it. */
const PAGE_SCRIPT = `import * as coatcheck from "/coatcheck.js"; window.coatcheck = coatcheck;`;

export interface TestServer {
  /** `http://localhost:…`, which browsers hold for secure. */
  readonly url: string;
  readonly port: number;
}

/** A server with an empty page at every path, and whatever `handler` answers before it: it returns whether it did. */
export async function serve(
  handler: (request: IncomingMessage, response: ServerResponse) => unknown = () => false,
): Promise<TestServer> {
  const answer: RequestListener = async (request, response) => {
    if (request.url === "/coatcheck.js" || request.url === "/page.js") {
      response.setHeader("Content-Type", "text/javascript");
      response.end(request.url === "/page.js" ? PAGE_SCRIPT : await browserModule());
      return;
    }
    if (request.url === "/favicon.ico") return void response.writeHead(204).end();
    if ((await handler(request, response)) !== false) return;
    response.setHeader("Content-Security-Policy", STRICT_CSP);
    response.setHeader("Content-Type", "text/html");
    response.end(PAGE);
  };
  const server = createServer(answer).listen(0, "127.0.0.1");
  await once(server, "listening");
  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { url: `http://localhost:${port}`, port };
}

const ARGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  // A name of this machine that browsers do not hold for secure.
  "--host-resolver-rules=MAP plain.test 127.0.0.1",
];

export interface TestBrowser {
  /** A profile of its own, closed after the test. */
  profile(options?: BrowserContextOptions): Promise<BrowserContext>;
  /** Another tab of a profile, at this address. */
  tab(profile: BrowserContext, url: string): Promise<Page>;
  /** So many tabs of one new profile. */
  tabs(count: number, url: string): Promise<Page[]>;
}

/** One Chromium for the file's tests, with a fresh profile, closed when they are done. */
export function useBrowser(executablePath: string): TestBrowser {
  let launched: Promise<Browser> | undefined;
  const profiles: BrowserContext[] = [];
  const problems: string[] = [];
  afterEach(async () => {
    for (const profile of profiles.splice(0)) await profile.close();
    const found = problems.splice(0);
    if (found.length > 0) throw new Error(`The pages complained:\n${found.join("\n")}`);
  });
  afterAll(async () => {
    await (await launched)?.close();
  });
  const browser: TestBrowser = {
    async profile(options = {}) {
      launched ??= chromium.launch({
        executablePath,
        args: ARGS,
        ignoreDefaultArgs: ["--disable-back-forward-cache"],
      });
      const profile = await (await launched).newContext(options);
      profile.on("weberror", (error) => problems.push(String(error.error())));
      profile.on("console", (message) => {
        if (/Content Security Policy|TrustedScript/i.test(message.text())) problems.push(message.text());
      });
      profiles.push(profile);
      return profile;
    },
    async tab(profile, url) {
      const page = await profile.newPage();
      await page.goto(url);
      await page.waitForFunction(() => document.readyState === "complete");
      return page;
    },
    async tabs(count, url) {
      const profile = await browser.profile();
      return Promise.all(Array.from({ length: count }, () => browser.tab(profile, url)));
    },
  };
  return browser;
}

/** Waits until a page says so: on facts, not on time. */
export async function until(page: Page, condition: () => unknown): Promise<void> {
  await page.waitForFunction(condition, undefined, { polling: 20 });
}
