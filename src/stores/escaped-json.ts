/**
 * JSON and texts for databases that refuse NUL and lone surrogates. Each is written as U+001A followed by its four
 * hexadecimal digits; U+001A itself likewise. All other text is left as it is.
 *
 * @module
 */

/** Escapes in what `JSON.stringify` wrote, in strings and keys. */
export function escapeJson(json: string): string {
  if (!json.includes("\\u")) return json;
  return json.replace(ESCAPES, (sequence) => (sequence.length === 6 ? `\\u001a${sequence.slice(2)}` : sequence));
}

/** The reverse of `escapeJson`, also after the server has written the JSON anew. */
export function unescapeJson(json: string): string {
  if (!json.includes("\\u001a")) return json;
  return json.replace(ESCAPED, (sequence, digits?: string) => (digits === undefined ? sequence : `\\u${digits}`));
}

/** Escapes in a text that is not JSON. */
export function escapeText(text: string): string {
  return UNUSUAL.test(text) ? (JSON.parse(escapeJson(JSON.stringify(text))) as string) : text;
}

/** The reverse of `escapeText`. */
export function unescapeText(text: string): string {
  return text.includes("\u001a") ? (JSON.parse(unescapeJson(JSON.stringify(text))) as string) : text;
}

// An escaped backslash is matched as a pair, so that the "u0000" after it is not taken for an escape.
const ESCAPES = /\\(?:u(?:0000|001a|d[89a-f][0-9a-f]{2})|.)/g;
const ESCAPED = /\\(?:u001a([0-9a-f]{4})|.)/g;
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what it looks for.
const UNUSUAL = /[\0\x1a\p{Cs}]/u;
