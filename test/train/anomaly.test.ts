/** The first op that made a NaN or an infinity is named, with the path of its module and what went into it. */
import { expect, test } from "vitest";
import {
  crossEntropy,
  dataset,
  fit,
  linear,
  type Module,
  module,
  relu,
  seed,
  sequential,
  sgd,
  type Tensor,
} from "../../src/node.ts";

type X = Tensor<[number, 2], "float32">;

function points(bad?: number) {
  const values = Float32Array.from({ length: 32 }, (_, i) => Math.sin(i + 1));
  if (bad !== undefined) values[bad] = Number.NaN;
  return dataset(
    { shape: [16, 2], dtype: "float32", values },
    { shape: [16], dtype: "int32", values: Int32Array.from({ length: 16 }, (_, i) => i % 2) },
  );
}

async function failure(
  model: Module & ((x: X) => Tensor),
  options: { rate?: number; data?: ReturnType<typeof points> } = {},
) {
  const { rate = 0.1, data = points() } = options;
  const events: string[] = [];
  const error: unknown = await fit(
    {
      model,
      loss: (x: X, y: Tensor<[number], "int32">) => crossEntropy(model(x) as Tensor<[number, 2], "float32">, y),
      train: data,
      batchSize: 4,
      optimizer: sgd(model, { learningRate: rate }),
    },
    {
      epochs: 5,
      loggingSteps: 1,
      detectAnomalies: true,
      onEvent: ({ type, step }) => void events.push(`${type} ${step}`),
    },
  ).then(
    () => expect.fail("nothing was thrown"),
    (thrown: unknown) => thrown,
  );
  return { error: error as Error & { path: string; problem: string }, events };
}

test("a logarithm of what is negative, in a block of its own", async () => {
  seed(1);
  const [first, inner] = [linear(2, 8), linear(8, 2)];
  const block = module("Block", { inner }, (x: Tensor<[number, 8], "float32">) => inner(x.log()));
  const model = module("Model", { first, block }, (x: X) => block(first(x)));
  const { error } = await failure(model);
  expect(error.name).toBe("DataError");
  expect(error.path).toBe("block");
  expect(error.problem).toMatch(
    /^the first NaN or infinity was made by `log`, of float32\[4, 8\] from -\d.* to \d.*: NaN at \[/,
  );
  expect(String(error.cause)).toContain("the loss is NaN");
});

test("a root whose value is finite and whose slope is not", async () => {
  seed(1);
  const inner = linear(2, 2);
  const root = module("Root", { inner }, (x: X) =>
    inner(x.mul(0) as X)
      .sub(inner.bias)
      .square()
      .sum(-1, { keepDims: true })
      .sqrt(),
  );
  const model = module(
    "Model",
    { root, last: linear(1, 2) },
    (x: X) => model.last(root(x) as never) as Tensor,
  ) as Module & ((x: X) => Tensor) & { last: (x: Tensor) => Tensor };
  const { error } = await failure(model);
  expect(error.problem).toContain(", in the gradient");
  expect(String(error.cause)).toContain("gradient");
});

test("data that are not finite", async () => {
  seed(1);
  const { error } = await failure(sequential(linear(2, 8), relu, linear(8, 2)), { data: points(9) });
  expect(error.problem).toMatch(
    /the first NaN or infinity is in an input, float32\[4, 2\]: NaN at \[\d, \d\]|holds NaN/,
  );
});

test("steps before the failure are logged, and weights are those before it", async () => {
  seed(1);
  const { events, error } = await failure(sequential(linear(2, 8), relu, linear(8, 2)), { rate: 1e30 });
  expect(events).toContain("log 1");
  expect(error.problem).toMatch(/the first NaN or infinity was made by/);
});
