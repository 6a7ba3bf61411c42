/** `glissade train` and `glissade resume`: a recipe, trained into a run's folder, with everything that a person wants to see and keep. */
import path from "node:path";
import { currentEngine } from "../compile/runtime.ts";
import { ConfigError, printable } from "../errors.ts";
import { writeFileAtomically } from "../files/node/atomic.ts";
import { saveWeights } from "../files/node/model.ts";
import type { PreparedRecipe, Recipe } from "../recipes/recipe.ts";
import type { FitResult } from "../train/fit.ts";
import { fit } from "../train/node/fit.ts";
import type { RunOptions } from "../train/node/options.ts";
import { readRun } from "../train/node/read.ts";
import { batchSizeOf, completeSetup } from "../train/setup.ts";
import { commandsFor } from "./asking.ts";
import { showExamples } from "./examples.ts";
import { showTexts } from "./generate.ts";
import { optionsFor, quotedForShell } from "./hyperparameters.ts";
import { inputsOf } from "./inspect.ts";
import { judgedOn, type Network, networkAsOnnx, networkOf, notOpen } from "./network.ts";
import { changedRecipe, openRun, writeOrigin } from "./origin.ts";
import { bold, colour, dim } from "./pictures.ts";
import { metricText, TrainingView, warn } from "./view.ts";
import { isThere, stamp } from "./words.ts";

/** Exit codes of all commands. */
export const exitCodes = { done: 0, failed: 1, stopped: 130 } as const;

/** What can be chosen beside hyperparameters. */
export interface TrainOptions {
  /** The run's folder. Default: runs/RECIPE-TIME. */
  readonly out?: string;
  /** Whether a run that is there gives way. */
  readonly overwrite?: boolean;
  /** The training ends after so many steps. */
  readonly maxSteps?: number;
  /** Steps between checkpoints. Default: one after each epoch. */
  readonly saveSteps?: number;
  /** One step through everything, nothing written. */
  readonly fastDevRun?: boolean;
  /** JSON lines on standard output and nothing else there. */
  readonly json?: boolean;
  /** Whether commands to try next are shown at the end. Default true. */
  readonly next?: boolean;
}

/** Trains a recipe with hyperparameters as they were given. Returns the process's exit code. */
export async function trainCommand(
  subject: string,
  recipe: Recipe,
  given: Readonly<Record<string, unknown>>,
  options: TrainOptions,
): Promise<number> {
  const prepared = await recipe.prepare(given);
  const { fastDevRun = false, overwrite = false, maxSteps, saveSteps } = options;
  const out = options.out ?? (await freeFolder(recipe.name));
  const run: RunOptions = fastDevRun
    ? { fastDevRun }
    : {
        outputDir: out,
        overwriteOutputDir: overwrite,
        ...(saveSteps !== undefined && { saveSteps }),
        hyperparameters: prepared.hyperparameters,
        runName: recipe.name,
      };
  if (!fastDevRun) {
    await expectFree(out, overwrite);
    await writeOrigin(out, subject, recipe, given, prepared.fitted); //  first: a run that is killed must be found again
  }
  return trained(
    recipe,
    prepared,
    { ...run, ...(maxSteps !== undefined && { maxSteps }) },
    { ...options, subject, given },
  );
}

/** Goes on with a run from its last checkpoint, as if it had never stopped. Returns the process's exit code. */
export async function resumeCommand(folder: string, options: TrainOptions): Promise<number> {
  const run = await openRun(folder);
  if (run.isChanged) warn(changedRecipe(run, "a resumed run may differ"));
  const prepared = await run.prepare();
  const { maxSteps, saveSteps } = options;
  return trained(
    run.recipe,
    prepared,
    {
      outputDir: folder,
      resumeFromCheckpoint: true,
      ...(maxSteps !== undefined && { maxSteps }),
      ...(saveSteps !== undefined && { saveSteps }),
    },
    { ...options, subject: run.subject, given: run.origin.hyperparameters },
  );
}

/** What a run is made of, as it was given. */
interface Given {
  readonly subject: string;
  readonly given: Readonly<Record<string, unknown>>;
}

async function trained(
  recipe: Recipe,
  prepared: PreparedRecipe,
  run: RunOptions,
  { json = false, next = true, subject, given }: TrainOptions & Given,
): Promise<number> {
  const { setup, options, prediction } = prepared;
  const say = json ? (): void => {} : (text: string): void => console.log(text);
  if (!json) sayWhat(recipe, prepared);
  const view = new TrainingView(json, prediction.image ? "images" : "examples");
  const interruption = new Interruption();
  let result: FitResult;
  try {
    result = await fit(setup, { ...options, ...run, signal: interruption.signal, onEvent: view.show });
  } finally {
    view.stop();
    interruption.end();
  }
  const { outputDir } = run;
  const isStopped = result.reason === "stopped";
  if (!json) sayEnd(result);
  const network = await networkOf(prepared);
  if (!json) await showExamples(prepared, network);
  if (!json && prepared.generation) await showTexts(prepared.generation);
  if (outputDir !== undefined) await save(prepared, network, outputDir, say);
  if (isStopped) {
    const line = outputDir === undefined ? "" : ` Go on with:\n  ${commandLine(`resume ${quotedForShell(outputDir)}`)}`;
    const text = `Stopped after ${result.step} steps, as you asked; everything is saved.${line}`;
    if (json) console.error(text);
    else console.log(`\n${colour("yellow", text)}`);
    return exitCodes.stopped;
  }
  if (!json && next && outputDir !== undefined) sayWhatNext(recipe, prepared, { subject, given }, outputDir);
  return exitCodes.done;
}

/** Ends a training after the step under way when the user asks for it; the second time at once. */
class Interruption {
  readonly #controller = new AbortController();
  readonly #interrupt = (): void => {
    if (this.#controller.signal.aborted) process.exit(exitCodes.stopped);
    this.#controller.abort();
  };

  constructor() {
    process.on("SIGINT", this.#interrupt);
    process.on("SIGTERM", this.#interrupt);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  end(): void {
    process.off("SIGINT", this.#interrupt);
    process.off("SIGTERM", this.#interrupt);
  }
}

/** The folder of a new run: by the recipe and the time, to the second, and a number where that is taken. */
export async function freeFolder(name: string): Promise<string> {
  const base = path.join("runs", `${name}-${stamp()}`);
  for (let number = 1; ; number++) {
    const folder = number === 1 ? base : `${base}-${number}`;
    if (!(await isThere(folder))) return folder;
  }
}

/** Throws ConfigError before the work when there is a run already, and it is not to give way. */
async function expectFree(folder: string, overwrite: boolean): Promise<void> {
  if (overwrite || !(await isThere(path.join(folder, "config.json")))) return;
  throw new ConfigError(
    "train",
    `${printable(folder)} holds a run already`,
    `go on with it: ${commandLine(`resume ${quotedForShell(printable(folder))}`)}; replace it: --overwrite; or choose another folder: --out`,
  );
}

/** How a command is written here: after `npm start`, as npm's; otherwise through npx. */
const commandLine = (words: string): string => `npx glissade ${words}`;

function sayWhat(recipe: Recipe, prepared: PreparedRecipe): void {
  const { model, optimizer, train } = completeSetup(recipe.name, prepared.setup);
  const batchSize = batchSizeOf(prepared.setup);
  const count = (value: number): string => value.toLocaleString("en-US");
  const examples = "examples" in train ? train.examples : "length" in train ? train.length : undefined;
  const judged = prepared.setup.validation ? judgedOn(prepared)?.length : undefined;
  const parts = [
    `${count(model.parameters().reduce((sum, { size }) => sum + size, 0))} parameters`,
    ...(typeof examples === "number" ? [`${count(examples)} examples to learn`] : []),
    ...(judged === undefined ? [] : [`${count(judged)} to judge`]),
    ...(batchSize === undefined ? [] : [`batches of ${batchSize}`]),
    `${optimizer.name}, learning rate ${Number(optimizer.learningRate.toPrecision(4))}`,
    `engine ${currentEngine().name}`,
  ];
  console.log(`${bold(recipe.description)}\n${dim(parts.join(" · "))}`);
  for (const { name, validation } of prepared.baselines) {
    const values = Object.entries(validation).map(([metric, value]) => `${metric} ${metricText(metric, value)}`);
    console.log(dim(`to beat: ${name}, ${values.join(", ")}`));
  }
  console.log();
}

function sayEnd({ reason, best, evaluations }: FitResult): void {
  const last = evaluations.at(-1);
  if (reason === "early-stopping" && best)
    console.log(dim(`\nEarly stopping: nothing was better than the evaluation at step ${best.step}.`));
  else if (best && last && best.step !== last.step) console.log(dim(`\nThe best evaluation was at step ${best.step}.`));
}

/** Weights as safetensors, the network as ONNX; a network that cannot be exported is no reason to fail. */
async function save(
  prepared: PreparedRecipe,
  network: Network,
  folder: string,
  say: (text: string) => void,
): Promise<void> {
  const [weights, onnx] = [path.join(folder, "model.safetensors"), path.join(folder, "model.onnx")];
  const { last } = await readRun(folder);
  if (last === undefined) return warn(`there is no checkpoint in ${printable(folder)}, and no model is saved there`);
  await saveWeights(prepared.setup.model, weights);
  const width = weights.length;
  say(`\n${colour("green", "Saved")} ${weights}  ${dim("weights, in PyTorch's names")}`);
  try {
    const reasons: string[] = [];
    const model = await networkAsOnnx(prepared, network, (reason) => reasons.push(reason));
    await writeFileAtomically(onnx, model);
    const out = network.task === "classes" ? "probabilities" : "numbers";
    say(
      `      ${onnx.padEnd(width)}  ${dim(`${inputsOf(model)} in, ${out} out; opens in Netron and any ONNX runtime`)}`,
    );
    for (const reason of reasons) say(dim(`      ${notOpen(reason)}`));
  } catch (error) {
    warn(`the network was not exported as ONNX: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** Commands that begin where the run has ended: with its hyperparameters, and one of them changed. */
function sayWhatNext(recipe: Recipe, prepared: PreparedRecipe, { subject, given }: Given, outputDir: string): void {
  const { hyperparameters } = prepared;
  const isStart = process.env.npm_lifecycle_event === "start";
  const start = isStart ? "npm start --" : `npx glissade train ${quotedForShell(subject)}`;
  const again = (changes: Readonly<Record<string, unknown>>): string =>
    `${start} ${optionsFor(recipe, given, changes)}`;
  /** A command with another value of a number: the first that the recipe accepts. */
  const other = (name: string, what: string, change: (value: number) => readonly number[]): (readonly string[])[] => {
    const schema = recipe.schemas[name];
    const value = (hyperparameters as Readonly<Record<string, unknown>>)[name];
    const values = schema && typeof value === "number" ? change(value) : [];
    const accepted = values.find((each) => schema?.safeParse(each).success);
    return accepted === undefined ? [] : [[again({ [name]: accepted }), what]];
  };
  const folder = quotedForShell(outputDir);
  const runs = quotedForShell(path.dirname(outputDir));
  const lines = [
    ...other("epochs", "train longer", (epochs) => [2 * epochs]),
    ...other("learningRate", "see what a rate that is too large does", (rate) =>
      [50, 20, 5].map((factor) => Number((rate * factor).toPrecision(1))),
    ),
    [again({ seed: hyperparameters.seed + 1 }), "other initial weights, another order"],
    [`npx glissade compare ${runs}/*`, "the curves of several runs"],
    [`npx glissade evaluate ${folder}`, "all metrics of the best checkpoint"],
    ...commandsFor(prepared, outputDir),
  ];
  const most = 80; //  a longer command does not push the others' explanations out of sight
  const width = Math.max(0, ...lines.map(([command]) => command!.length).filter((length) => length <= most));
  console.log(`\n${bold("What to try next")}`);
  for (const [command, what] of lines) console.log(`  ${command!.padEnd(width)}  ${dim(what!)}`);
}
