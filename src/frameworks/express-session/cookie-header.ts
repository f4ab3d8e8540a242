/** The value of the first cookie of this name, decoded, and whether there are others of the name. */
export interface FoundCookie {
  readonly value: string;
  readonly repeated: boolean;
}

/** Looks for one cookie in a Cookie header, in linear time, and builds nothing of the others. */
export function findCookie(header: string, name: string): FoundCookie | undefined {
  let value: string | undefined;
  let start = 0;
  while (start < header.length) {
    let end = header.indexOf(";", start);
    if (end === -1) end = header.length;
    const equals = nameEnd(header, start, end, name);
    if (equals !== -1) {
      if (value !== undefined) return { value: decoded(value), repeated: true };
      value = header.slice(equals + 1, end).trim();
    }
    start = end + 1;
  }
  return value === undefined ? undefined : { value: decoded(value), repeated: false };
}

/** Where the `=` after the name is, or -1 for a pair of another name. */
function nameEnd(header: string, start: number, end: number, name: string): number {
  let at = start;
  while (at < end && isSpace(header.charCodeAt(at))) at++;
  if (!header.startsWith(name, at)) return -1;
  at += name.length;
  while (at < end && isSpace(header.charCodeAt(at))) at++;
  return at < end && header[at] === "=" ? at : -1;
}

const isSpace = (code: number): boolean => code === 0x20 || code === 0x09;

function decoded(value: string): string {
  const bare = value.length > 1 && value.startsWith('"') && value.endsWith('"') ? value.slice(1, -1) : value;
  if (!bare.includes("%")) return bare;
  try {
    return decodeURIComponent(bare);
  } catch {
    return bare;
  }
}
