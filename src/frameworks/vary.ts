/** A `Vary` header that names one more header, unless it does already. */
export function withVary(present: string, name: string): string {
  const names = present.split(",").map((entry) => entry.trim().toLowerCase());
  if (names.includes("*") || names.includes(name.toLowerCase())) return present;
  return present === "" ? name : `${present}, ${name}`;
}
