import { join } from "node:path";
import { generateKey, type KeyMaterial } from "coatcheck/tokens";
import { keptText } from "./kept-text.ts";

/** The shop's own key for access tokens, kept in its folder, so that a restart keeps tokens valid. */
export function ownTokenKey(dataDir: string): KeyMaterial {
  return parseTokenKey(keptText(join(dataDir, "token-key.json"), () => JSON.stringify(generateKey("ES256"))));
}

/** A key as text: a JWK, PEM, or a secret in base64url. What it is worth, `createTokens` says. */
export function parseTokenKey(text: string): KeyMaterial {
  if (!text.trimStart().startsWith("{")) return text.trim();
  try {
    return JSON.parse(text) as KeyMaterial;
  } catch {
    // The parser's message would show the key.
    throw new Error("The key for tokens is not valid JSON.");
  }
}
