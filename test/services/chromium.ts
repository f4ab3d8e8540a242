import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { onPath } from "./processes.ts";
import type { Service } from "./service.ts";

/** A browser is no server: its URL is the path of the program, and each test file starts one of its own. */
export const chromium: Service = {
  name: "chromium",
  title: "Chromium",
  variable: "CHROMIUM_PATH",
  async version(path) {
    const { stdout } = await promisify(execFile)(path, ["--version", "--no-sandbox"]);
    return /[\d.]+/.exec(stdout)?.[0] ?? "unknown";
  },
  start: async () => ({ url: onPath("chromium", "chromium-browser", "google-chrome"), stop: async () => {} }),
};
