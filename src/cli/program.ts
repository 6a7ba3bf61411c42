/** The commands and their options. What they do is loaded when it is asked for. */
import { readFileSync } from "node:fs";
import { Argument, Command, InvalidArgumentError, Option } from "commander";
import { ConfigError, printable } from "../errors.ts";
import type { AttendOptions } from "./attend.ts";
import type { CheckOptions } from "./check.ts";
import type { ClassifyOptions } from "./classify.ts";
import type { CompareOptions } from "./compare.ts";
import type { EvaluateOptions } from "./evaluate.ts";
import type { ExportCommandOptions } from "./export.ts";
import type { FillOptions } from "./fill.ts";
import type { GenerateCommandOptions } from "./generate.ts";
import type { PredictOptions } from "./predict.ts";
import type { PronounceCommandOptions } from "./pronounce.ts";
import type { SweepOptions } from "./sweep.ts";
import type { TrainOptions } from "./train.ts";
import type { TranslateCommandOptions } from "./translate.ts";
import { anyNumber, whichCheckpoint, wholeNumber } from "./words.ts";

const json = ["--json", "JSON lines, nothing else"] as const;
const checkpoint = ["--checkpoint <which>", "best, last or a step", whichCheckpoint, "best"] as const;
const languageRun = ["--run <folder>", "the folder of a run, or of a pre-trained model"] as const;
const shells = ["bash", "zsh", "fish", "powershell"] as const;

/** A number whose name begins with "no-", which usually means an option that can only be turned off. */
function noRepeatNgramSize(): Option {
  const option = new Option("--no-repeat-ngram-size <n>", "no so many tokens in a row occur twice; 0 allows it");
  option.negate = false;
  return option.argParser(wholeNumber(0));
}

/** The command line; `end` hears the exit code of a command. */
export function makeProgram(end: (code: number) => void): Command {
  const program = new Command("glissade")
    .description("Deep learning for TypeScript.")
    .version(versionOfPackage())
    .enablePositionalOptions()
    // Before the commands, which inherit it.
    .configureOutput({ outputError: (text, write) => write(`${shown(text.trimEnd())}\n`) })
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

  // What `npm start` calls.
  program
    .command("start", { hidden: true })
    .argument("[options...]")
    .helpOption(false)
    .allowUnknownOption()
    .passThroughOptions()
    .action(async (words: string[], _: unknown, self: Command) => {
      const code = await train("digits", words, self);
      const { offerWords } = await import("./start.ts");
      end(code === 0 && words.length === 0 ? await offerWords() : code);
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
    .command("evaluate")
    .summary("all metrics of a run's model over its validation data")
    .argument("<run>", "the folder of the run")
    .option(...checkpoint)
    .option("--test", "on the recipe's test data, which the training has never seen")
    .option(...json)
    .addHelpText("after", "\nExamples:\n  glissade evaluate runs/digits-2026-11-29-120000 --checkpoint last")
    .action(async (run: string, options: EvaluateOptions) => {
      const { evaluateCommand } = await import("./evaluate.ts");
      end(await evaluateCommand(run, options));
    });

  program
    .command("predict")
    .summary("what a run's model says of rows or images")
    .argument("<run>", "the folder of the run")
    .argument("[files...]", "CSV, JSON, JSON lines or images (default: rows from standard input)")
    .option(...checkpoint)
    .option("--json", "JSON lines with all probabilities instead of CSV")
    .addHelpText(
      "after",
      `
Examples:
  glissade predict runs/houses-2026-11-29-120000 new.csv > predictions.csv
  echo '{"size": 90, "rooms": 3}' | glissade predict runs/houses-2026-11-29-120000 --json
  glissade predict runs/digits-2026-11-29-120000 scan.png      (needs the npm package sharp)`,
    )
    .action(async (run: string, files: string[], options: PredictOptions) => {
      const { predictCommand } = await import("./predict.ts");
      end(await predictCommand(run, files, options));
    });

  program
    .command("fill")
    .summary("the most likely words for the masks of a text, by BERT")
    .argument("<text>", 'a text with masks: "the [MASK] sat"')
    .option(...languageRun)
    .option(...checkpoint)
    .option("--top-k <n>", "words for each mask", wholeNumber(1), 5)
    .option(...json)
    .addHelpText(
      "after",
      `
Examples:
  glissade fill "the [MASK] sat on the mat" --run runs/bert-pretrain-2026-11-29-120000
  glissade fill "the [MASK] sat on the mat" --run bert-base-uncased --json     (a folder from Hugging Face's hub)`,
    )
    .action(async (text: string, options: FillOptions) => {
      const { fillCommand } = await import("./fill.ts");
      end(await fillCommand(text, options));
    });

  program
    .command("classify")
    .summary("the label of each text, by BERT")
    .argument("[texts...]", "texts (default: the lines of standard input)")
    .option(...languageRun)
    .option(...checkpoint)
    .option("--pair <text>", "a second text for each, as of a question and its answer")
    .option(...json)
    .addHelpText(
      "after",
      '\nExamples:\n  glissade classify "The soup was cold." --run runs/bert-finetune-2026-11-29-120000',
    )
    .action(async (texts: string[], options: ClassifyOptions) => {
      const { classifyCommand } = await import("./classify.ts");
      end(await classifyCommand(texts, options));
    });

  program
    .command("attend")
    .summary("what each head of a transformer looks at while it reads a sentence")
    .argument("<text>", "a sentence")
    .option(...languageRun)
    .option(...checkpoint)
    .option("--pair <text>", "a second sentence")
    .option("--layer <n>", "only this layer", wholeNumber(1))
    .option("--head <n>", "only this head; with --layer, also the weights in numbers", wholeNumber(1))
    .option("--svg <file>", "a picture, too")
    .option("--json", "JSON lines with all weights, one for each head")
    .addHelpText(
      "after",
      `
Examples:
  glissade attend "the cat sat because it was tired" --run runs/bert-pretrain-2026-11-29-120000
  glissade attend "the cat sat because it was tired" --run bert-base-uncased --layer 5 --head 3 --svg it.svg`,
    )
    .action(async (text: string, options: AttendOptions) => {
      const { attendCommand } = await import("./attend.ts");
      end(await attendCommand(text, options));
    });

  program
    .command("generate")
    .summary("what a run's model writes, or a pre-trained GPT-2")
    .argument("<run>", "the folder of the run, or of a pre-trained model")
    .argument("[beginning]", "what the text begins with", "")
    .option(...checkpoint)
    .option("--count <n>", "how many texts", wholeNumber(1), 1)
    .option("--max-new-tokens <n>", "the most tokens of a text (default: the recipe's)", wholeNumber(1))
    .option("--min-new-tokens <n>", "how many tokens come before a text may end", wholeNumber(0))
    .option("--temperature <x>", "below 1 more likely, above 1 more surprising, 0 always the most likely", anyNumber)
    .option("--top-k <n>", "draws from so many most likely tokens", wholeNumber(1))
    .option("--top-p <x>", "draws from the most likely tokens that have this probability together", anyNumber)
    .option("--repetition-penalty <x>", "above 1: tokens that were there are less likely", anyNumber)
    .addOption(noRepeatNgramSize())
    .option("--num-beams <n>", "searches for the most likely text instead of drawing", wholeNumber(1))
    .option("--seed <n>", "the same one, the same texts", wholeNumber(0))
    .option("--json", "a JSON line for each text, nothing else")
    .addHelpText(
      "after",
      `
Examples:
  glissade generate runs/names-2026-11-29-120000 --count 10
  glissade generate runs/brown-lm-2026-11-29-120000 "The governor said" --temperature 0.7 --top-p 0.9
  glissade generate gpt2 "The governor said" --max-new-tokens 40     (a folder from Hugging Face's hub)`,
    )
    .action(async (run: string, beginning: string, options: GenerateCommandOptions) => {
      const { generateCommand } = await import("./generate.ts");
      end(await generateCommand(run, beginning, options));
    });

  program
    .command("pronounce")
    .summary("how English words are said, by a model of the recipe pronounce")
    .argument("[words...]", "words of letters and apostrophes")
    .option("--run <folder>", "the run whose model is used (default: the newest of pronounce in runs)")
    .option("--checkpoint <which>", "best, last or a step", whichCheckpoint, "last")
    .option("--beams <n>", "pronunciations that are kept at each step; 1 takes the likeliest phone", wholeNumber(1), 5)
    .option("--held-out", "pronounces the 12,000 words that are held out, and counts errors")
    .option(...json)
    .addHelpText(
      "after",
      `
Examples:
  glissade pronounce glissade gradient
  glissade pronounce --held-out --beams 1
  glissade train pronounce --setting short       (minutes: a model to begin with)`,
    )
    .action(async (words: string[], options: PronounceCommandOptions) => {
      const { pronounceCommand } = await import("./pronounce.ts");
      end(await pronounceCommand(words, options));
    });

  program
    .command("translate")
    .summary("sentences in another language, by a model of translate or number-words")
    .argument("<texts...>", "sentences, each in quotation marks")
    .option("--run <folder>", "the run whose model is used (default: the newest of translate in runs)")
    .option("--checkpoint <which>", "best, last or a step", whichCheckpoint, "best")
    .option("--beams <n>", "translations that are kept at each step; 1 takes the likeliest token", wholeNumber(1), 4)
    .option("--json", "a JSON line for each text, nothing else")
    .addHelpText(
      "after",
      `
Examples:
  glissade translate "Choose a file."
  glissade translate "Choose a file." --run runs/translate-2026-11-29-120000 --beams 1
  glissade train translate --file pairs.tsv       (lines of source, a tab, target: a model to begin with)`,
    )
    .action(async (texts: string[], options: TranslateCommandOptions) => {
      const { translateCommand } = await import("./translate.ts");
      end(await translateCommand(texts, options));
    });

  program
    .command("runs")
    .summary("the runs in a folder: best metric, steps, duration, state")
    .argument("[folder]", "where runs are", "runs")
    .option(...json)
    .action(async (folder: string, options: { readonly json?: boolean }) => {
      const { runsCommand } = await import("./runs.ts");
      end(await runsCommand(folder, options));
    });

  program
    .command("compare")
    .summary("curves of several runs, and what was different between them")
    .argument("<runs...>", "folders of runs")
    .option("--metric <name>", "loss, train-loss or a metric (default: what the best model is chosen by)")
    .option(...json)
    .addHelpText(
      "after",
      "\nExamples:\n  glissade compare runs/*\n  glissade compare runs/a runs/b --metric train-loss",
    )
    .action(async (runs: string[], options: CompareOptions) => {
      const { compareCommand } = await import("./compare.ts");
      end(await compareCommand(runs, options));
    });

  program
    .command("export")
    .summary("a run's network, weights or training step for other programs")
    .argument("<run>", "the folder of the run")
    .addOption(
      new Option(
        "--format <format>",
        "the network, its weights, the whole training step as ONNX, or a folder as on Hugging Face's hub",
      )
        .choices(["onnx", "safetensors", "step", "pretrained"])
        .default("onnx"),
    )
    .option(...checkpoint)
    .option("--out <file>", "default: model.onnx, model.safetensors, step.onnx or pretrained in the run's folder")
    .addHelpText("after", "\nExamples:\n  glissade export runs/digits-2026-11-29-120000 --format step --out step.onnx")
    .action(async (run: string, options: ExportCommandOptions) => {
      const { exportCommand } = await import("./export.ts");
      end(await exportCommand(run, options));
    });

  program
    .command("inspect")
    .summary("what is in a checkpoint, a .safetensors or an .onnx file")
    .argument("<path>", "a run, the folder of a checkpoint, or a file")
    .option(...json)
    .addHelpText(
      "after",
      "\nExamples:\n  glissade inspect model.onnx\n  glissade inspect runs/digits-2026-11-29-120000",
    )
    .action(async (subject: string, options: { readonly json?: boolean }) => {
      const { inspectCommand } = await import("./inspect.ts");
      end(await inspectCommand(subject, options));
    });

  program
    .command("sweep")
    .summary("many trainings with other hyperparameters, several at a time")
    .argument("[recipe]", "a recipe or a file")
    .option("--vary <name=values>", "values, a,b,c, or a range, from..to or from..to:log; several times", listed, [])
    .addOption(
      new Option("--strategy <strategy>", "all combinations, random ones, or random ones of which the worse end early")
        .choices(["grid", "random", "halving"])
        .default("grid"),
    )
    .option("--trials <n>", "how many are drawn, by random and halving", wholeNumber(1), 16)
    .option("--min-steps <n>", "steps of the first round of halving", wholeNumber(1), 100)
    .option("--factor <n>", "what halving divides trials by, and multiplies steps with", wholeNumber(2), 3)
    .option("--processes <n>", "trainings at the same time", wholeNumber(1), 1)
    .option("--metric <name>", "what is compared (default: what the best model is chosen by)")
    .option("--lower-is-better", "of a metric whose name does not say so")
    .option("--config <file>", "hyperparameters of all trials, in JSON or YAML")
    .option("--seed <n>", "of what is drawn", wholeNumber(0), 0)
    .option("--out <folder>", "the sweep's folder (default: runs/sweep-RECIPE-TIME)")
    .option("--resume <folder>", "goes on with a sweep")
    .option(...json)
    .addHelpText(
      "after",
      `
Examples:
  glissade sweep iris --vary learningRate=0.003,0.01,0.03 --vary hiddenSize=8,32
  glissade sweep digits --vary learningRate=1e-4..1e-1:log --strategy halving --trials 27 --processes 2
  glissade sweep --resume runs/sweep-digits-2026-11-29-120000`,
    )
    .action(async (subject: string | undefined, options: SweepWords) => {
      end(await sweep(subject, options));
    });

  program
    .command("recipes")
    .summary("the recipes that come with the package, or what can be chosen of one")
    .argument("[recipe]", "a recipe or a file")
    .option(...json)
    .action(async (subject: string | undefined, options: { readonly json?: boolean }) => {
      const { recipesCommand } = await import("./recipes.ts");
      end(await recipesCommand(subject, options));
    });

  program
    .command("new")
    .summary("writes a project to begin with: a recipe on a CSV file, a test")
    .argument("[folder]", "where", ".")
    .addHelpText("after", "\nExamples:\n  npx glissade new my-project && cd my-project && npm install && npm run train")
    .action(async (folder: string) => {
      const { newCommand } = await import("./new.ts");
      end(await newCommand(folder, versionOfPackage()));
    });

  program
    .command("completion")
    .summary("a script that completes commands in a shell")
    .addArgument(new Argument("<shell>").choices(shells))
    .addHelpText("after", "\nExamples:\n  source <(glissade completion bash)")
    .action(async (shell: string) => {
      const { default: completion } = await import("@bomb.sh/tab");
      completion.setup("glissade", "glissade", shell);
    });

  // What those scripts call.
  program
    .command("complete", { hidden: true })
    .argument("[words...]")
    .allowUnknownOption()
    .action(async (words: string[]) => {
      const { completeCommand } = await import("./completion.ts");
      await completeCommand(words);
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

/** An error's sentence, which quotes what was given, in one line; a suggestion is a line of its own. */
function shown(text: string): string {
  const [, sentence = text, suggestion = ""] = /^(.*?)(\n\(Did you mean [^\n]*\?\))?$/s.exec(text) ?? [];
  return `${printable(sentence, 500)}${suggestion && `\n${printable(suggestion.trim(), 500)}`}`;
}

/** Options that may be given several times. */
const listed = (word: string, before: readonly string[]): string[] => [...before, word];

type SweepWords = SweepOptions & { readonly config?: string; readonly resume?: string };

async function sweep(subject: string | undefined, options: SweepWords): Promise<number> {
  const { resumeSweepCommand, sweepCommand } = await import("./sweep.ts");
  if (options.resume !== undefined) {
    if (subject !== undefined) throw new InvalidArgumentError("A sweep that is resumed knows its recipe.");
    return resumeSweepCommand(options.resume, options);
  }
  if (subject === undefined)
    throw new ConfigError("sweep", "no recipe is named", "glissade sweep RECIPE --vary learningRate=0.001,0.01");
  const { loadSubject } = await import("./subject.ts");
  const { readHyperparameters } = await import("./hyperparameters.ts");
  const fixed =
    options.config === undefined ? {} : await readHyperparameters(options.config, await loadSubject(subject));
  return sweepCommand(subject, fixed, options);
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
