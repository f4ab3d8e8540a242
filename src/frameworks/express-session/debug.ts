const on = isOn(process.env.DEBUG ?? "");

/**
 * Says what happens on standard error when the environment has `DEBUG=express-session`, as express-session does. Never an
 * id, for whoever reads a log is not to become the visitor.
 */
export function debug(message: string): void {
  if (on) process.stderr.write(`${new Date().toUTCString()} express-session ${message}\n`);
}

function isOn(patterns: string): boolean {
  let found = false;
  for (const pattern of patterns.split(/[\s,]+/)) {
    const negated = pattern.startsWith("-");
    const text = (negated ? pattern.slice(1) : pattern).replace(/[.+?^${}()|[\]\\]/g, "\\$&").replaceAll("*", ".*");
    if (text === "" || !new RegExp(`^${text}$`).test("express-session")) continue;
    if (negated) return false;
    found = true;
  }
  return found;
}
