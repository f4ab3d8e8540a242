/** Those of `all` that a list with commas names; all without one. */
export function only(names, all) {
  if (names === undefined) return all;
  return Object.fromEntries(
    names.split(",").map((name) => {
      if (!Object.hasOwn(all, name)) throw new Error(`there is no ${name}, only ${Object.keys(all).join(", ")}`);
      return [name, all[name]];
    }),
  );
}

/** Every other turn goes backwards, so that nobody is always first. */
export function reversedIn(turn, list) {
  return turn % 2 === 1 ? list.toReversed() : list;
}
