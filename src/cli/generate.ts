/** `glissade generate`: texts that a run's model writes. */
import { ConfigError, printable } from "../errors.ts";
import { type GenerateOptions, generate } from "../models/generate.ts";
import { gpt2LMHeadModel } from "../models/gpt.ts";
import { isPretrainedFolder, readConfig } from "../models/node/pretrained.ts";
import { architectureOf } from "../models/pretrained.ts";
import { pretrainedGeneration, pretrainedGpt } from "../recipes/gpt.ts";
import type { TextGeneration } from "../recipes/recipe.ts";
import { cannotBeAsked } from "./asking.ts";
import { loadTrained, type Which } from "./checkpoint.ts";
import { dim } from "./pictures.ts";

/** The words of the command that are options of `generate`. */
type Choice = Pick<
  GenerateOptions,
  | "maxNewTokens"
  | "minNewTokens"
  | "temperature"
  | "topK"
  | "topP"
  | "repetitionPenalty"
  | "noRepeatNgramSize"
  | "numBeams"
  | "seed"
>;

export interface GenerateCommandOptions extends Choice {
  readonly checkpoint: Which;
  /** How many texts. */
  readonly count: number;
  /** A JSON line for each text. */
  readonly json?: boolean;
}

const choices = [
  "maxNewTokens",
  "minNewTokens",
  "temperature",
  "topK",
  "topP",
  "repetitionPenalty",
  "noRepeatNgramSize",
  "numBeams",
  "seed",
] as const;

/** The recipe's options with what the user has chosen. A beam search draws nothing, so that nothing of draws is left. */
function optionsOf({ options = {} }: TextGeneration, beginning: ArrayLike<number>, given: GenerateCommandOptions) {
  const chosen = Object.fromEntries(
    choices.flatMap((name) => (given[name] === undefined ? [] : [[name, given[name]]])),
  ) as Choice;
  const { temperature: _t, topK: _k, topP: _p, doSample: _s, ...usual } = options;
  const isSearch = (chosen.numBeams ?? options.numBeams ?? 1) > 1;
  return { ...(isSearch ? usual : options), ...chosen, prompt: beginning, numReturnSequences: given.count };
}

export async function generateCommand(
  folder: string,
  beginning: string,
  given: GenerateCommandOptions,
): Promise<number> {
  const generation = (await isPretrainedFolder(folder))
    ? await generationOfFolder(folder)
    : await generationOf(folder, given.checkpoint);
  const options = optionsOf(generation, idsOf(beginning, generation), given);
  if (given.count === 1 && (options.numBeams ?? 1) === 1 && !given.json) {
    await write(generation, beginning, options);
    return 0;
  }
  const { sequences, isFinished, scores } = await generate(generation.model, options);
  for (const [i, sequence] of sequences.entries()) {
    const text = continued(beginning, generation, sequence);
    if (given.json)
      console.log(
        JSON.stringify({
          text,
          tokens: sequence.length,
          isFinished: isFinished[i],
          ...(scores && { score: scores[i] }),
        }),
      );
    else console.log(shown(text));
  }
  return 0;
}

/** The ids of a beginning. Of one that is too long for the model, the last ones, and a line on standard error says so. */
function idsOf(beginning: string, generation: TextGeneration): ArrayLike<number> {
  const { longestBeginning = Infinity } = generation;
  const ids = generation.encode(beginning);
  if (ids.length <= longestBeginning) return ids;
  console.error(
    `glissade: generate: the beginning has ${ids.length} tokens, and only the last ${longestBeginning} are used: the model's positions have ` +
      "room for no more beside what it writes",
  );
  return Array.from(ids).slice(-longestBeginning);
}

/** How the model of a run writes. Throws ConfigError for one that does not. */
async function generationOf(folder: string, checkpoint: Which): Promise<TextGeneration> {
  const run = await loadTrained(folder, checkpoint);
  const { generation } = run.prepared;
  if (generation) return generation;
  throw cannotBeAsked(run, {
    verb: "generate",
    why: "whose model writes no texts",
    own: "give it a part `generation`: { model, encode, decode }",
    other: "name a run of gpt, names or brown-lm",
  });
}

/** How a GPT-2 in a folder of Hugging Face's form writes. Throws ConfigError for another model. */
async function generationOfFolder(folder: string): Promise<TextGeneration> {
  const { architecture } = architectureOf(await readConfig(folder), folder);
  if (architecture !== gpt2LMHeadModel.architecture)
    throw new ConfigError(
      "generate",
      `${printable(folder)}: its model is ${architecture}, which writes no texts`,
      `give a folder of ${gpt2LMHeadModel.architecture}; glissade fill and attend ask others`,
    );
  const { model, tokenizer } = await pretrainedGpt(folder);
  return pretrainedGeneration(model, tokenizer);
}

/** The text that ids go on with. A text that begins with nothing does not begin with a space. */
function continued(beginning: string, { decode }: TextGeneration, ids: readonly number[]): string {
  return beginning === "" ? decode(ids).trimStart() : beginning + decode(ids);
}

/** Writes a text while it is made. */
async function write(generation: TextGeneration, beginning: string, options: GenerateOptions): Promise<void> {
  process.stdout.write(shown(beginning));
  const ids: number[] = [];
  let written = beginning;
  for await (const [id] of generate(generation.model, options)) {
    if (id === undefined) break;
    ids.push(id);
    const text = continued(beginning, generation, ids);
    // A token may be a part of a character, which is known only with the next one.
    if (!text.startsWith(written) || text.endsWith("\uFFFD")) continue;
    process.stdout.write(shown(text.slice(written.length)));
    written = text;
  }
  process.stdout.write("\n");
}

/** A text without control characters, but with its lines. */
const shown = (text: string): string =>
  text
    .split("\n")
    .map((line) => printable(line, Number.POSITIVE_INFINITY))
    .join("\n");

/** Shows some texts at the end of a training. */
export async function showTexts(generation: TextGeneration): Promise<void> {
  const { model, options = {}, samples = 3, encode } = generation;
  const { sequences } = await generate(model, {
    doSample: true,
    ...options,
    prompt: encode(""),
    numReturnSequences: samples,
    seed: 0,
  });
  console.log(`\n${dim("What it writes")}\n`);
  for (const sequence of sequences) console.log(shown(continued("", generation, sequence)));
}
