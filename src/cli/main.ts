#!/usr/bin/env node
/** The command line. */
import { readFileSync } from "node:fs";
import { Command, InvalidArgumentError } from "commander";
import { printable } from "../errors.ts";
import "../node.ts";
import type { CheckOptions } from "./check.ts";
import { isOurs, whatWasThrown } from "./setup.ts";
import { type TrainOptions, trainMnistCommand } from "./train.ts";

function wholeNumber(from: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!Number.isSafeInteger(value) || value < from)
      throw new InvalidArgumentError(`Give a whole number from ${from} on.`);
    return value;
  };
}

function rate(text: string): number {
  const value = Number(text);
  if (!(value > 0 && Number.isFinite(value))) throw new InvalidArgumentError("Give a number above 0.");
  return value;
}

const manifest = new URL("../../package.json", import.meta.url);
const { version } = JSON.parse(readFileSync(manifest, "utf8")) as { version: string };

const program = new Command("glissade")
  .description("Deep learning for TypeScript.")
  .version(version)
  .showHelpAfterError()
  // The sentence quotes what was given.
  .configureOutput({ outputError: (text, write) => write(`${printable(text.trimEnd(), 500)}\n`) });

program
  .command("train")
  .description("trains a network on real data")
  .command("mnist")
  .description("a perceptron on 10,000 handwritten digits")
  .option("--epochs <n>", "how often each image is seen", wholeNumber(1), 30)
  .option("--batch-size <n>", "images in a step", wholeNumber(1), 64)
  .option("--learning-rate <x>", "of Adam, at the start", rate, 0.002)
  .option("--seed <n>", "of weights and order; the same seed gives the same numbers", wholeNumber(0), 0)
  .option("--out <folder>", "where the model is saved", "runs/mnist")
  .option("--json", "one JSON line for each epoch, nothing else", false)
  .action(async (options: TrainOptions) => {
    process.exitCode = await trainMnistCommand(options);
  });

program
  .command("check")
  .description("sanity checks that a practitioner runs first")
  .usage("[check...] [subject] [options]")
  .argument("[words...]")
  .option("--seed <n>", "of initial weights and the choice of examples", wholeNumber(0), 0)
  .option("--json", "one JSON line for each check, nothing else", false)
  .option("--timeout <seconds>", "that a module of yours has until its setup is there", wholeNumber(1), 60)
  .addHelpText(
    "after",
    `
Checks (all of them unless some are named):
  data            scale, constants, classes, order, duplicates
  initial-loss    the loss before training, against −log(1/K) of one who guesses
  gradients       derivatives against finite differences
  mixing          whether examples of a batch influence each other's outputs
  overfit         a handful of examples learnt by heart
  baseline        training with the inputs against training without
  learning-rate   a rate to begin with, from a range test

Subject:
  mnist           the recipe of \`glissade train mnist\` (when none is given)
  ./file.js       a module of yours: export default { model, loss, train, validation, optimizer },
                  or a function that returns it; docs/checks.md says more

The exit code is 1 when a check fails.`,
  )
  .action(async (words: string[], options: CheckOptions) => {
    const { checkCommand } = await import("./check.ts");
    process.exitCode = await checkCommand(words, options);
  });

// Whoever reads the output may stop reading: `glissade … | head` ends quietly.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(0);
  throw error;
});

/** Says what went wrong; what is no error of ours with the places in the user's files, or its stack where there are none. */
function report(error: unknown): void {
  const { name, message, places, stack } = whatWasThrown(error);
  if (isOurs(error)) console.error(`${name}: ${message}`);
  else for (const line of places.length > 0 ? [`${name}: ${message}`, ...places] : stack) console.error(line);
}

// A module of the user's may let a promise fail that nobody waits for, or throw from a timer.
process.on("uncaughtException", (error) => {
  report(error);
  process.exit(1);
});

try {
  await program.parseAsync();
} catch (error) {
  report(error);
  // At once: what a module of the user's has left running would keep the process alive.
  process.exit(1);
}
