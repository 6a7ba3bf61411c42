/** BERT's fine-tuning: a pre-trained encoder with a new classifier learns labels of texts (Devlin et al. 2019, section 4). */
import { z } from "zod";
import { CsvRecords, type CsvRow, CsvRows, textOf } from "../data/csv.ts";
import { dataset } from "../data/dataset.ts";
import { delimiterOf } from "../data/node/tables.ts";
import { permutation } from "../data/shuffle.ts";
import { loader } from "../data/tensors.ts";
import { ConfigError, DataError, printable, quoted } from "../errors.ts";
import { readFileChecked } from "../files/node/atomic.ts";
import { nearest } from "../graph/arguments.ts";
import { type BertConfig, type BertForSequenceClassification, bertForSequenceClassification } from "../models/bert.ts";
import { loadPretrained } from "../models/node/pretrained.ts";
import { crossEntropy } from "../nn/losses.ts";
import { linear as falling, warmUp } from "../optim/schedules.ts";
import { hostStream } from "../random/generator.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { decodeTokenizer, type Tokenizer } from "../text/tokenizer.ts";
import { trainWordPiece } from "../text/tokenizers.ts";
import { accuracy } from "../train/metrics.ts";
import { adamWForTransformers } from "./bert-pretrain.ts";
import { kebabOf } from "./hyperparameters.ts";
import { defineRecipe, type Recipe } from "./recipe.ts";

type Ids = Tensor<[number, number], "int32">;
type Labels = Tensor<[number], "int32">;

/** Texts with the names of their labels. */
interface Labelled {
  readonly texts: readonly string[];
  readonly labels: readonly string[];
}

/** The columns of a file that are read, by the hyperparameter that names each. */
interface ColumnNames {
  readonly textColumn: string;
  readonly labelColumn: string;
}

/** What was read of a file, and what of it was left out, in words. */
interface Read extends Labelled {
  readonly leftOut: string | undefined;
}

/** Reads the texts and labels of a CSV file. Rows without a text or without a label are left out. */
async function readLabelled(file: string, names: ColumnNames): Promise<Read> {
  const content = textOf(await readFileChecked(file), file).replace(/^\uFEFF/, "");
  const reader = new CsvRows(file);
  const rows = reader.take(new CsvRecords(file, delimiterOf(file)).take(content, true));
  if (reader.names.length === 0)
    throw new DataError(
      file,
      "it is empty",
      "give a row with the names of the columns, and a text and a label in each row",
    );
  const placeOf = (role: keyof ColumnNames): number => {
    const place = reader.names.indexOf(names[role]);
    if (place >= 0) return place;
    const near = nearest(names[role], reader.names);
    throw new DataError(
      file,
      `there is no column ${quoted(names[role])}`,
      `name one with --${kebabOf(role)}${near ? `: did you mean ${quoted(near)}?` : ""}; the columns are ${reader.names.map((each) => quoted(each)).join(", ")}`,
    );
  };
  const [atText, atLabel] = [placeOf("textColumn"), placeOf("labelColumn")];
  const isWhole = ({ fields }: CsvRow): boolean => [atText, atLabel].every((at) => (fields[at] ?? "").trim() !== "");
  const whole = rows.filter(isWhole);
  if (whole.length === 0)
    throw new DataError(
      file,
      `none of its ${rows.length} rows has both a text and a label`,
      `give rows with ${quoted(names.textColumn)} and ${quoted(names.labelColumn)}`,
    );
  const first = rows.find((row) => !isWhole(row));
  return {
    texts: whole.map(({ fields }) => fields[atText]!),
    labels: whole.map(({ fields }) => fields[atLabel]!),
    leftOut:
      first &&
      `${printable(file)}: ${rows.length - whole.length} of ${rows.length} rows have no text or no label and are left out, the first in line ${first.line}`,
  };
}

/** Puts aside a share of examples, drawn by the seed. */
function divided({ texts, labels }: Labelled, aside: number, seed: number): readonly [Labelled, Labelled] {
  const order = permutation(texts.length, hostStream(seed, "split"));
  const pick = (from: number, to: number): Labelled => {
    const places = [...order.slice(from, to)].sort((a, b) => a - b);
    return { texts: places.map((i) => texts[i]!), labels: places.map((i) => labels[i]!) };
  };
  return [pick(aside, texts.length), pick(0, aside)];
}

/** The configuration of an encoder that begins with random weights: that of `bert-pretrain`. */
const scratch = {
  hiddenSize: 128,
  numHiddenLayers: 4,
  numAttentionHeads: 4,
  intermediateSize: 512,
} as const satisfies Partial<BertConfig>;

const bertFinetune: Recipe = defineRecipe({
  name: "bert-finetune",
  description: "A pre-trained BERT learns to label texts: reviews of food, or any CSV file",
  hyperparameters: {
    file: z.string().min(1).describe("a CSV or TSV file with a text and a label in each row"),
    validationFile: z.string().min(1).optional().describe("another one to be judged on; default: a tenth of the file"),
    textColumn: z.string().min(1).default("review").describe("the column of the texts"),
    labelColumn: z.string().min(1).default("score").describe("the column of the labels"),
    pretrained: z
      .string()
      .min(1)
      .optional()
      .describe("the folder of a pre-trained model, of `glissade export --format pretrained` or from the hub"),
    examples: z.int().min(2).optional().describe("how many labelled texts are used, drawn by the seed; default: all"),
    epochs: z.int().min(1).default(6).describe("how often each text is seen"),
    frozenEpochs: z
      .number()
      .min(0)
      .default(1)
      .describe("epochs at the beginning in which only the new classifier learns"),
    batchSize: z.int().min(1).max(4096).default(32).describe("texts in a step"),
    learningRate: z.number().positive().max(1).default(0.0005).describe("of AdamW once all weights learn; falls to 0"),
    frozenRate: z.number().positive().max(1).default(0.003).describe("of AdamW while only the classifier learns"),
    weightDecay: z.number().min(0).default(0.01).describe("of AdamW, for matrices"),
    length: z.int().min(8).max(512).default(128).describe("the most tokens of a text; the rest is cut"),
    dropout: z.number().min(0).lt(1).default(0.1).describe("the share of features and attention weights left out"),
    vocabularySize: z.int().min(50).max(100_000).default(8000).describe("of a model without pre-training"),
  },
  async setup({ file, textColumn, labelColumn, epochs, batchSize, learningRate, dropout, seed, ...given }, { fitted }) {
    const names = { textColumn, labelColumn };
    const all = await readLabelled(file, names);
    const other = given.validationFile === undefined ? undefined : await readLabelled(given.validationFile, names);
    const held = other ? ([all, other] as const) : divided(all, Math.max(1, Math.round(all.texts.length / 10)), seed);
    const validation = held[1];
    const { examples = held[0].texts.length } = given;
    if (examples > held[0].texts.length)
      throw new ConfigError(
        "bert-finetune",
        `${examples} examples are to be used, and there are ${held[0].texts.length}`,
        "give fewer",
      );
    const train = examples < held[0].texts.length ? divided(held[0], examples, seed)[1] : held[0];
    const fitLabels = (): string[] => {
      for (const { leftOut } of other ? [all, other] : [all])
        if (leftOut !== undefined) console.error(`warning: ${leftOut}`);
      return [...new Set(all.labels)].sort();
    };
    const id2label = await fitted("labels", fitLabels, z.array(z.string()).parse);
    if (id2label.length < 2 || id2label.length > 1000)
      throw new DataError(
        file,
        `the column ${quoted(labelColumn)} has ${id2label.length === 1 ? "one label" : `${id2label.length} different labels`} in ${all.texts.length} row${all.texts.length === 1 ? "" : "s"}`,
        "give a column with from 2 to 1,000, with --label-column",
      );
    const rates = { hiddenDropoutProb: dropout, attentionProbsDropoutProb: dropout };
    const config = { ...rates, id2label, numLabels: id2label.length };
    const pretrained = given.pretrained === undefined ? undefined : await begun(given.pretrained, config);
    const tokenizer = await fitted(
      "tokenizer",
      () => pretrained?.tokenizer ?? trainWordPiece(held[0].texts, { vocabularySize: given.vocabularySize }),
      decodeTokenizer,
    );
    const fromScratch = { ...scratch, vocabSize: tokenizer.size, maxPositionEmbeddings: given.length, ...config };
    const model = pretrained?.model ?? bertForSequenceClassification(fromScratch);
    const length = Math.min(given.length, model.config.maxPositionEmbeddings);
    const columns = (of: Labelled) => {
      const { ids } = tokenizer.encodeBatch(of.texts, { maxLength: length });
      const labels = of.labels.map((label) => id2label.indexOf(label));
      const unknown = labels.indexOf(-1);
      if (unknown >= 0)
        throw new DataError(
          given.validationFile ?? file,
          `there is a label ${quoted(of.labels[unknown]!)}, which no text to learn from has`,
          `label with ${id2label
            .slice(0, 5)
            .map((each) => printable(each))
            .join(", ")}`,
        );
      return dataset(ids, { shape: [labels.length] as const, dtype: "int32", values: Int32Array.from(labels) });
    };
    const batches = loader(columns(train), {
      batchSize: Math.min(batchSize, train.texts.length),
      shuffle: true,
      seed,
      buckets: 4,
    });
    const steps = epochs * batches.batches;
    const frozen = Math.min(steps, Math.round((given.pretrained ? given.frozenEpochs : 0) * batches.batches));
    const climb = Math.floor(0.1 * (steps - frozen));
    const later = warmUp(falling(learningRate, { steps: Math.max(1, steps - frozen - climb) }), { steps: climb });
    const padding = tokenizer.special.pad ?? 0;
    const forward = (ids: Ids) => model(ids, { attentionMask: ids.notEqual(padding) }).logits;
    return {
      setup: {
        model,
        loss: (ids: Ids, labels: Labels) => crossEntropy(forward(ids), labels),
        output: forward,
        train: batches,
        validation: columns(validation),
        optimizer: adamWForTransformers(model, { learningRate, weightDecay: given.weightDecay }),
        // Called before each step, also after a run is resumed: first the body is frozen, then all learns.
        schedule(step: number) {
          if (step < frozen) model.bert.freeze();
          else model.bert.unfreeze();
          return step < frozen ? given.frozenRate : later(step - frozen);
        },
        metrics: [accuracy()],
      },
      options: { epochs, maxGradNorm: 1, metricForBestModel: "accuracy" },
      prediction: { tokenizer, classes: id2label, length, command: ['classify "a fine day"', "the label of a text"] },
    };
  },
});

/** A classifier with the weights of a folder, and the folder's tokenizer. */
async function begun(
  folder: string,
  config: Partial<BertConfig>,
): Promise<{ readonly model: Classifier; readonly tokenizer: Tokenizer }> {
  const { model, tokenizer } = await loadPretrained(bertForSequenceClassification, folder, {
    config,
    ignoreMismatchedSizes: true,
  });
  if (!tokenizer)
    throw new DataError(folder, "there is no tokenizer", "put tokenizer.json or vocab.txt beside the weights");
  return { model, tokenizer };
}

type Classifier = BertForSequenceClassification & { readonly config: BertConfig };

export default bertFinetune;
