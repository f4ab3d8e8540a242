import { randomBytes } from "node:crypto";
import { mongodbStore } from "coatcheck/mongodb";
import { MongoClient } from "mongodb";
import { describeWithService } from "../services/services.ts";
import { modelTest } from "./model.ts";

describeWithService("mongodb", ({ url }) => {
  modelTest({
    name: "mongodb",
    runs: 40,
    createStore() {
      const database = `coatcheck_model_${randomBytes(6).toString("hex")}`;
      const clients = [0, 1].map(() => new MongoClient(url)) as [MongoClient, MongoClient];
      const open = (client: MongoClient) => mongodbStore(client, { database });
      return {
        handles: [open(clients[0]), open(clients[1])],
        reopen: async () => ({ store: open(clients[0]), close: async () => {} }),
        async close() {
          await clients[0].db(database).dropDatabase();
          for (const client of clients) await client.close();
        },
      };
    },
  });
});
