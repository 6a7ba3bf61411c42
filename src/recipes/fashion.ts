/** Pictures of clothes: three blocks of convolution, batch normalisation and relu, made smaller by max pooling, then dropout. */
import { z } from "zod";
import { loadFashionMnist } from "../data/node/fashion-mnist.ts";
import { loader } from "../data/tensors.ts";
import { heNormal, xavierNormal } from "../nn/initializers.ts";
import { relu } from "../nn/layers/activations.ts";
import { dropout, flatten, linear, sequential } from "../nn/layers/basic.ts";
import { conv2d, maxPool2d } from "../nn/layers/convolution.ts";
import { batchNorm } from "../nn/layers/normalization.ts";
import { crossEntropy } from "../nn/losses.ts";
import { adamW } from "../optim/adam.ts";
import { cosine, warmUp } from "../optim/schedules.ts";
import { accuracy } from "../train/metrics.ts";
import { shiftAndFlip } from "./augment.ts";
import { defineRecipe, type Recipe } from "./recipe.ts";

/** The convolutions have no bias, because the normalisation after them has one. */
const convolution = { padding: 1, bias: false, weight: heNormal() } as const;

const fashion: Recipe = defineRecipe({
  name: "fashion",
  description: "Convolutions learn to name clothes: 60,000 pictures of Fashion-MNIST",
  hyperparameters: {
    epochs: z.int().min(1).default(14).describe("how often each picture is seen"),
    batchSize: z.int().min(2).max(4096).default(128).describe("pictures in a step"),
    learningRate: z
      .number()
      .positive()
      .max(10)
      .default(0.003)
      .describe("of AdamW, after an epoch of climbing; falls along a cosine"),
    weightDecay: z.number().min(0).default(0.05).describe("of AdamW"),
    dropout: z.number().min(0).lt(1).default(0.2).describe("the share of features that a step leaves out"),
    shift: z.int().min(0).max(14).default(1).describe("the farthest that a picture is moved in each direction, pixels"),
    folder: z
      .string()
      .min(1)
      .optional()
      .describe("the folder of the four IDX files; default: that of Debian's package"),
  },
  async setup({ epochs, batchSize, learningRate, weightDecay, dropout: rate, shift, folder, seed }) {
    const { train, test, classes } = await loadFashionMnist(folder === undefined ? {} : { folder });
    const model = sequential(
      conv2d(1, 32, 3, convolution),
      batchNorm(32),
      relu,
      maxPool2d(2),
      conv2d(32, 64, 3, convolution),
      batchNorm(64),
      relu,
      maxPool2d(2),
      conv2d(64, 128, 3, convolution),
      batchNorm(128),
      relu,
      maxPool2d(2),
      flatten,
      dropout(rate),
      linear(1152, 10, { weight: xavierNormal }),
    );
    const batches = loader(train, {
      batchSize,
      shuffle: true,
      seed,
      mapExample: ([picture], random) => shiftAndFlip(picture, 28, random, shift),
    });
    const steps = batches.batches;
    return {
      setup: {
        model,
        loss: (pictures, labels) => crossEntropy(model(pictures), labels),
        train: batches,
        validation: test,
        optimizer: adamW(model, { learningRate, weightDecay }),
        schedule: warmUp(cosine(learningRate, { steps: Math.max(1, (epochs - 1) * steps) }), { steps }),
        metrics: [accuracy()],
      },
      options: { epochs, metricForBestModel: "accuracy" },
      prediction: { classes, image: { width: 28, height: 28 } },
    };
  },
});

export default fashion;
