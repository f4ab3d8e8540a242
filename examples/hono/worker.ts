import { createSessions } from "coatcheck";
import { sealed } from "coatcheck/sealed";
import { getConnInfo } from "hono/cloudflare-workers";
import { createApp, type Visit } from "./app.ts";

interface Env {
  /** A secret of the worker: 32 random bytes as base64url. */
  readonly SEAL_KEY: string;
}

// Requests of one visitor may come to different isolates, which share no memory: the session travels in its cookie.
let app: ReturnType<typeof createApp> | undefined;

export default {
  fetch(request: Request, env: Env): Response | Promise<Response> {
    app ??= createApp(
      createSessions<Visit>({ strategy: sealed({ keys: [env.SEAL_KEY] }), initial: { cart: [] } }),
      getConnInfo,
    );
    return app.fetch(request, env);
  },
};
