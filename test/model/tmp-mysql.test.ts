import { randomBytes } from "node:crypto";
import { mysqlStore } from "coatcheck/mysql";
import mysql from "mysql2/promise";
import { describeWithService } from "../services/services.ts";
import { modelTest } from "./model.ts";

describeWithService("mysql", ({ url }) => {
  modelTest({
    name: "mysql",
    runs: 300,
    async createStore() {
      const database = `coatcheck_model_${randomBytes(6).toString("hex")}`;
      const connection = await mysql.createConnection(url);
      await connection.query(`CREATE DATABASE \`${database}\``);
      await connection.end();
      const uri = Object.assign(new URL(url), { pathname: `/${database}` }).href;
      const pools = [0, 1].map(() => mysql.createPool({ uri, connectionLimit: 4 })) as [mysql.Pool, mysql.Pool];
      return {
        handles: [mysqlStore(pools[0]), mysqlStore(pools[1])],
        reopen: async () => ({ store: mysqlStore(pools[0]), close: async () => {} }),
        async close() {
          await pools[0].query(`DROP DATABASE \`${database}\``);
          for (const pool of pools) await pool.end();
        },
      };
    },
  });
});
