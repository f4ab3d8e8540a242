import { createSessions } from "coatcheck";
import { accessTokenOf, requireAccessToken, tokenRoute } from "coatcheck/express";
import { memoryStore } from "coatcheck/memory";
import { createTokens, generateKey } from "coatcheck/tokens";
import express, { type Request } from "express";

// A page keeps the access token in a variable; the refresh token is in a cookie that no script sees.
const sessions = createSessions({ store: memoryStore() });
const tokens = createTokens({
  sessions,
  keys: generateKey("ES256"), // make it once and keep it: see docs/tokens.md
  issuer: "https://shop.example",
  audience: "https://shop.example",
});

const app = express();
app.use(express.json());

app.post(
  "/token/login",
  tokenRoute(tokens, (endpoint, req: Request) => {
    // Check a password here.
    return endpoint.login(String(req.body.user), { methods: ["pwd"], scope: "cart:read cart:write" });
  }),
);
app.post(
  "/token/refresh",
  tokenRoute(tokens, (endpoint) => endpoint.refresh()),
);
app.post(
  "/token/logout",
  tokenRoute(tokens, (endpoint) => endpoint.logout()),
);

app.get("/profile", requireAccessToken(tokens), (req, res) => {
  const { sub, scope } = accessTokenOf(tokens, req);
  res.json({ user: sub, scope });
});

export const server = app.listen(Number(process.env.PORT ?? 3000));
