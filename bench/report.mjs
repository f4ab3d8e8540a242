import { cpus } from "node:os";

/** The results as Markdown: one table for each scenario, the variants as rows. `runs` are `{ round, variant, scenario, cpu, rate }`. */
export function report({ runs, variants, scenarios, rounds, count, seconds }) {
  const lines = [
    `Node ${process.versions.node}, ${cpus().length} × ${cpus()[0]?.model.trim() ?? "unknown CPU"}. ` +
      `Median of ${rounds} rounds (smallest to largest), ${count} requests each, ${Math.round(seconds)} s in all.`,
  ];
  for (const [scenario, { title }] of Object.entries(scenarios)) {
    lines.push(
      "",
      `**${title}**`,
      "",
      "| | CPU per request | against bare Express | requests per second |",
      "| --- | --- | --- | --- |",
    );
    const of = (variant, field) =>
      runs.filter((run) => run.scenario === scenario && run.variant === variant).map((run) => run[field]);
    const bare = of("bare", "cpu");
    for (const [variant, title] of Object.entries(variants)) {
      const cpu = of(variant, "cpu");
      // Neighbours in time are compared, so that a machine that gets slower or faster does not count.
      const ratios = cpu.map((value, round) => value / bare[round]);
      const cells = [
        spread(cpu, 1, " µs"),
        variant === "bare" ? "1" : spread(ratios, 2),
        spread(of(variant, "rate"), 0),
      ];
      lines.push(`| ${title} | ${cells.join(" | ")} |`);
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
