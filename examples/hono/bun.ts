// bun run examples/hono/bun.ts
import { createSessions } from "coatcheck";
import { memoryStore } from "coatcheck/memory";
import { getConnInfo } from "hono/bun";
import { createApp, type Visit } from "./app.ts";

const sessions = createSessions<Visit>({ store: memoryStore(), initial: { cart: [] } });
const { fetch } = createApp(sessions, getConnInfo);

export default { fetch, hostname: "localhost", port: Number(process.env.PORT ?? 3000) };
