/** `glissade classify`: the label of each text. */
import { createInterface } from "node:readline";
import { ConfigError, DataError, GlissadeError, printable } from "../errors.ts";
import { classifyText, type TextClassifier, type TextOrPair } from "../models/pipelines.ts";
import { type LanguageOptions, openLanguageModel } from "./language.ts";
import { drawBar } from "./pictures.ts";

export interface ClassifyOptions extends LanguageOptions {
  /** A second text for each, as of a question and its answer. */
  readonly pair?: string;
}

const fits = (architecture: string): boolean => architecture === "BertForSequenceClassification";

/**
 * Classifies texts, or the lines of standard input where there are none. Each line has a result, also an empty one, or the error names it:
 * results belong to lines by their number.
 */
export async function classifyCommand(
  texts: readonly string[],
  { pair, json, ...options }: ClassifyOptions,
  input: NodeJS.ReadableStream = process.stdin,
): Promise<number> {
  if (texts.length === 0 && (input as { isTTY?: boolean }).isTTY)
    throw new ConfigError("classify", "there is no text", 'give one: glissade classify "a fine day" --run RUN');
  const { model, tokenizer } = await openLanguageModel("classify", options, fits, "bert-finetune");
  const answer = async (text: string): Promise<void> => {
    const count = tokenizer.encode(text, { ...(pair !== undefined && { pair }) }).ids.length;
    if (count === 0) throw new DataError("classify", "the text has no tokens", "give a text");
    const { maxPositionEmbeddings: most = Infinity } =
      (model as { config?: { maxPositionEmbeddings?: number } }).config ?? {};
    if (count > most)
      console.error(
        `glissade: classify: ${printable(text, 40)}: the text has ${count} tokens, and only ${most} are used: the model has no more positions`,
      );
    const given: TextOrPair = pair === undefined ? text : [text, pair];
    const [labels] = await classifyText(model as unknown as TextClassifier, tokenizer, [given]);
    const [best] = labels!;
    if (json) {
      const scores = Object.fromEntries(labels!.map(({ label, score }) => [label, score]));
      console.log(JSON.stringify({ text, ...(pair !== undefined && { pair }), ...best, scores }));
      return;
    }
    const width = Math.max(...labels!.map(({ label }) => label.length));
    console.log(printable(text, 200));
    for (const { label, score } of labels!)
      console.log(
        `  ${printable(label).padEnd(width)}  ${(100 * score).toFixed(1).padStart(5)}% ${drawBar(score, 20)}`,
      );
  };
  for (const text of texts) await answer(text);
  if (texts.length > 0) return 0;
  let line = 0;
  for await (const text of createInterface({ input })) {
    line++;
    await answer(text).catch((cause: unknown) => {
      if (!(cause instanceof GlissadeError)) throw cause;
      throw new DataError("classify", `line ${line} of standard input: ${cause.problem}`, cause.fix, "", { cause });
    });
  }
  return 0;
}
