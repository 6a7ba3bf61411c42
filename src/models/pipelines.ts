/** What a pre-trained model says about a text: words for its masks, its label, its attention. */
import { ConfigError, DataError } from "../errors.ts";
import { aFunction, aRecord, aText, aWhole, described, expectArguments, optional } from "../graph/arguments.ts";
import { showShape } from "../graph/types.ts";
import { inMode, type Module } from "../nn/module.ts";
import { fromValues } from "../tensor/create.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { aTokenizer, type Encoding, type Tokenizer } from "../text/tokenizer.ts";
import type { BertInput } from "./bert.ts";

type Ids = Tensor<[number, number], "int32">;
type Floats = Tensor<[number, number, number], "float32">;

/** A model that predicts masked tokens: `bertForMaskedLM` or `bertForPreTraining`. */
export type MaskedLanguageModel = Module &
  ((
    ids: Ids,
    input: BertInput & { readonly predictionPositions?: Ids },
  ) => { readonly logits: Floats } | { readonly predictionLogits: Floats });

/** A model that gives a text one of several labels: `bertForSequenceClassification`. */
export type TextClassifier = Module & {
  (ids: Ids, input: BertInput): { readonly logits: Tensor<[number, number], "float32"> };
  readonly config: { readonly numLabels: number; readonly id2label?: readonly string[] };
};

/** A model that gives its attention weights: every BERT and GPT-2. */
export type AttentiveModel = Module &
  ((
    ids: Ids,
    input: { readonly tokenTypeIds?: Ids; readonly outputAttentions: true },
  ) => { readonly attentions?: readonly Tensor<[number, number, number, number], "float32">[] });

/** A token that may stand at a mask. */
export interface FilledMask {
  /** The token as text, without `##`. */
  readonly token: string;
  readonly tokenId: number;
  /** Its probability. */
  readonly score: number;
  /** The text with the token in place of the mask. Other masks stay. */
  readonly sequence: string;
}

/** Encodes a text for a model. Throws DataError for one with more tokens than positions. */
function encoded(subject: string, model: Module, tokenizer: Tokenizer, text: string, pair?: string): Encoding {
  const encoding = tokenizer.encode(text, pair === undefined ? {} : { pair });
  const { maxPositionEmbeddings = Infinity, vocabSize = Infinity } =
    (
      model as unknown as {
        readonly config?: { readonly maxPositionEmbeddings?: number; readonly vocabSize?: number };
      }
    ).config ?? {};
  const count = encoding.ids.length;
  if (count === 0) throw new DataError(subject, "the text has no tokens", "give a text");
  if (count > maxPositionEmbeddings)
    throw new DataError(
      subject,
      `the text has ${count} tokens, and the model positions for ${maxPositionEmbeddings}`,
      "give a shorter text",
    );
  if (tokenizer.size > vocabSize)
    throw new ConfigError(
      subject,
      `the tokenizer has ${tokenizer.size} tokens, and the model ${vocabSize}`,
      "give the tokenizer that the model was trained with",
    );
  return encoding;
}

const row = (values: Int32Array): Ids => fromValues(values, [1, values.length]) as Ids;

/** The arguments of BERT for one encoded text. */
const inputOf = ({ typeIds }: Encoding): { readonly tokenTypeIds: Ids } => ({ tokenTypeIds: row(typeIds) });

/** The options of `fillMask`. */
export interface FillMaskOptions {
  /** How many tokens are given for each mask, the most likely first. Default 5. */
  readonly topK?: number;
}

/**
 * Returns the most likely tokens for each mask of a text: `fillMask(model, tokenizer, "the [MASK] sat on the mat")`. The mask is the
 * tokenizer's, `[MASK]` for BERT. Throws DataError for a text without one.
 */
export async function fillMask(
  model: MaskedLanguageModel,
  tokenizer: Tokenizer,
  text: string,
  options: FillMaskOptions = {},
): Promise<FilledMask[][]> {
  const subject = "fillMask";
  expectArguments(subject, [aFunction, aTokenizer, aText, aRecord], [model, tokenizer, text, options]);
  const { topK = 5 } = options;
  expectCount(subject, "topK", topK);
  const { mask } = tokenizer.special;
  const encoding = encoded(subject, model, tokenizer, text);
  const at = mask === undefined ? [] : [...encoding.ids.keys()].filter((i) => encoding.ids[i] === mask);
  if (at.length === 0)
    throw new DataError(
      subject,
      mask === undefined ? "the tokenizer has no mask" : `the text has no ${tokenizer.tokens[mask]}`,
      `put ${mask === undefined ? "[MASK]" : tokenizer.tokens[mask]} where a token is to be found: "the [MASK] sat"`,
    );
  const { architecture } = model as { readonly architecture?: unknown };
  if (typeof architecture === "string" && !maskedModels.includes(architecture)) failForModel(architecture);
  const output = inMode(false, () =>
    model(row(encoding.ids), { ...inputOf(encoding), predictionPositions: row(Int32Array.from(at)) }),
  );
  const logits = "logits" in output ? output.logits : output.predictionLogits;
  if (logits?.shape.length !== 3 || logits.shape[1] !== at.length) failForModel("one without logits for each mask");
  const probabilities = await (logits.softmax() as Tensor).data();
  const width = probabilities.length / at.length;
  return at.map((place, i) => {
    const own = Array.from(probabilities.subarray(i * width, (i + 1) * width), Number);
    return largest(own, Math.min(topK, width)).map((tokenId): FilledMask => {
      const token = tokenizer.tokens[tokenId] ?? "";
      const ids = encoding.ids.slice();
      ids[place] = tokenId;
      return { token: token.replace(/^##/, ""), tokenId, score: own[tokenId]!, sequence: textOf(tokenizer, ids) };
    });
  });
}

const maskedModels: readonly string[] = ["BertForMaskedLM", "BertForPreTraining"];

function failForModel(what: string): never {
  throw new ConfigError(
    "fillMask",
    `the model is ${what}, which predicts no masked tokens`,
    "give a bertForMaskedLM or a bertForPreTraining",
  );
}

/** Decodes a text with its masks, but without what the tokenizer's template inserts. */
function textOf(tokenizer: Tokenizer, ids: Int32Array): string {
  const { cls, sep, bos, eos, pad } = tokenizer.special;
  const left = [cls, sep, bos, eos, pad];
  return tokenizer.decode(
    [...ids].filter((id) => !left.includes(id)),
    { skipSpecialTokens: false },
  );
}

function expectCount(subject: string, name: string, count: number): void {
  if (aWhole(count) || count < 1)
    throw new ConfigError(subject, `${name} is ${described(count)}`, "give a whole number from 1 on");
}

/** The positions of the largest values, the largest first. */
function largest(values: readonly number[], count: number): number[] {
  const order = [...values.keys()].sort((a, b) => values[b]! - values[a]! || a - b);
  return order.slice(0, count);
}

/** A label and its probability. */
export interface Labelled {
  readonly label: string;
  readonly score: number;
}

/** A text, or two texts that are judged together. */
export type TextOrPair = string | readonly [text: string, pair: string];

/**
 * Returns all labels of each text with their probabilities, the most likely first: `classifyText(model, tokenizer, ["I liked it."])`. A pair
 * of texts is given as `[first, second]`. Texts that are too long are cut.
 */
export async function classifyText(
  model: TextClassifier,
  tokenizer: Tokenizer,
  texts: readonly TextOrPair[],
): Promise<Labelled[][]> {
  expectArguments("classifyText", [aFunction, aTokenizer, someTexts], [model, tokenizer, texts]);
  const { config } = model as { config: { maxPositionEmbeddings?: number } & TextClassifier["config"] };
  const { maxPositionEmbeddings: maxLength, numLabels, id2label } = config;
  const results: Labelled[][] = [];
  for (const text of texts) {
    const [first, pair] = typeof text === "string" ? [text] : text;
    const encoding = tokenizer.encode(first, {
      ...(pair !== undefined && { pair }),
      ...(maxLength !== undefined && { maxLength }),
    });
    const { logits } = inMode(false, () => model(row(encoding.ids), inputOf(encoding)));
    if (logits?.shape.length !== 2)
      throw new ConfigError(
        "classifyText",
        `the model gives ${logits ? `logits ${showShape(logits.shape)}` : "no logits"} for a text`,
        "give a model with logits [texts, labels], such as bertForSequenceClassification",
      );
    const scores = Array.from(await (logits.softmax() as Tensor).data(), Number);
    results.push(
      largest(scores, numLabels).map((id) => ({ label: id2label?.[id] ?? `LABEL_${id}`, score: scores[id]! })),
    );
  }
  return results;
}

const someTexts = (value: unknown): string | undefined =>
  Array.isArray(value) &&
  value.every(
    (text) =>
      typeof text === "string" ||
      (Array.isArray(text) && text.length === 2 && text.every((part) => typeof part === "string")),
  )
    ? undefined
    : 'give texts, or pairs of texts: ["I liked it."]';

/** The attention of a model that reads a text. */
export interface TextAttention {
  readonly tokens: readonly string[];
  /** The weights by layer and head: `weights[layer][head][from][to]`. Each row adds up to 1. */
  readonly weights: readonly (readonly (readonly (readonly number[])[])[])[];
}

/**
 * Returns the attention weights of every layer and head while a model reads a text, or a pair of texts: what each token looks at. Throws
 * DataError for a text with more tokens than the model has positions for.
 */
export async function attentionOf(
  model: AttentiveModel,
  tokenizer: Tokenizer,
  text: string,
  pair?: string,
): Promise<TextAttention> {
  const subject = "attentionOf";
  expectArguments(subject, [aFunction, aTokenizer, aText, optional(aText)], [model, tokenizer, text, pair]);
  const encoding = encoded(subject, model, tokenizer, text, pair);
  const hasSegments = "typeVocabSize" in ((model as { config?: object }).config ?? {});
  const { attentions } = inMode(false, () =>
    model(row(encoding.ids), { ...(hasSegments && inputOf(encoding)), outputAttentions: true }),
  );
  if (!attentions)
    throw new ConfigError(
      subject,
      "the model returns no attentions",
      "give a BERT or a GPT-2, or a model of that form",
    );
  const layers = await Promise.all(attentions.map((each) => each.array()));
  return { tokens: encoding.tokens, weights: layers.map(([heads]) => heads!) };
}
