/** Convolutions read handwritten digits: LeNet's form with relu, max pooling and dropout. */
import { z } from "zod";
import { dataset } from "../data/dataset.ts";
import type { FashionMnistDataset } from "../data/node/fashion-mnist.ts";
import { loadMnist, type MnistDataset } from "../data/node/mnist.ts";
import { loader } from "../data/tensors.ts";
import { heNormal, xavierNormal } from "../nn/initializers.ts";
import { relu } from "../nn/layers/activations.ts";
import { dropout, flatten, linear, sequential } from "../nn/layers/basic.ts";
import { conv2d, maxPool2d } from "../nn/layers/convolution.ts";
import { crossEntropy } from "../nn/losses.ts";
import { adam } from "../optim/adam.ts";
import { cosine } from "../optim/schedules.ts";
import { accuracy } from "../train/metrics.ts";
import { moveImage } from "./augment.ts";
import { defineRecipe, type Recipe } from "./recipe.ts";

/** Returns the same images with a channel axis, as convolutions need. */
function withChannel({ columns: [images, labels], length }: MnistDataset): FashionMnistDataset {
  return dataset({ ...images, shape: [length, 1, 28, 28] }, labels);
}

const digitsConv: Recipe = defineRecipe({
  name: "digits-conv",
  description: "Convolutions learn to read digits",
  hyperparameters: {
    epochs: z.int().min(1).default(12).describe("how often each image is seen"),
    batchSize: z.int().min(1).max(8000).default(64).describe("images in a step"),
    learningRate: z.number().positive().max(10).default(0.002).describe("of Adam at the start; falls along a cosine"),
    dropout: z.number().min(0).lt(1).default(0.3).describe("the share of features that a step leaves out"),
  },
  async setup({ epochs, batchSize, learningRate, dropout: rate, seed }) {
    const { train, test } = await loadMnist();
    const model = sequential(
      conv2d(1, 16, 5, { padding: 2, weight: heNormal() }),
      relu,
      maxPool2d(2),
      conv2d(16, 32, 5, { padding: 2, weight: heNormal() }),
      relu,
      maxPool2d(2),
      flatten,
      dropout(rate),
      linear(1568, 10, { weight: xavierNormal }),
    );
    const batches = loader(withChannel(train), {
      batchSize,
      shuffle: true,
      seed,
      mapExample: ([image], random) => moveImage(image, 28, random, { shift: 2, turn: 0.2, scale: 0.12 }),
    });
    return {
      setup: {
        model,
        loss: (x, labels) => crossEntropy(model(x), labels),
        train: batches,
        validation: withChannel(test),
        optimizer: adam(model, { learningRate }),
        schedule: cosine(learningRate, { steps: epochs * batches.batches }),
        metrics: [accuracy()],
      },
      options: { epochs, metricForBestModel: "accuracy" },
      prediction: { image: { width: 28, height: 28 } },
    };
  },
});

export default digitsConv;
