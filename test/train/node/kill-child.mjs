/**
 * A training in a folder, from the build, that goes on where it was: dropout, random changes of the examples, a schedule, a plateau's
 * cousin early stopping, accumulation, clipping, an average of weights. Says on standard output when a step is done.
 */
import {
  adam,
  crossEntropy,
  dataset,
  dropout,
  ema,
  fit,
  linear,
  loader,
  metric,
  relu,
  schedule,
  seed,
  sequential,
} from "../../../dist/node.js";

const [folder, slow] = process.argv.slice(2);

function points(count, from) {
  const values = Float32Array.from({ length: 8 * count }, (_, i) => Math.sin((i + from) * 12.9898 + 1));
  const labels = Int32Array.from({ length: count }, (_, i) => Number(values[8 * i] * values[8 * i + 1] > 0));
  return dataset({ shape: [count, 8], dtype: "float32", values }, { shape: [count], dtype: "int32", values: labels });
}

seed(7);
const model = sequential(linear(8, 32), relu, dropout(0.2), linear(32, 2));
const average = ema(model, { decay: 0.9 });
const train = loader(points(200, 0), {
  batchSize: 16,
  shuffle: true,
  seed: 3,
  mapExample: ([x], random) => {
    for (let i = 0; i < x.length; i++) x[i] += 0.1 * random.normal();
  },
});
let last = -1;
const { step } = await fit(
  {
    model,
    loss: (x, y) => crossEntropy(model(x), y),
    train,
    validation: points(50, 5000),
    optimizer: adam(model, { learningRate: 0.01 }),
    schedule: schedule.warmUp(schedule.cosine(0.01, { steps: 200 }), { steps: 10 }),
    metrics: [metric.accuracy(), metric.f1()],
    afterUpdate: () => average.update(),
    state: { average },
  },
  {
    outputDir: folder,
    resumeFromCheckpoint: true,
    epochs: 30,
    gradientAccumulationSteps: 2,
    maxGradNorm: 1,
    loggingSteps: 3,
    evalSteps: 20,
    saveSteps: 4,
    saveTotalLimit: 2,
    onEvent: async (event) => {
      // So that there is time to be killed in, and something to see of it.
      if (slow && event.type === "progress") await new Promise((resolve) => setTimeout(resolve, Number(slow)));
      if (event.step !== last) console.log(event.type, event.step);
      last = event.step;
    },
  },
);
console.log("done", step);
