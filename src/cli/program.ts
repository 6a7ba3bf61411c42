/** The commands and their options. What they do is loaded when it is asked for. */
import { readFileSync } from "node:fs";
import { Command } from "commander";
import { ConfigError } from "../errors.ts";
import type { CheckOptions } from "./check.ts";
import type { TrainOptions } from "./train.ts";
import { wholeNumber } from "./words.ts";

/** The command line; `end` hears the exit code of a command. */
export function makeProgram(end: (code: number) => void): Command {
  const program = new Command("glissade")
    .description("Deep learning for TypeScript.")
    .version(versionOfPackage())
    .enablePositionalOptions()
    .showHelpAfterError("(add --help for what there is)")
    .addHelpText(
      "after",
      `
Examples:
  glissade train digits                          train a recipe of ours
  glissade train ./recipe.ts --learning-rate 0.01   train your own
  glissade resume runs/digits-2026-11-29-120000  go on with it
  glissade new my-project                        begin a project of your own

Exit codes: 0 done; 1 an error, or a check that failed; 130 stopped by you, everything saved.`,
    );

  program
    .command("train")
    .summary("trains a recipe on its data, into a run's folder")
    .usage("RECIPE|FILE [options]")
    .argument("[recipe]")
    .argument("[options...]")
    .helpOption(false)
    .allowUnknownOption()
    .passThroughOptions()
    .action(async (subject: string | undefined, words: string[], _: unknown, self: Command) => {
      end(await train(subject, words, self));
    });

  program
    .command("resume")
    .summary("goes on with a run from its last checkpoint, bit for bit")
    .argument("<run>", "the folder of the run")
    .option("--max-steps <n>", "ends after so many steps", wholeNumber(1))
    .option("--save-steps <n>", "steps between checkpoints (default: one after each epoch)", wholeNumber(1))
    .option("--json", "one JSON line for each event, nothing else")
    .addHelpText("after", "\nExamples:\n  glissade resume runs/digits-2026-11-29-120000")
    .action(async (run: string, options: TrainOptions) => {
      const { resumeCommand } = await import("./train.ts");
      end(await resumeCommand(run, options));
    });

  program
    .command("check")
    .summary("sanity checks that a practitioner runs first")
    .usage("[check...] [subject] [options]")
    .argument("[words...]")
    .option("--seed <n>", "of initial weights and the choice of examples", wholeNumber(0), 0)
    .option("--json", "one JSON line for each check, nothing else", false)
    .option("--timeout <seconds>", "that a module of yours has until its setup is there", wholeNumber(1), 60)
    .addHelpText("after", checkHelp)
    .action(async (words: string[], options: CheckOptions) => {
      const { checkCommand } = await import("./check.ts");
      end(await checkCommand(words, options));
    });

  return program;
}

const checkHelp = `
Checks (all of them unless some are named):
  data            scale, constants, classes, order, duplicates
  initial-loss    the loss before training, against −log(1/K) of one who guesses
  gradients       derivatives against finite differences
  mixing          whether examples of a batch influence each other's outputs
  overfit         a handful of examples learnt by heart
  baseline        training with the inputs against training without
  learning-rate   a rate to begin with, from a range test

Subject:
  digits          a recipe, by its name (this one when none is given)
  ./file.ts       a module of yours: export default a recipe, a setup { model, loss, train, validation,
                  optimizer }, or a function that returns one; docs/checks.md says more

The exit code is 1 when a check fails.`;

const trainHelp = `
Hyperparameters are the recipe's own: glissade train RECIPE --help lists them.

Examples:
  glissade train digits
  glissade train digits --learning-rate 0.01 --epochs 5
  glissade train ./recipe.ts --config settings.yaml --out runs/first
  glissade train digits --json | jq -c 'select(.type == "evaluation") | .metrics'`;

/** `train` takes the options of its recipe, which has to be loaded first. */
async function train(subject: string | undefined, words: readonly string[], self: Command): Promise<number> {
  if (subject === undefined || subject.startsWith("-")) {
    if (subject === "--help" || subject === "-h") {
      console.log(`${self.helpInformation().trimEnd()}\n${trainHelp}`);
      return 0;
    }
    const { recipeNames } = await import("../recipes/index.ts");
    throw new ConfigError(
      "train",
      subject === undefined ? "no recipe is named" : `an option, ${subject}, stands before the recipe`,
      `name one first: ${recipeNames.join(", ")}, or a file of yours: glissade train ./recipe.ts --epochs 5`,
    );
  }
  const { loadSubject } = await import("./subject.ts");
  const { addHyperparameters, readHyperparameters, withKebabs } = await import("./hyperparameters.ts");
  const seconds = Number(wordBehind(words, "--timeout") ?? 600);
  const seed = Number(wordBehind(words, "--seed") ?? 0);
  const recipe = await loadSubject(subject, {
    ...(seconds >= 1 && { seconds }),
    ...(Number.isSafeInteger(seed) && seed >= 0 && { seed }),
  });
  const inner = new Command(`glissade train ${subject}`)
    .copyInheritedSettings(self)
    .helpOption("-h, --help", "display this help")
    .description(recipe.description)
    .usage("[options]")
    .option("--out <folder>", "the run's folder (default: runs/RECIPE-TIME)")
    .option("--overwrite", "replaces a run that is in the folder")
    .option("--config <file>", "hyperparameters in JSON or YAML; options go before it")
    .option("--max-steps <n>", "ends after so many steps", wholeNumber(1))
    .option("--save-steps <n>", "steps between checkpoints (default: one after each epoch)", wholeNumber(1))
    .option("--fast-dev-run", "one step through everything, nothing is written")
    .option("--timeout <seconds>", "that a module of yours has until its setup is there (default: 600)", wholeNumber(1))
    .option("--json", "one JSON line for each event, nothing else");
  const given = addHyperparameters(inner, recipe);
  let code = 0;
  inner.action(async (options: TrainOptions & { readonly config?: string }) => {
    const { trainCommand } = await import("./train.ts");
    const fromFile = options.config === undefined ? {} : await readHyperparameters(options.config, recipe);
    code = await trainCommand(subject, recipe, { ...fromFile, ...given() }, options);
  });
  await inner.parseAsync(withKebabs(words, recipe), { from: "user" });
  return code;
}

/** The value of an option among words that have not been parsed. */
function wordBehind(words: readonly string[], option: string): string | undefined {
  const at = words.findIndex((word) => word === option || word.startsWith(`${option}=`));
  if (at < 0) return undefined;
  return words[at] === option ? words[at + 1] : words[at]!.slice(option.length + 1);
}

function versionOfPackage(): string {
  const manifest = new URL("../../package.json", import.meta.url);
  return (JSON.parse(readFileSync(manifest, "utf8")) as { version: string }).version;
}
