/** `glissade compare`: curves of several runs in the terminal, and what was different between them. */
import path from "node:path";
import { ConfigError, printable } from "../errors.ts";
import { jsonOf, type MetricRecord, readMetrics } from "../train/node/layout.ts";
import { type RunReport, readRun } from "../train/node/read.ts";
import { drawCurves, markOf } from "./chart.ts";
import { bold, colour, Table } from "./pictures.ts";
import { metricText, warn } from "./view.ts";

export interface CompareOptions {
  /** "loss", "train-loss", or the name of a metric. Default: what the first run's best checkpoint was chosen by. */
  readonly metric?: string;
  readonly json?: boolean;
}

interface Curve {
  readonly name: string;
  readonly run: RunReport;
  readonly points: readonly (readonly [step: number, value: number])[];
  /** What stands for it in the picture; undefined without points. */
  readonly mark: string | undefined;
}

const palette = ["cyan", "yellow", "green", "red"] as const;

/** A mark in the colour of its curve. */
const painted = (mark: string, place: number): string => colour(palette[place % palette.length]!, mark);

export async function compareCommand(folders: readonly string[], { metric, json }: CompareOptions): Promise<number> {
  const runs: RunReport[] = [];
  for (const folder of folders) {
    try {
      runs.push(await readRun(folder));
    } catch (error) {
      // A pattern such as runs/* also names what is no run.
      warn(
        `${printable(folder)} is left out: ${error instanceof Error ? error.message.split("\n")[0] : String(error)}`,
      );
    }
  }
  const [first] = runs;
  if (!first) throw new ConfigError("compare", "none of these is a run", "name folders of runs: runs/*");
  const wanted = metric ?? first.status.best?.metric ?? "loss";
  const curves: Curve[] = [];
  let marked = 0;
  const all = await Promise.all(runs.map((run) => readMetrics(run.folder)));
  for (const [i, run] of runs.entries()) {
    const points = all[i]!.flatMap((record) => pointOf(record, wanted));
    const mark = points.length > 0 ? markOf(marked++) : undefined;
    curves.push({ name: printable(path.basename(run.folder)), run, points, mark });
  }
  if (curves.every(({ points }) => points.length === 0))
    throw new ConfigError(
      "compare",
      `no run has numbers of ${printable(wanted)}`,
      `choose one: --metric ${metricsIn(all.flat()).join(", ") || "(there are no numbers at all yet)"}`,
    );
  if (json) {
    for (const { run, points } of curves)
      console.log(jsonOf({ run: run.folder, metric: wanted, points, hyperparameters: run.config.hyperparameters }));
    return 0;
  }
  draw(wanted, curves);
  sayTable(wanted, curves);
  return 0;
}

/** The number of a metric in a record, with its step. */
export function pointOf(record: MetricRecord, wanted: string): (readonly [number, number])[] {
  const value =
    record.type === "evaluation"
      ? wanted === "loss"
        ? record.loss
        : record.metrics[wanted]
      : wanted === "train-loss" && record.type === "epoch"
        ? record.loss
        : record.type === "own"
          ? record.values[wanted]
          : undefined;
  return typeof value === "number" && Number.isFinite(value) ? [[record.step, value]] : [];
}

/** Whether a larger value is better, by the metric's name. */
export const risesWithSkill = (metric: string): boolean => !/loss|perplexity|distance|error/i.test(metric);

function metricsIn(records: readonly MetricRecord[]): string[] {
  const names = new Set<string>();
  for (const record of records) {
    if (record.type === "epoch") names.add("train-loss");
    if (record.type === "own") for (const name of Object.keys(record.values)) names.add(name);
    if (record.type !== "evaluation") continue;
    names.add("loss");
    for (const [name, value] of Object.entries(record.metrics)) if (typeof value === "number") names.add(name);
  }
  return [...names];
}

function draw(metric: string, curves: readonly Curve[]): void {
  console.log(bold(printable(metric)));
  if (curves.every(({ points }) => points.length < 2)) return;
  const drawn = curves.flatMap(({ points, mark }) => (mark === undefined ? [] : [{ points, mark }]));
  const width = Math.max(30, Math.min(process.stdout.columns ?? 80, 100) - 14);
  for (const line of drawCurves(drawn, { width, height: 14, paint: painted })) console.log(line);
}

function sayTable(metric: string, curves: readonly Curve[]): void {
  const rises = risesWithSkill(metric);
  const differing = differingNames(curves.map(({ run }) => run.config.hyperparameters));
  const table = new Table([
    { title: "run", width: Math.max(...curves.map(({ name }) => name.length)) + 2 },
    { title: "state", width: 14 },
    { title: "last", width: 9 },
    { title: "best", width: 9 },
    { title: "at step", width: 8 },
    ...differing.map((title) => ({ title, width: Math.max(title.length, 8) })),
  ]);
  console.log(`\n${table.head()}`);
  let drawn = 0;
  for (const { name, run, points, mark } of curves) {
    const values = points.map(([, value]) => value);
    const best = values.length === 0 ? undefined : rises ? Math.max(...values) : Math.min(...values);
    const text = (value: number | undefined): string => (value === undefined ? "–" : metricText(metric, value));
    const row = table.row([
      `${mark ?? " "} ${name}`,
      run.status.state,
      text(values.at(-1)),
      text(best),
      String(points.find(([, value]) => value === best)?.[0] ?? "–"),
      ...differing.map((each) => printable(JSON.stringify(run.config.hyperparameters[each] ?? null), 20)),
    ]);
    console.log(mark === undefined ? row : row.replace(mark, painted(mark, drawn++)));
  }
}

/** The hyperparameters that are not the same in all runs. */
function differingNames(all: readonly Readonly<Record<string, unknown>>[]): string[] {
  const names = [...new Set(all.flatMap((each) => Object.keys(each)))];
  return names.filter((name) => new Set(all.map((each) => JSON.stringify(each[name]))).size > 1);
}
