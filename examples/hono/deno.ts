// deno serve --allow-env --port 3000 examples/hono/deno.ts
import { createSessions } from "coatcheck";
import { memoryStore } from "coatcheck/memory";
import { getConnInfo } from "hono/deno";
import { createApp, type Visit } from "./app.ts";

const sessions = createSessions<Visit>({ store: memoryStore(), initial: { cart: [] } });

export default createApp(sessions, getConnInfo);
