/** `glissade evaluate`: all metrics of a run's model over its validation data. */
import { ConfigError } from "../errors.ts";
import { validate } from "../train/fit.ts";
import type { MetricValue } from "../train/metrics.ts";
import { jsonOf } from "../train/node/layout.ts";
import { loadTrained, type Which } from "./checkpoint.ts";
import { networkOf } from "./network.ts";
import { bold, dim, Table } from "./pictures.ts";
import { duration, metricText } from "./view.ts";

export interface EvaluateOptions {
  readonly checkpoint: Which;
  readonly json?: boolean;
  /** On the recipe's test data instead of its validation data. */
  readonly test?: boolean;
}

export async function evaluateCommand(folder: string, { checkpoint, json, test }: EvaluateOptions): Promise<number> {
  const { prepared, step, recipe } = await loadTrained(folder, checkpoint);
  if (test && !prepared.test)
    throw new ConfigError("evaluate", `the recipe ${recipe.name} has no test data`, "leave out --test");
  const report = await validate(test ? { ...prepared.setup, validation: prepared.test! } : prepared.setup);
  const baselines = prepared.baselines.map(({ name, ...on }) => ({
    name,
    metrics: (test ? on.test : on.validation) ?? {},
  }));
  if (json) {
    console.log(jsonOf({ run: folder, step, ...report, ...(baselines.length > 0 && { baselines }) }));
    return 0;
  }
  console.log(
    `${bold(recipe.description)}\n${dim(`${folder}, step ${step}: ${report.examples} examples in ${duration(report.seconds)}`)}\n`,
  );
  const rows = [["loss", report.loss] as const, ...Object.entries(report.metrics)];
  const width = Math.max(...rows.map(([name]) => name.length));
  for (const [name, value] of rows)
    if (typeof value === "number") console.log(`${name.padEnd(width)}  ${metricText(name, value)}`);
  for (const { name, metrics } of baselines)
    for (const [metric, value] of Object.entries(metrics))
      console.log(dim(`${metric.padEnd(width)}  ${metricText(metric, value)}  ${name}`));
  const { names } = await networkOf(prepared);
  for (const [name, value] of rows) if (typeof value !== "number") sayMatrix(name, value, names);
  return 0;
}

/** A table with the true classes down and the predicted ones across. */
function sayMatrix(name: string, value: Exclude<MetricValue, number>, names: readonly string[]): void {
  const width = Math.max(6, ...names.map((each) => each.length), ...value.flat().map((count) => String(count).length));
  const titles = value.map((_, k) => names[k] ?? String(k));
  const table = new Table([
    { title: "is \\ says", width: Math.max(9, width) },
    ...titles.map((title) => ({ title, width })),
  ]);
  console.log(`\n${name}\n${table.head()}`);
  for (const [k, row] of value.entries()) console.log(table.row([titles[k]!, ...row.map(String)]));
}
