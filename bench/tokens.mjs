// What it costs to sign and to verify an access token, beside jsonwebtoken, jose and fast-jwt, in one process and in turns:
// node bench/tokens.mjs [rounds] [only this algorithm]
import { createHmac, createPrivateKey, createPublicKey, createSecretKey } from "node:crypto";
import { cpus } from "node:os";
import { createTokens, generateKey } from "coatcheck/tokens";
import { createSigner, createVerifier } from "fast-jwt";
import * as jose from "jose";
import jsonwebtoken from "jsonwebtoken";

const rounds = Number(process.argv[2] ?? 100);
const algorithms = process.argv[3] === undefined ? ["HS256", "ES256", "EdDSA"] : [process.argv[3]];
const [issuer, audience] = ["https://shop.example", "https://api.shop.example"];
/** How many tokens take turns, as many users do. */
const TOKENS = 256;
const user = (n) => ({
  sub: `user-${n}`,
  sid: `${n}`.padStart(22, "s"),
  scope: "cart:read cart:write",
  auth_time: Math.floor(Date.now() / 1000),
});

console.log(
  `Node ${process.versions.node}, ${cpus().length} × ${cpus()[0]?.model.trim() ?? "unknown CPU"}. Microseconds each: the fastest and ` +
    `the median of ${rounds} rounds.`,
);
for (const alg of algorithms) {
  const jwk = generateKey(alg);
  const { kid } = jwk;
  const keys = keysOf(alg, jwk);
  const plain = createTokens({ keys: jwk, issuer, audience });
  const cached = createTokens({ keys: jwk, issuer, audience, cache: 1000 });
  const tokens = Array.from({ length: TOKENS }, (_, n) => plain.sign(user(n)));
  // As they come in with a request: a piece of a header, of which nothing is known yet.
  const arrived = () => tokens.map((token) => Buffer.from(`Bearer ${token}`).toString().slice(7));

  const joseKey = await jose.importJWK(alg === "HS256" ? jwk : { ...jwk });
  const josePublic = alg === "HS256" ? joseKey : await jose.importJWK(plain.jwks().keys[0]);
  const fastVerify = createVerifier({
    key: keys.fastPublic,
    algorithms: [alg],
    allowedIss: issuer,
    allowedAud: audience,
    requiredClaims: ["iss", "aud", "exp", "sub"],
  });
  const fastSign = createSigner({ key: keys.fastPrivate, algorithm: alg, kid, header: { typ: "at+jwt" } });
  const claims = (n) => {
    const iat = Math.floor(Date.now() / 1000);
    return {
      iss: issuer,
      aud: audience,
      client_id: audience,
      ...user(n),
      iat,
      exp: iat + 600,
      jti: crypto.randomUUID(),
    };
  };

  const verifying = {
    coatcheck: (token) => plain.verify(token),
    "coatcheck, cache": (token) => cached.verify(token),
    "fast-jwt": (token) => fastVerify(token),
    ...(alg === "EdDSA"
      ? {}
      : { jsonwebtoken: (token) => jsonwebtoken.verify(token, keys.public, { algorithms: [alg], issuer, audience }) }),
    jose: (token) => jose.jwtVerify(token, josePublic, { issuer, audience, typ: "at+jwt", algorithms: [alg] }),
    ...(alg === "HS256"
      ? {
          "bare HMAC of the same bytes": bareHmac(keys.public),
          "bare HMAC, base64url and JSON.parse": bareRead(keys.public),
        }
      : {}),
  };
  const signing = {
    coatcheck: (n) => plain.sign(user(n)),
    "fast-jwt": (n) => fastSign(claims(n)),
    ...(alg === "EdDSA"
      ? {}
      : {
          jsonwebtoken: (n) =>
            jsonwebtoken.sign(claims(n), keys.private, { algorithm: alg, header: { typ: "at+jwt", kid } }),
        }),
    jose: (n) => new jose.SignJWT(claims(n)).setProtectedHeader({ alg, typ: "at+jwt", kid }).sign(joseKey),
  };
  for (const verify of Object.values(verifying)) await verify(tokens[0]);
  await table(`${alg}, verify`, verifying, arrived, alg === "HS256" ? 2 : 1);
  await table(`${alg}, sign`, signing, () => tokens.map((_, n) => n), alg === "HS256" ? 2 : 1);
}

function keysOf(alg, jwk) {
  if (alg === "HS256") {
    const secret = Buffer.from(jwk.k, "base64url");
    const key = createSecretKey(secret);
    return { private: key, public: key, fastPrivate: secret, fastPublic: secret };
  }
  const privateKey = createPrivateKey({ key: jwk, format: "jwk" });
  const publicKey = createPublicKey(privateKey);
  return {
    private: privateKey,
    public: publicKey,
    fastPrivate: privateKey.export({ type: "pkcs8", format: "pem" }),
    fastPublic: publicKey.export({ type: "spki", format: "pem" }),
  };
}

function bareHmac(key) {
  return (token) =>
    createHmac("sha256", key)
      .update(token.slice(0, token.lastIndexOf(".")))
      .digest("base64url");
}

/** What no verifier can leave out, without any of its checks. */
function bareRead(key) {
  const hmac = bareHmac(key);
  return (token) => {
    const [first, second] = [token.indexOf("."), token.lastIndexOf(".")];
    if (hmac(token) !== token.slice(second + 1)) throw new Error("not signed");
    return JSON.parse(Buffer.from(token.slice(first + 1, second), "base64url").toString());
  };
}

/** Runs the variants in turns, in reversed order every other round, each on its own fresh copies of the inputs. */
async function table(title, variants, inputs, times) {
  const measured = new Map(Object.keys(variants).map((name) => [name, []]));
  for (let round = -20; round < rounds; round++) {
    const order = Object.entries(variants);
    if (round % 2 !== 0) order.reverse();
    for (const [name, run] of order) {
      const fresh = Array.from({ length: times }, inputs).flat();
      const start = process.hrtime.bigint();
      for (const input of fresh) await run(input);
      const each = Number(process.hrtime.bigint() - start) / 1000 / fresh.length;
      // The first rounds warm up.
      if (round >= 0) measured.get(name).push(each);
    }
  }
  console.log(`\n**${title}**\n\n| | fastest | median | fastest against coatcheck |\n| --- | --- | --- | --- |`);
  const base = Math.min(...measured.get("coatcheck"));
  for (const [name, values] of measured) {
    const [fastest, middle] = [Math.min(...values), values.toSorted((a, b) => a - b)[values.length >> 1]];
    console.log(`| ${name} | ${fastest.toFixed(2)} | ${middle.toFixed(2)} | ${(fastest / base).toFixed(2)} |`);
  }
}
