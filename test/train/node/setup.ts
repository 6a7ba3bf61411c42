/** A small training that has everything whose state matters: dropout, random changes, a schedule or a plateau. */
import {
  adam,
  type Column,
  crossEntropy,
  type Dataset,
  dataset,
  dropout,
  linear,
  loader,
  metric,
  type Optimizer,
  relu,
  type Sequential,
  schedule,
  seed,
  sequential,
  type TrainingSetup,
} from "../../../src/node.ts";

type Columns = readonly [Column<readonly [number, 2], "float32">, Column<readonly [number], "int32">];

/** What `makeSetup` makes: nothing is left to defaults. */
export interface PointsSetup extends TrainingSetup<Columns> {
  readonly model: Sequential<2, 2>;
  readonly optimizer: Optimizer;
}

/** Points in the plane, of which those with x·y > 0 are class 1. */
export function points(count: number): Dataset<Columns> {
  const values = Float32Array.from({ length: 2 * count }, (_, i) => Math.sin(i * 12.9898 + 1));
  const label = (i: number): number => Number(values[2 * i]! * values[2 * i + 1]! > 0);
  return dataset(
    { shape: [count, 2], dtype: "float32", values },
    { shape: [count], dtype: "int32", values: Int32Array.from({ length: count }, (_, i) => label(i)) },
  );
}

export function makeSetup(): PointsSetup {
  seed(5);
  const model = sequential(linear(2, 16), relu, dropout(0.1), linear(16, 2));
  return {
    model,
    loss: (x, y) => crossEntropy(model(x), y),
    train: loader(points(60), {
      batchSize: 8,
      shuffle: true,
      mapExample: ([x], random) => {
        x[0]! += 0.05 * random.normal();
      },
    }),
    validation: points(23),
    optimizer: adam(model, { learningRate: 0.02 }),
    schedule: new schedule.Plateau(0.02, { patience: 0, factor: 0.7, threshold: 0.05 }),
    metrics: [metric.accuracy(), metric.confusionMatrix()],
  };
}
