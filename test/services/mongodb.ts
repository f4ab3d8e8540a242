import { mongodbVersion, startMongoJavaServer } from "./mongo-java-server.ts";
import type { Service } from "./service.ts";

/** MongoDB, or an imitation where there is none. */
export const mongodb: Service = {
  name: "mongodb",
  title: "MongoDB",
  variable: "MONGODB_URL",
  localUrl: "mongodb://127.0.0.1:27017",
  version: mongodbVersion,
  start: () => startMongoJavaServer(),
};
