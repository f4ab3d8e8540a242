import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";

/**
 * Starts a program of this folder as a process of its own and waits for its first message, which is part of the answer.
 * `cpuUsage` asks what it has used so far; `stop` ends it. It is told "cpu" and "stop".
 */
export async function startServer(program, args, env = {}) {
  const child = fork(fileURLToPath(new URL(program, import.meta.url)), args, {
    env: { ...process.env, NODE_ENV: "production", ...env },
    stdio: ["ignore", "ignore", "pipe", "ipc"],
  });
  let complaints = "";
  child.stderr.on("data", (chunk) => {
    complaints += chunk;
  });
  let fail;
  const ended = new Promise((resolve) => child.once("close", resolve));
  ended.then((code) => fail?.(new Error(`${program} ${args.join(" ")} ended with ${code}\n${complaints}`)));
  const answer = () =>
    new Promise((resolve, reject) => {
      fail = reject;
      child.once("message", resolve);
    });
  return {
    ...(await answer()),
    cpuUsage() {
      child.send("cpu");
      return answer();
    },
    async stop() {
      if (child.connected) child.send("stop");
      const clock = setTimeout(() => child.kill("SIGKILL"), 10_000);
      await ended;
      clearTimeout(clock);
    },
  };
}
