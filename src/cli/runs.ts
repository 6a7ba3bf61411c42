/** `glissade runs`: the runs in a folder, one line each. */
import path from "node:path";
import { printable } from "../errors.ts";
import { jsonOf } from "../train/node/layout.ts";
import { findRuns, type RunReport, readRun } from "../train/node/read.ts";
import { bold, colour, dim, Table } from "./pictures.ts";
import { duration, metricText } from "./view.ts";

export interface RunsOptions {
  readonly json?: boolean;
}

export async function runsCommand(folder: string, { json }: RunsOptions): Promise<number> {
  const folders = await findRuns(folder);
  const reports = await Promise.all(
    folders.map((each) => readRun(each).catch((error: unknown) => ({ folder: each, error }))),
  );
  if (json) {
    for (const each of reports)
      console.log(
        jsonOf(
          "error" in each
            ? { folder: each.folder, state: "damaged", error: messageOf(each.error) }
            : {
                folder: each.folder,
                recipe: each.config.name,
                ...each.status,
                hyperparameters: each.config.hyperparameters,
              },
        ),
      );
    return 0;
  }
  if (reports.length === 0) {
    console.log(`There are no runs in ${printable(folder)}. Make one: npx glissade train digits`);
    return 0;
  }
  const names = reports.map(({ folder: each }) => printable(path.basename(each)));
  const table = new Table([
    { title: "run", width: Math.max(...names.map((name) => name.length)) },
    { title: "state", width: 14 },
    { title: "steps", width: 13 },
    { title: "best", width: 24 },
    { title: "time", width: 9 },
  ]);
  console.log(table.head());
  for (const [i, report] of reports.entries()) {
    if ("error" in report) console.log(`${names[i]!.padEnd(10)}  ${colour("red", messageOf(report.error))}`);
    else console.log(colouredState(table.row([names[i]!, ...cellsOf(report)]), report));
  }
  console.log(dim(`\n${reports.length} in ${printable(folder)}; ${bold("glissade compare")} draws their curves`));
  return 0;
}

function cellsOf({ status }: RunReport): string[] {
  const { state, step, steps, best, seconds } = status;
  return [
    state,
    steps === null ? String(step) : `${step}/${steps}`,
    best ? `${best.metric} ${metricText(best.metric, best.value)} @ ${best.step}` : "–",
    duration(seconds),
  ];
}

const colours = { running: "cyan", failed: "red", interrupted: "yellow", stopped: "yellow" } as const;

function colouredState(line: string, { status: { state } }: RunReport): string {
  return state in colours ? line.replace(state, colour(colours[state as keyof typeof colours], state)) : line;
}

const messageOf = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error)).replaceAll(/\s*\n\s*/g, "; ");
