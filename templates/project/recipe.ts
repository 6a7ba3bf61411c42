/** How fast a house is sold, from a CSV file: numbers with missing values, categories, a class to predict. */
import {
  adamW,
  crossEntropy,
  dataset,
  defineRecipe,
  dropout,
  fitPreparation,
  linear,
  metric,
  preparation,
  readCsv,
  relu,
  schedule,
  sequential,
} from "glissade";
import { z } from "zod";

export default defineRecipe({
  name: "houses",
  description: "How fast a house is sold",
  hyperparameters: {
    data: z.string().min(1).default("houses.csv").describe("the CSV file"),
    epochs: z.int().min(1).default(30).describe("how often each house is seen"),
    batchSize: z.int().min(1).default(32).describe("houses in a step"),
    learningRate: z.number().positive().max(1).default(0.01).describe("of AdamW at the start; falls along a cosine"),
    hiddenSize: z.int().min(1).max(1024).default(32).describe("units of the hidden layer"),
    dropout: z.number().min(0).lt(1).default(0.1).describe("the share of units that a step leaves out"),
  },
  async setup({ data, epochs, batchSize, learningRate, hiddenSize, dropout: rate, seed }, { fitted }) {
    const houses = await readCsv(data, { label: "sold" });
    const [train, validation] = houses.split(0.8, seed, { stratify: true });
    // Fitted on the training data alone: means, scales, the tables of categories, what a missing value becomes. Saved with the run.
    const prepare = await fitted(
      "preparation",
      () => fitPreparation(train, { missing: "median", unknown: "ignore" }),
      preparation,
    );
    const [learn, judge] = [prepare.apply(train), prepare.apply(validation)];

    const model = sequential(
      linear(prepare.features.length, hiddenSize),
      relu,
      dropout(rate),
      linear(hiddenSize, prepare.classes.length),
    );
    const steps = epochs * Math.ceil(train.length / batchSize);
    return {
      setup: {
        model,
        loss: (inputs, labels) => crossEntropy(model(inputs), labels),
        train: dataset(learn.inputs, learn.labels),
        validation: dataset(judge.inputs, judge.labels),
        optimizer: adamW(model, { learningRate }),
        schedule: schedule.cosine(learningRate, { steps }),
        batchSize,
        metrics: [metric.accuracy(), metric.confusionMatrix()],
      },
      options: { epochs, metricForBestModel: "accuracy" },
      prediction: { classes: prepare.classes, rows: (rows) => prepare.apply(rows).inputs },
    };
  },
});
