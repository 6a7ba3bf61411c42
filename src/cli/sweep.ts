/** `glissade sweep`: many trainings of a recipe with other hyperparameters, several at a time, in folders that a sweep can be resumed from. */
import { spawn } from "node:child_process";
import { mkdir } from "node:fs/promises";
import { availableParallelism } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { ConfigError, FormatError, printable, quoted } from "../errors.ts";
import { readFileChecked, writeFileAtomically } from "../files/node/atomic.ts";
import { hostStream } from "../random/generator.ts";
import type { PhiloxStream } from "../random/stream.ts";
import {
  type HyperparameterDescription,
  parseHyperparameters,
  unknownName,
  valueOfWord,
} from "../recipes/hyperparameters.ts";
import { isRecipeName } from "../recipes/index.ts";
import type { Recipe } from "../recipes/recipe.ts";
import { jsonOf, readMetrics } from "../train/node/layout.ts";
import { readRun } from "../train/node/read.ts";
import { pointOf, risesWithSkill } from "./compare.ts";
import { quotedForShell } from "./hyperparameters.ts";
import { bold, colour, dim, Table } from "./pictures.ts";
import { loadSubject } from "./subject.ts";
import { exitCodes } from "./train.ts";
import { duration, metricText } from "./view.ts";
import { isThere, stamp } from "./words.ts";

export const strategies = ["grid", "random", "halving"] as const;

export interface SweepOptions {
  /** "learningRate=0.001,0.01" or "learningRate=1e-4..1e-1:log", one for each hyperparameter that varies. */
  readonly vary: readonly string[];
  readonly strategy: (typeof strategies)[number];
  /** How many are drawn, by "random" and "halving". */
  readonly trials: number;
  /** Steps of the first round of "halving". */
  readonly minSteps: number;
  /** By what "halving" raises steps, and divides trials, from round to round. */
  readonly factor: number;
  /** Trainings at the same time. */
  readonly processes: number;
  /** What is compared. Default: what the recipe chooses its best model by. */
  readonly metric?: string;
  readonly lowerIsBetter?: boolean;
  readonly seed: number;
  readonly out?: string;
  readonly json?: boolean;
}

/** `sweep.json`: what is to be done. How far it is stands in the folders of the trials. */
export interface SweepPlan {
  readonly format: 1;
  /** A recipe of ours, or a file's path from the sweep's folder. */
  readonly recipe: string;
  readonly metric: string | null;
  readonly lowerIsBetter: boolean | null;
  /** Rounds: the steps that each trial gets, null for all, and how many trials go on. */
  readonly rounds: readonly { readonly steps: number | null; readonly trials: number }[];
  readonly trials: readonly { readonly [name: string]: unknown }[];
}

const planSchema = z.object({
  format: z.literal(1),
  recipe: z.string().min(1).max(4096),
  metric: z.string().nullable(),
  lowerIsBetter: z.boolean().nullable(),
  rounds: z
    .array(z.object({ steps: z.int().min(1).nullable(), trials: z.int().min(1) }))
    .min(1)
    .max(100),
  trials: z.array(z.record(z.string(), z.unknown())).min(1).max(100_000),
});

/** Begins a sweep. `fixed` are hyperparameters that are the same in all trials. Returns the exit code. */
export async function sweepCommand(
  subject: string,
  fixed: Readonly<Record<string, unknown>>,
  options: SweepOptions,
): Promise<number> {
  const recipe = await loadSubject(subject);
  const trials = trialsOf(recipe, fixed, options);
  const folder = options.out ?? path.join("runs", `sweep-${recipe.name}-${stamp()}`);
  if (await isThere(path.join(folder, "sweep.json")))
    throw new ConfigError(
      "sweep",
      `${printable(folder)} holds a sweep already`,
      `go on with it: glissade sweep --resume ${quotedForShell(folder)}`,
    );
  await mkdir(folder, { recursive: true });
  const plan: SweepPlan = {
    format: 1,
    recipe: isRecipeName(subject) ? subject : path.relative(path.resolve(folder), path.resolve(subject)),
    metric: options.metric ?? null,
    lowerIsBetter: options.lowerIsBetter ?? null,
    rounds: roundsOf(options, trials.length),
    trials,
  };
  await writeFileAtomically(path.join(folder, "sweep.json"), `${JSON.stringify(plan, null, 2)}\n`);
  return new Sweep(folder, plan, options.processes, options.json ?? false).run();
}

/** Goes on with a sweep: trials that are done stay, those under way are resumed. */
export async function resumeSweepCommand(
  folder: string,
  { processes, json = false }: Pick<SweepOptions, "processes" | "json">,
): Promise<number> {
  const file = path.join(folder, "sweep.json");
  const plan = decodePlan(new TextDecoder().decode(await readFileChecked(file)), file);
  return new Sweep(folder, plan, processes, json).run();
}

/** Reads `sweep.json`. Throws FormatError for anything that is none. */
export function decodePlan(text: string, source: string): SweepPlan {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new FormatError(source, "is no JSON", "begin the sweep anew", "", { cause });
  }
  const result = planSchema.safeParse(json);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw new FormatError(
    source,
    `is not what a sweep writes: ${issue?.path.map(String).join(".") || "all of it"}: ${issue?.message ?? ""}`,
    "begin the sweep anew",
  );
}

/** A hyperparameter that varies: some values, or a range of numbers. */
type Choice =
  | { readonly name: string; readonly values: readonly unknown[] }
  | {
      readonly name: string;
      readonly from: number;
      readonly to: number;
      readonly isLog: boolean;
      readonly isWhole: boolean;
    };

/** Throws ConfigError for a hyperparameter that there is not, or a text that names no values. */
export function choiceOf(text: string, known: readonly HyperparameterDescription[]): Choice {
  const at = text.indexOf("=");
  const name = text.slice(0, Math.max(0, at));
  const wrong = (): ConfigError =>
    new ConfigError(
      "sweep",
      `--vary ${quoted(text)} names no values`,
      "give values, --vary hiddenSize=16,32,64, or a range: --vary learningRate=1e-4..1e-1:log",
    );
  if (at < 1) throw wrong();
  const description = known.find((each) => each.name === name);
  if (!description)
    throw unknownName(
      "sweep",
      name,
      known.map((each) => each.name),
    );
  const words = text.slice(at + 1);
  const range = /^([^.,]+(?:\.\d[^.,]*)?)\.\.([^,:]+)(:log)?$/.exec(words);
  if (!range || !["number", "integer"].includes(description.type)) {
    const values = words.split(",").map((word) => valueOfWord(description, word.trim()));
    if (values.length === 0 || words.trim() === "") throw wrong();
    return { name, values };
  }
  const [from, to] = [Number(range[1]), Number(range[2])];
  const isLog = range[3] !== undefined;
  if (!(from < to) || !Number.isFinite(to - from) || (isLog && from <= 0)) throw wrong();
  return { name, from, to, isLog, isWhole: description.type === "integer" };
}

const mostTrials = 10_000;

/** The hyperparameters of all trials, checked. Throws ConfigError for what cannot be. */
export function trialsOf(
  recipe: Recipe,
  fixed: Readonly<Record<string, unknown>>,
  { vary, strategy, trials: count, seed }: Pick<SweepOptions, "vary" | "strategy" | "trials" | "seed">,
): Record<string, unknown>[] {
  const choices = vary.map((text) => choiceOf(text, recipe.hyperparameters));
  if (choices.length === 0)
    throw new ConfigError("sweep", "nothing varies", "say what does: --vary learningRate=0.001,0.01");
  const twice = choices.find(({ name }, i) => choices.findIndex((each) => each.name === name) < i);
  if (twice) throw new ConfigError("sweep", `${twice.name} varies twice`, "give it one --vary, with all values");
  const random = hostStream(seed, "choice");
  const all =
    strategy === "grid"
      ? gridOf(choices)
      : Array.from({ length: count }, () =>
          Object.fromEntries(choices.map((each) => [each.name, drawn(each, random)])),
        );
  const trials = all.map((each) => ({ ...fixed, ...each }));
  for (const each of trials) parseHyperparameters(recipe.name, recipe.schemas, each);
  return trials;
}

function gridOf(choices: readonly Choice[]): Record<string, unknown>[] {
  let all: Record<string, unknown>[] = [{}];
  for (const choice of choices) {
    if (!("values" in choice))
      throw new ConfigError(
        "sweep",
        `${choice.name} is a range, and a grid has values`,
        "name values, or take --strategy random",
      );
    all = all.flatMap((each) => choice.values.map((value) => ({ ...each, [choice.name]: value })));
    if (all.length > mostTrials)
      throw new ConfigError(
        "sweep",
        `the grid has more than ${mostTrials} points`,
        "vary less, or take --strategy random",
      );
  }
  return all;
}

function drawn(choice: Choice, random: PhiloxStream): unknown {
  const share = random.uniform();
  if ("values" in choice) return choice.values[Math.floor(share * choice.values.length)];
  const { from, to, isLog, isWhole } = choice;
  const value = isLog ? from * (to / from) ** share : from + (to - from) * share;
  return isWhole ? Math.round(value) : Number(value.toPrecision(4));
}

/** One round with all steps; of halving as many rounds as leave one trial, each with `factor` times the steps. */
function roundsOf({ strategy, minSteps, factor }: SweepOptions, trials: number): SweepPlan["rounds"] {
  if (strategy !== "halving") return [{ steps: null, trials }];
  const rounds: { steps: number | null; trials: number }[] = [];
  let [left, steps] = [trials, minSteps];
  while (left > 1) {
    rounds.push({ steps, trials: left });
    left = Math.ceil(left / factor);
    steps *= factor;
  }
  return [...rounds, { steps: null, trials: 1 }];
}

/** How a trial stands after a round. */
interface Standing {
  readonly trial: number;
  /** Absent for one that failed, or has no numbers. */
  readonly score?: number;
  readonly state: string;
  readonly seconds: number;
}

class Sweep {
  readonly #folder: string;
  readonly #plan: SweepPlan;
  readonly #processes: number;
  readonly #json: boolean;
  readonly #running = new Set<ReturnType<typeof spawn>>();
  #isStopping = false;
  #metric: string | undefined;

  constructor(folder: string, plan: SweepPlan, processes: number, json: boolean) {
    this.#folder = folder;
    this.#plan = plan;
    this.#processes = processes;
    this.#json = json;
    this.#metric = plan.metric ?? undefined;
  }

  async run(): Promise<number> {
    const { rounds, trials } = this.#plan;
    const say = this.#json ? (): void => {} : (text: string): void => console.log(text);
    say(
      `${bold(`Sweep of ${printable(this.#plan.recipe)}`)}\n${dim(`${trials.length} trials, ${this.#processes} at a time, in ${this.#folder}`)}`,
    );
    const interrupt = (): void => {
      if (this.#isStopping) process.exit(exitCodes.stopped);
      this.#isStopping = true;
      for (const child of this.#running) child.kill("SIGINT");
    };
    process.on("SIGINT", interrupt);
    process.on("SIGTERM", interrupt);
    let left = trials.map((_, i) => i);
    let standings: Standing[] = [];
    try {
      for (const { steps, trials: count } of rounds) {
        left = left.slice(0, count);
        standings = await this.#round(left, steps);
        if (this.#isStopping) break;
        standings.sort((a, b) => this.#compare(a, b));
        left = standings.map(({ trial }) => trial);
        this.#sayRound(standings, steps);
      }
    } finally {
      process.off("SIGINT", interrupt);
      process.off("SIGTERM", interrupt);
    }
    if (this.#isStopping) {
      const text = `Stopped, as you asked; everything is saved. Go on with:\n  npx glissade sweep --resume ${quotedForShell(this.#folder)}`;
      if (this.#json) console.error(text);
      else say(`\n${colour("yellow", text)}`);
      return exitCodes.stopped;
    }
    const [best] = standings;
    if (best?.score === undefined) {
      console.error("No trial has a score: see the output of one, glissade resume FOLDER/trial-1");
      return exitCodes.failed;
    }
    say(
      `\n${colour("green", "Best")} ${this.#folderOf(best.trial)}  ${this.#metric} ${metricText(this.#metric ?? "", best.score)}`,
    );
    say(dim(`  ${JSON.stringify(this.#plan.trials[best.trial])}`));
    return exitCodes.done;
  }

  #folderOf(trial: number): string {
    return path.join(this.#folder, `trial-${trial + 1}`);
  }

  /** Trains what is not trained so far. */
  async #round(trials: readonly number[], steps: number | null): Promise<Standing[]> {
    const queue = [...trials];
    const work = async (): Promise<void> => {
      for (let trial = queue.shift(); trial !== undefined && !this.#isStopping; trial = queue.shift())
        await this.#train(trial, steps);
    };
    await Promise.all(Array.from({ length: Math.min(this.#processes, trials.length) }, work));
    await this.#chooseMetric(trials);
    return Promise.all(trials.map((trial) => this.#standing(trial, steps)));
  }

  /** Takes the metric by which the trials chose their best checkpoints, unless the plan names one: the same for all trials. */
  async #chooseMetric(trials: readonly number[]): Promise<void> {
    for (const trial of trials) {
      if (this.#metric !== undefined) return;
      const run = await readRun(this.#folderOf(trial)).catch(() => undefined);
      this.#metric = run?.status.best?.metric;
    }
  }

  async #train(trial: number, steps: number | null): Promise<void> {
    const folder = this.#folderOf(trial);
    const before = await readRun(folder).catch(() => undefined);
    const { state = "", step = 0 } = before?.status ?? {};
    const isDone =
      ["failed", "early-stopping"].includes(state) || (steps !== null && step >= steps && state === "finished");
    const isWhole =
      before !== undefined && before.status.steps !== null && step >= before.status.steps && state === "finished";
    if (isDone || (isWhole && steps === null && (await wasWhole(folder)))) return;
    const most = steps === null ? [] : ["--max-steps", String(steps)];
    if (before !== undefined && before.last !== undefined) return this.#child(["resume", folder, ...most], trial);
    const settings = path.join(this.#folder, `trial-${trial + 1}.json`);
    await writeFileAtomically(settings, `${JSON.stringify(this.#plan.trials[trial], null, 2)}\n`);
    const { recipe } = this.#plan;
    const subject = isRecipeName(recipe) ? recipe : path.resolve(this.#folder, recipe);
    return this.#child(["train", subject, "--config", settings, "--out", folder, "--overwrite", ...most], trial);
  }

  #child(words: readonly string[], trial: number): Promise<void> {
    const main = fileURLToPath(new URL("./main.js", import.meta.url));
    const threads = Math.max(1, Math.floor(availableParallelism() / this.#processes));
    const env = { ...process.env, GLISSADE_THREADS: process.env.GLISSADE_THREADS ?? String(threads) };
    const child = spawn(process.execPath, [main, ...words, "--json"], { env, stdio: ["ignore", "ignore", "pipe"] });
    this.#running.add(child);
    let err = "";
    child.stderr.on("data", (text: Buffer) => {
      err = `${err}${text.toString()}`.slice(-2000);
    });
    return new Promise((resolve) => {
      child.on("error", (error) => {
        console.error(`trial ${trial + 1}: ${error.message}`);
        this.#running.delete(child);
        resolve();
      });
      child.on("close", (code) => {
        this.#running.delete(child);
        if (code !== 0 && !this.#isStopping)
          console.error(`trial ${trial + 1}: ${printable(err.trim().split("\n")[0] ?? "", 300)}`);
        resolve();
      });
    });
  }

  /** The best value of a trial's metric up to a step. */
  async #standing(trial: number, steps: number | null): Promise<Standing> {
    const folder = this.#folderOf(trial);
    try {
      const { status } = await readRun(folder);
      const metric = this.#metric ?? "loss";
      const points = (await readMetrics(folder)).flatMap((record) => pointOf(record, metric));
      const values = points.filter(([step]) => steps === null || step <= steps).map(([, value]) => value);
      const { state, seconds } = status;
      if (values.length === 0 || state === "failed") return { trial, state, seconds };
      return { trial, state, seconds, score: this.#isLower ? Math.min(...values) : Math.max(...values) };
    } catch {
      return { trial, state: "not begun", seconds: 0 };
    }
  }

  get #isLower(): boolean {
    return this.#plan.lowerIsBetter ?? !risesWithSkill(this.#metric ?? "loss");
  }

  #compare(a: Standing, b: Standing): number {
    const worst = this.#isLower ? Number.POSITIVE_INFINITY : Number.NEGATIVE_INFINITY;
    const [x, y] = [a.score ?? worst, b.score ?? worst];
    return x === y ? a.trial - b.trial : this.#isLower ? x - y : y - x;
  }

  #sayRound(standings: readonly Standing[], steps: number | null): void {
    const { trials } = this.#plan;
    if (this.#json) {
      for (const { trial, ...rest } of standings)
        console.log(
          jsonOf({ run: this.#folderOf(trial), steps, metric: this.#metric, ...rest, hyperparameters: trials[trial] }),
        );
      return;
    }
    const names = Object.keys(trials[0]!).filter(
      (name) => new Set(trials.map((each) => JSON.stringify(each[name]))).size > 1,
    );
    const metric = this.#metric ?? "loss";
    const table = new Table([
      { title: "trial", width: 9 },
      { title: metric, width: Math.max(metric.length, 9) },
      ...names.map((title) => ({ title, width: Math.max(title.length, 8) })),
      { title: "state", width: 14 },
      { title: "time", width: 8 },
    ]);
    console.log(`\n${steps === null ? "" : dim(`after ${steps} steps\n`)}${table.head()}`);
    for (const { trial, score, state, seconds } of standings)
      console.log(
        table.row([
          `trial-${trial + 1}`,
          score === undefined ? "–" : metricText(metric, score),
          ...names.map((name) => printable(JSON.stringify(trials[trial]![name]), 20)),
          state,
          duration(seconds),
        ]),
      );
  }
}

/** Whether a run has ended by its recipe, and not by a round's steps: then its own files stand in its folder. */
async function wasWhole(folder: string): Promise<boolean> {
  const { config } = await readRun(folder);
  return config.options.maxSteps === undefined;
}
