/** The oldest example: three kinds of iris flowers, told apart by four measures. */
import { z } from "zod";
import { dataset } from "../data/dataset.ts";
import { loadIris } from "../data/node/iris.ts";
import { fitStandardizer } from "../data/standardize.ts";
import { tanh } from "../nn/layers/activations.ts";
import { linear, sequential } from "../nn/layers/basic.ts";
import { crossEntropy } from "../nn/losses.ts";
import { adamW } from "../optim/adam.ts";
import { accuracy } from "../train/metrics.ts";
import { defineRecipe, type Recipe } from "./recipe.ts";
import { numbersOf } from "./rows.ts";

const iris: Recipe = defineRecipe({
  name: "iris",
  description: "A small network tells three kinds of iris flowers apart",
  hyperparameters: {
    epochs: z.int().min(1).default(40).describe("how often each flower is seen"),
    batchSize: z.int().min(1).max(120).default(16).describe("flowers in a step"),
    learningRate: z.number().positive().max(10).default(0.01).describe("of AdamW"),
    weightDecay: z.number().min(0).default(0.01).describe("of AdamW"),
    hiddenSize: z.int().min(1).max(1024).default(16).describe("units between measures and kinds"),
  },
  async setup({ epochs, batchSize, learningRate, weightDecay, hiddenSize, seed }) {
    const { train, test, classes, features } = await loadIris({ seed });
    const scale = fitStandardizer(train.columns[0]);
    const model = sequential(linear(4, hiddenSize), tanh, linear(hiddenSize, 3));
    return {
      setup: {
        model,
        loss: (measures, labels) => crossEntropy(model(measures), labels),
        train: dataset(scale.apply(train.columns[0]), train.columns[1]),
        validation: dataset(scale.apply(test.columns[0]), test.columns[1]),
        optimizer: adamW(model, { learningRate, weightDecay }),
        batchSize,
        metrics: [accuracy()],
      },
      options: { epochs, metricForBestModel: "accuracy" },
      prediction: { classes, rows: (rows) => scale.apply(numbersOf(rows, features)) },
    };
  },
});

export default iris;
