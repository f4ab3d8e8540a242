/**
 * A value's text as JSON that operators can query. What is not JSON becomes a string; what is nested more than 500 deep
 * becomes null, because the server's parser has a limit of its own.
 */
export function queryableJson(text: string): string {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return JSON.stringify(text);
  }
  // A text of 1000 characters cannot nest deeper than that.
  return text.length > 2 * DEEPEST && isDeeper(value, DEEPEST) ? "null" : JSON.stringify(value);
}

const DEEPEST = 500;

function isDeeper(value: unknown, depth: number): boolean {
  if (typeof value !== "object" || value === null) return false;
  return depth === 0 || Object.values(value).some((member) => isDeeper(member, depth - 1));
}
