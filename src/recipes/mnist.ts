/** The first recipe: a perceptron learns to read handwritten digits. */
import { compile } from "../compile/compile.ts";
import { Dataset } from "../data/dataset.ts";
import { loadMnist, type MnistDataset } from "../data/node/mnist.ts";
import { loader, toTensor } from "../data/tensors.ts";
import { seed } from "../nn/generator.ts";
import { heNormal, xavierNormal } from "../nn/initializers.ts";
import { relu } from "../nn/layers/activations.ts";
import { linear, type Sequential, sequential } from "../nn/layers/basic.ts";
import { crossEntropy } from "../nn/losses.ts";
import { adam } from "../optim/adam.ts";
import { cosine } from "../optim/schedules.ts";
import { hostStream } from "../random/generator.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { EpochReport, StepReport } from "../train/history.ts";
import type { TrainingSetup } from "../train/setup.ts";
import { moveImages } from "./augment.ts";

export interface MnistSetupOptions {
  /** Default 64. */
  readonly batchSize?: number;
  /** α of Adam at the start; it falls to zero along a cosine. Default 0.002. */
  readonly learningRate?: number;
  /** Of the initial weights, the order of the examples and their moves. Default 0. */
  readonly seed?: number;
}

export interface MnistRecipe extends MnistSetupOptions {
  /** Default 30. */
  readonly epochs?: number;
  /** Called after each step; awaited. */
  readonly onStep?: (report: StepReport) => void | Promise<void>;
  /** Called after each epoch; awaited. */
  readonly onEpoch?: (report: EpochReport) => void | Promise<void>;
  /** Ends the training after the step under way. */
  readonly signal?: AbortSignal;
}

/** 784 pixels, 256 and 128 hidden units, 10 digits. He's initialisation before relu, Xavier's before the softmax. */
export function perceptron(): Perceptron {
  return sequential(
    linear(784, 256, { weight: heNormal() }),
    relu,
    linear(256, 128, { weight: heNormal() }),
    relu,
    linear(128, 10, { weight: xavierNormal }),
  );
}

export type Perceptron = Sequential<784, 10>;

type Parts = "model" | "loss" | "train" | "validation" | "optimizer" | "batchSize";

export interface MnistSetup extends Required<Pick<TrainingSetup<MnistDataset["columns"]>, Parts>> {
  readonly model: Perceptron;
  readonly train: MnistDataset;
  readonly validation: MnistDataset;
}

export interface MnistResult {
  readonly model: Perceptron;
  readonly epochs: readonly EpochReport[];
  readonly test: MnistDataset;
  /** Steps done; fewer than planned when the signal ended the training. */
  readonly steps: number;
  /** Milliseconds from the start of the process to the end of the first step. */
  readonly firstStepAfter: number;
}

/** What the training is made of: the perceptron, new, with weights from the seed; 8,000 digits to learn, 2,000 to test. */
export async function mnistSetup(options: MnistSetupOptions = {}): Promise<MnistSetup> {
  const { batchSize = 64, learningRate = 0.002, seed: seedValue = 0 } = options;
  seed(seedValue);
  const { train, test } = await loadMnist();
  const model = perceptron();
  const loss: MnistSetup["loss"] = (images, labels) => crossEntropy(model(images), labels);
  return { train, validation: test, model, loss, optimizer: adam(model, { learningRate }), batchSize };
}

/** Trains on 8,000 digits and tests on 2,000. Each epoch sees every digit once, slightly turned, scaled and shifted. */
export async function trainMnist(recipe: MnistRecipe = {}): Promise<MnistResult> {
  const { epochs = 30, seed: seedValue = 0, onStep, onEpoch, signal } = recipe;
  const { model, optimizer, train, validation: test, batchSize, ...setup } = await mnistSetup(recipe);
  const { learningRate } = optimizer;
  const learn = compile((images: Tensor<[number, 784], "float32">, labels: Tensor<[number], "int32">) => {
    const loss = setup.loss(images, labels);
    optimizer.minimize(loss);
    return loss;
  });
  const judge = compile((images: Tensor<[number, 784], "float32">, labels: Tensor<[number], "int32">) => {
    const logits = model(images);
    const right = logits.argmax().equal(labels).cast("float32").mean();
    return { loss: crossEntropy(logits, labels), right };
  });
  const [testImages, testLabels] = [toTensor(test.columns[0]), toTensor(test.columns[1])];

  const reports: EpochReport[] = [];
  const started = performance.now();
  const batches = Math.ceil(train.length / batchSize);
  const steps = epochs * batches;
  const rate = cosine(learningRate, { steps: Math.max(1, steps) });
  let step = 0;
  let firstStepAfter = 0;
  for (let epoch = 1; epoch <= epochs && !signal?.aborted; epoch++) {
    const epochStarted = performance.now();
    const [images, labels] = train.columns;
    const moved =
      epoch === 1
        ? images.values
        : moveImages(images.values as Float32Array, 28, hostStream(seedValue, "augmentation", epoch), {
            shift: 2,
            turn: 0.2,
            scale: 0.12,
          });
    const shown: MnistDataset = new Dataset([{ ...images, values: moved }, labels]);
    let sum = 0;
    let seen = 0;
    const order = loader(shown, { batchSize, shuffle: true, seed: seedValue });
    order.resume({ epoch, batch: 0 });
    for (const [x, y] of order) {
      optimizer.learningRate = rate(step);
      const loss = await learn(x, y).item();
      if (step++ === 0) firstStepAfter = performance.now();
      sum += loss * y.size;
      seen += y.size;
      await onStep?.({ epoch, step, steps, loss });
      if (signal?.aborted) break;
    }
    const seconds = (performance.now() - epochStarted) / 1000;
    const { loss, right } = judge(testImages, testLabels);
    const report: EpochReport = {
      epoch,
      trainLoss: sum / seen,
      testLoss: await loss.item(),
      testAccuracy: await right.item(),
      examplesPerSecond: seen / seconds,
      seconds: (performance.now() - started) / 1000,
    };
    reports.push(report);
    await onEpoch?.(report);
  }
  return { model, epochs: reports, test, steps: step, firstStepAfter };
}
