import { it } from "vitest";
import { startRedis } from "./redis.ts";
import { startRedisCluster } from "./redis-cluster.ts";
it("leaks", async () => { await startRedisCluster(); const r = await startRedis(); await r.kill("SIGKILL"); await r.restart(); console.log("up"); for(;;); });
