import { randomBytes } from "node:crypto";
import { postgresStore } from "coatcheck/postgres";
import pg from "pg";
import { describeWithService } from "../services/services.ts";
import { modelTest } from "./model.ts";

describeWithService("postgres", ({ url }) => {
  modelTest({
    name: "postgres",
    runs: 40,
    createStore() {
      const schema = `coatcheck_model_${randomBytes(6).toString("hex")}`;
      const pools = [0, 1].map(() => new pg.Pool({ connectionString: url, max: 4 })) as [pg.Pool, pg.Pool];
      const open = (pool: pg.Pool) => postgresStore(pool, { schema });
      return {
        handles: [open(pools[0]), open(pools[1])],
        reopen: async () => ({ store: open(pools[0]), close: async () => {} }),
        async close() {
          await pools[0].query(`DROP SCHEMA IF EXISTS "${schema}" CASCADE`);
          for (const pool of pools) await pool.end();
        },
      };
    },
  });
});
