import { cpus } from "node:os";

/**
 * The results as Markdown: a table for each scenario, the variants as rows. `runs`: what one round measured of one variant
 * in one scenario, `{ round, variant, scenario, cpu, rate }`, in microseconds and requests per second.
 */
export function report({ runs, variants, scenarios, rounds, count, seconds }) {
  const lines = [
    `Node ${process.versions.node}, ${cpus().length} × ${cpus()[0]?.model.trim() ?? "unknown CPU"}. Median of ${rounds} ` +
      `rounds (smallest to largest), ${count} requests in each round and row, ${Math.round(seconds)} s in all.`,
  ];
  for (const [scenario, { title }] of Object.entries(scenarios)) {
    lines.push("", `**${title}**`, "");
    lines.push("| | CPU per request | against bare Express | requests per second |", "| --- | --- | --- | --- |");
    const of = (variant) => runs.filter((run) => run.scenario === scenario && run.variant === variant);
    const bare = new Map(of("bare").map(({ round, cpu }) => [round, cpu]));
    for (const [variant, name] of Object.entries(variants)) {
      const measured = of(variant);
      // Only the same round is compared, so that a machine that gets slower or faster does not count.
      const ratios = measured.flatMap(({ round, cpu }) => (bare.has(round) ? [cpu / bare.get(round)] : []));
      const cells = [
        spread(
          measured.map(({ cpu }) => cpu),
          0,
          " µs",
        ),
        variant === "bare" || ratios.length === 0 ? "" : spread(ratios, 2),
        spread(
          measured.map(({ rate }) => rate),
          0,
        ),
      ];
      lines.push(`| ${name} | ${cells.join(" | ")} |`);
    }
  }
  return lines.join("\n");
}

function spread(values, digits, unit = "") {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  const text = (value) => value.toFixed(digits);
  return `${text(median)}${unit} (${text(sorted[0])} to ${text(sorted.at(-1))})`;
}
