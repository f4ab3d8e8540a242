import { serve } from "@hono/node-server";
import { getConnInfo } from "@hono/node-server/conninfo";
import { createSessions } from "coatcheck";
import { memoryStore } from "coatcheck/memory";
import { createApp, type Visit } from "./app.ts";

const sessions = createSessions<Visit>({ store: memoryStore(), initial: { cart: [] } });
const { fetch } = createApp(sessions, getConnInfo);

export const server = serve({ fetch, port: Number(process.env.PORT ?? 3000) });
