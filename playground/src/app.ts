import { fileURLToPath } from "node:url";
import { createSessions, type SessionStore, type SessionsOptions, systemClock } from "coatcheck";
import { requireCsrfToken, sessionMiddleware } from "coatcheck/express";
import { createTokens, type KeyMaterial } from "coatcheck/tokens";
import express, { type ErrorRequestHandler, type Express, type RequestHandler } from "express";
import { seed } from "./accounts.ts";
import { setFileHeaders, withHeaders } from "./answers.ts";
import { ShopDatabase } from "./database.ts";
import { problemAnswers } from "./problem-answers.ts";
import { Problem } from "./problems.ts";
import { accountRoutes } from "./routes/accounts.ts";
import { cartRoutes } from "./routes/cart.ts";
import { checkoutRoutes } from "./routes/checkout.ts";
import { checkoutFormRoutes } from "./routes/checkout-form.ts";
import { deviceRoutes } from "./routes/devices.ts";
import { journeyRoutes } from "./routes/journey.ts";
import { preferenceRoutes } from "./routes/preferences.ts";
import { productRoutes } from "./routes/products.ts";
import { tokenPageRoutes, tokenRoutes } from "./routes/tokens.ts";
import { Shop } from "./shop.ts";
import { keeping, ownKey, type StrategyName } from "./strategy.ts";
import { ownTokenKey } from "./token-key.ts";
import { newVisit, type Visit } from "./visit.ts";

export interface ShopOptions extends Pick<SessionsOptions<Visit>, "clock"> {
  readonly store: SessionStore;
  /** How sessions are kept. Default in the store. */
  readonly strategy?: StrategyName;
  /** For the strategies that seal. Default one that is kept in `dataDir`. */
  readonly sealKeys?: readonly string[] | undefined;
  /** Where the shop's own database is. */
  readonly dataDir: string;
  /** As in Express: which proxies to believe. Default none. */
  readonly trustProxy?: string | number | boolean | undefined;
  /** What access tokens are signed with. Default: a key of the shop's own, kept in `dataDir`. */
  readonly tokenKey?: KeyMaterial | undefined;
}

export interface RunningShop extends Pick<Shop, "sessions" | "database"> {
  readonly app: Express;
  /** Closes sessions and database. */
  close(): Promise<void>;
}

/** Puts the shop together. */
export async function createShop({
  store,
  strategy = "server",
  sealKeys,
  clock = systemClock,
  dataDir,
  trustProxy,
  tokenKey,
}: ShopOptions): Promise<RunningShop> {
  const database = new ShopDatabase(dataDir);
  await seed(database);
  const keys = strategy === "server" ? [] : (sealKeys ?? [ownKey(dataDir)]);
  const sessions = createSessions<Visit>({
    store,
    clock,
    initial: newVisit,
    announceExpiry: true,
    ...keeping(strategy, keys),
  });
  const shop = new Shop(sessions, database, clock);
  const tokens = createTokens({ sessions, keys: tokenKey ?? ownTokenKey(dataDir), issuer: NAME, audience: NAME });
  const onError = problemAnswers(shop);

  const app = express();
  app.disable("x-powered-by");
  app.disable("etag");
  if (trustProxy !== undefined) app.set("trust proxy", trustProxy);

  app.use(express.static(PUBLIC_FILES, { index: false, redirect: false, setHeaders: setFileHeaders }));
  app.use(
    "/coatcheck",
    BROWSER_MODULE,
    express.static(DIST, { index: false, redirect: false, setHeaders: setFileHeaders }),
  );
  app.use(withHeaders);
  // Bodies first: a turn of the session is not spent waiting for a slow upload.
  app.use(express.json({ limit: MAX_BODY }), express.urlencoded({ extended: false, limit: MAX_BODY }));
  // In front of the session, which these do without.
  app.use(tokenRoutes(shop, tokens, onError));
  app.use(sessionMiddleware(sessions, { onError }));
  app.use(csrfTokenOfForms(requireCsrfToken(sessions, { onError })));

  app.use(
    productRoutes(shop),
    cartRoutes(shop),
    checkoutRoutes(shop),
    checkoutFormRoutes(shop),
    accountRoutes(shop),
    preferenceRoutes(shop),
    journeyRoutes(shop),
    deviceRoutes(shop),
    tokenPageRoutes(shop),
  );
  app.use(() => {
    throw new Problem(404, "There is no such page.");
  });
  const lastResort: ErrorRequestHandler = (error, req, res, _next) => onError(error, req, res);
  app.use(lastResort);

  return {
    app,
    sessions,
    database,
    async close() {
      await sessions.close();
      database.close();
    },
  };
}

const PUBLIC_FILES = fileURLToPath(new URL("../public", import.meta.url));
const DIST = fileURLToPath(new URL("../../dist", import.meta.url));
const MAX_BODY = "16kb";
/** The shop as its access tokens name it. */
const NAME = "https://cloakroom.example";

/** Of the built package, what `coatcheck/browser` consists of. A shop with a bundler would not need this. */
const BROWSER_MODULE: RequestHandler = (req, _res, next) => {
  next(/^\/(browser\/[\w-]+|session\/clock)\.js$/.test(req.path) ? undefined : "router");
};

/** Whatever a plain form of another site could send needs the token. JSON it could not; that is left to the cross-site check. */
function csrfTokenOfForms(requireToken: RequestHandler): RequestHandler {
  return (req, res, next) => {
    const type = req.headers["content-type"];
    if (type === undefined || /^application\/json\b/i.test(type)) return next();
    requireToken(req, res, next);
  };
}
