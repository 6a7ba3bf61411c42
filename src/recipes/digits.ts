/** The first recipe: a perceptron learns to read handwritten digits. */
import { z } from "zod";
import { loadMnist } from "../data/node/mnist.ts";
import { loader } from "../data/tensors.ts";
import { heNormal, xavierNormal } from "../nn/initializers.ts";
import { relu } from "../nn/layers/activations.ts";
import { linear, type Sequential, sequential } from "../nn/layers/basic.ts";
import { crossEntropy } from "../nn/losses.ts";
import { adam } from "../optim/adam.ts";
import { cosine } from "../optim/schedules.ts";
import { accuracy } from "../train/metrics.ts";
import { moveImage } from "./augment.ts";
import { defineRecipe, type Recipe } from "./recipe.ts";

/** 784 pixels, 256 and 128 hidden units, 10 digits. He's initialisation before relu, Xavier's before the softmax. */
export function perceptron(): Sequential<784, 10> {
  return sequential(
    linear(784, 256, { weight: heNormal() }),
    relu,
    linear(256, 128, { weight: heNormal() }),
    relu,
    linear(128, 10, { weight: xavierNormal }),
  );
}

/** Each epoch sees every digit once, slightly turned, scaled and shifted. */
const digits: Recipe = defineRecipe({
  name: "digits",
  description: "A perceptron learns to read digits",
  hyperparameters: {
    epochs: z.int().min(1).default(30).describe("how often each image is seen"),
    batchSize: z.int().min(1).max(8000).default(64).describe("images in a step"),
    learningRate: z.number().positive().max(10).default(0.002).describe("of Adam at the start; falls along a cosine"),
  },
  async setup({ epochs, batchSize, learningRate, seed }) {
    const { train, test } = await loadMnist();
    const model = perceptron();
    const batches = loader(train, {
      batchSize,
      shuffle: true,
      seed,
      mapExample: ([image], random) => moveImage(image, 28, random, { shift: 2, turn: 0.2, scale: 0.12 }),
    });
    return {
      setup: {
        model,
        loss: (images, labels) => crossEntropy(model(images), labels),
        train: batches,
        validation: test,
        optimizer: adam(model, { learningRate }),
        schedule: cosine(learningRate, { steps: epochs * batches.batches }),
        metrics: [accuracy()],
      },
      options: { epochs, metricForBestModel: "accuracy" },
      prediction: { image: { width: 28, height: 28 } },
    };
  },
});

export default digits;
