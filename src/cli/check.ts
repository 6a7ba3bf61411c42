/** `glissade check`: the sanity checks, on a recipe or on the user's own setup. */
import { Help } from "commander";
import { currentEngine } from "../compile/runtime.ts";
import * as doctor from "../doctor/checks.ts";
import { explanationOf, marks } from "../doctor/explain.ts";
import type { StepsOptions, Verdict } from "../doctor/report.ts";
import { count, plural, show } from "../doctor/words.ts";
import { ConfigError, printable } from "../errors.ts";
import { isRecipeName, recipeNames } from "../recipes/index.ts";
import { completeSetup, type TrainingSetup } from "../train/setup.ts";
import { progressBar } from "./bar.ts";
import { drawRates } from "./chart.ts";
import { bold, colour, dim, isColoured } from "./pictures.ts";
import { isFileName, loadSubject, type Thrown, whatWasThrown } from "./subject.ts";

export interface CheckOptions {
  /** Of initial weights, chosen examples and their order. */
  readonly seed: number;
  /** One JSON object for each check on standard output and nothing else there. */
  readonly json: boolean;
  /** Seconds that a module of the user's has until its setup is there. */
  readonly timeout: number;
}

type Check = (setup: TrainingSetup, options: StepsOptions) => doctor.CheckReport | Promise<doctor.CheckReport>;

/** In the order in which they are made: what is wrong early explains what is wrong later. */
const checks: Readonly<Record<doctor.CheckName, Check>> = {
  data: doctor.data,
  "initial-loss": doctor.initialLoss,
  gradients: doctor.gradients,
  mixing: doctor.mixing,
  overfit: doctor.overfit,
  baseline: doctor.baseline,
  "learning-rate": doctor.learningRate,
};
const checkNames = Object.keys(checks) as doctor.CheckName[];

/** A check that threw: it says as little good of a setup as one that failed. */
interface Failure {
  readonly check: doctor.CheckName;
  readonly verdict: "error";
  readonly error: Pick<Thrown, "name" | "message" | "places">;
}

/**
 * Makes checks and prints what they found. `words` are names of checks (none: all) and at most one recipe or file
 * (none: digits). Returns the process's exit code: 1 when a check failed or threw.
 */
export async function checkCommand(words: readonly string[], { seed, json, timeout }: CheckOptions): Promise<number> {
  const { names, subject } = sorted(words);
  const recipe = await loadSubject(subject, { seed, seconds: timeout });
  const { setup } = await recipe.prepare({ seed });
  if (!json) sayWhat(subject, setup);
  const verdicts: (Verdict | "error")[] = [];
  for (const name of names) {
    const outcome = await attempt(name, setup, seed, json);
    verdicts.push(outcome.verdict);
    if (json) console.log(JSON.stringify(outcome, nothingLost));
    else sayOutcome(outcome);
  }
  if (!json && names.length > 1) saySum(verdicts);
  return verdicts.some((verdict) => verdict === "fail" || verdict === "error") ? 1 : 0;
}

/**
 * Which checks, of what. Throws ConfigError for two subjects, and for a word that is neither a check nor looks like a
 * subject.
 */
function sorted(words: readonly string[]): { readonly names: readonly doctor.CheckName[]; readonly subject: string } {
  const isName = (word: string): word is doctor.CheckName => Object.hasOwn(checks, word);
  const chosen = new Set(words.filter(isName));
  const [subject = "digits", ...more] = words.filter((word) => !isName(word));
  if (more.length > 0)
    throw new ConfigError(
      "check",
      `${[subject, ...more].join(" and ")} are several things to check`,
      "name one of them",
    );
  if (!isRecipeName(subject) && !isFileName(subject))
    throw new ConfigError(
      "check",
      `${subject} is no check, no recipe and no file`,
      `checks: ${checkNames.join(", ")}; recipes: ${recipeNames.join(", ")}; files have an extension`,
    );
  return { names: chosen.size > 0 ? checkNames.filter((name) => chosen.has(name)) : checkNames, subject };
}

async function attempt(
  check: doctor.CheckName,
  setup: TrainingSetup,
  seed: number,
  json: boolean,
): Promise<doctor.CheckReport | Failure> {
  const bar = progressBar(json, `  ${check} {bar} {percentage}%`);
  const interrupt = (): never => {
    bar?.stop(); //  which shows the cursor again
    process.exit(130);
  };
  process.once("SIGINT", interrupt);
  try {
    return await checks[check](setup, {
      seed,
      onStep: (done, most) => {
        if (bar && !bar.isActive) bar.start(most, 0);
        bar?.update(done);
      },
    });
  } catch (error) {
    const { name, message, places } = whatWasThrown(error);
    return { check, verdict: "error", error: { name, message, places } };
  } finally {
    bar?.stop();
    process.off("SIGINT", interrupt);
  }
}

/** JSON has no NaN and no infinity: they become strings instead of null. */
const nothingLost = (_: string, value: unknown): unknown =>
  typeof value === "number" && !Number.isFinite(value) ? String(value) : value;

function sayWhat(subject: string, setup: TrainingSetup): void {
  const { model, optimizer, batchSize } = completeSetup(subject, setup);
  const parts = [
    `${count(model.parameters().reduce((sum, { size }) => sum + size, 0))} parameters`,
    `${optimizer.name}, learning rate ${show(optimizer.learningRate)}`,
    `batches of ${batchSize}`,
    `engine ${currentEngine().name}`,
  ];
  console.log(`${bold(`Sanity checks of ${printable(subject)}`)}\n${dim(parts.join(" · "))}\n`);
}

const colours = { pass: "green", warn: "yellow", fail: "red", error: "red", skip: "cyan" } as const;
const nameWidth = Math.max(...checkNames.map((name) => name.length));
const indent = " ".repeat(nameWidth + 4);

function sayOutcome(outcome: doctor.CheckReport | Failure): void {
  const { check, verdict } = outcome;
  const mark = verdict === "error" ? marks.fail : marks[verdict];
  const head = `${colour(colours[verdict], mark)} ${bold(check.padEnd(nameWidth))}  `;
  if (outcome.verdict === "error") {
    console.log(`${head}could not be made`);
    const { name, message, places } = outcome.error;
    console.log([`${name}: ${message}`, ...places].join("\n").replace(/^/gm, indent));
    return;
  }
  const { headline, details, advice } = explanationOf(outcome);
  console.log(`${head}${indented(headline).trimStart()}`);
  for (const line of details) console.log(dim(indented(line)));
  for (const line of advice) console.log(colour(colours[verdict], indented(`→ ${line}`)));
  if (outcome.verdict !== "skip" && outcome.check === "learning-rate")
    console.log(`\n${drawRates(outcome, textWidth() - 10, isColoured()).join("\n")}\n`);
}

const textWidth = (): number => Math.min(process.stdout.columns ?? 80, 100) - indent.length;

/** Lines that fit the terminal, below the names of the checks. */
function indented(text: string): string {
  return new Help().boxWrap(text, textWidth()).replace(/^/gm, indent);
}

function saySum(verdicts: readonly (Verdict | "error")[]): void {
  const of = (...wanted: readonly (Verdict | "error")[]): number =>
    verdicts.filter((verdict) => wanted.includes(verdict)).length;
  const [passed, warned, failed, skipped] = [of("pass"), of("warn"), of("fail", "error"), of("skip")];
  const parts = [
    colour("green", `${passed} passed`),
    ...(warned > 0 ? [colour("yellow", `${warned} ${plural("warning", warned)}`)] : []),
    ...(failed > 0 ? [colour("red", `${failed} failed`)] : []),
    ...(skipped > 0 ? [`${skipped} skipped`] : []),
  ];
  console.log(`\n${parts.join(", ")}`);
}
