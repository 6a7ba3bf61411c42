/** Ten mistakes that everybody makes, and the sentences they get: what, where, and the fix. */
import { beforeEach, expect, test } from "vitest";
import {
  adam,
  compile,
  crossEntropy,
  dataset,
  decodeWeights,
  encodeWeights,
  linear,
  loader,
  module,
  relu,
  seed,
  sequential,
  type Tensor,
  tensor,
  zeros,
} from "../src/node.ts";

beforeEach(() => seed(0));

async function sentence(action: () => unknown): Promise<string> {
  try {
    await action();
  } catch (error) {
    return String(error);
  }
  return expect.fail("nothing was thrown");
}

/** A network in which a layer is several modules deep. */
function deep() {
  const inner = module("Block", { project: linear(3, 4) }, (x: Tensor) =>
    inner.project(x as Tensor<[number, 3], "float32">),
  );
  return module("Deep", { layers: [inner] }, (x: Tensor) => inner(x));
}

const images = tensor([
  [1, 2, 3],
  [4, 5, 6],
]);

function trainer() {
  const model = sequential(linear(3, 8), relu, linear(8, 4));
  const optimizer = adam(model);
  const step = compile((x: Tensor<[number, 3], "float32">, y: Tensor<[number], "int32">) => {
    const loss = crossEntropy(model(x), y);
    optimizer.minimize(loss);
    return loss;
  });
  return { model, step };
}

test("wrong inner axes, deep inside a model", async () => {
  const model = deep();
  expect(await sentence(() => model(tensor([[1, 2]])))).toMatchInlineSnapshot(`
    "ShapeError: linear: x [1, 2] ends in 2, the weight [4, 3] takes 3
      in:  layers.0.project
      fix: make x's last axis and the layer's number of inputs equal"
  `);
});

test("labels of the wrong dtype", async () => {
  const labels = tensor([0, 1]) as unknown as Tensor<[2], "int32">;
  expect(await sentence(() => crossEntropy(linear(3, 4)(images), labels))).toMatchInlineSnapshot(`
    "DTypeError: crossEntropy: labels are int32, and got float32[2]
      fix: make them with tensor(values, "int32"), or .cast("int32")"
  `);
});

test("labels out of range", async () => {
  const { model, step } = trainer();
  const before = await model.parameters()[0]!.data();
  expect(await sentence(() => step(images, tensor([0, 4], "int32")).item())).toMatchInlineSnapshot(`
    "DataError: pick: index 4 at position 1 of argument 1 (int32[2]) is outside 0 … 3
      in:  crossEntropy
      fix: give labels and ids below 4, or make the table or the output layer larger"
  `);
  expect(await model.parameters()[0]!.data()).toEqual(before);
});

test("axes the wrong way round, and a dtype that there is not", async () => {
  expect(await sentence(() => zeros([2, 3, 4]).flatten(2, 1))).toMatchInlineSnapshot(`
    "ShapeError: flatten: from axis 2 to axis 1
      fix: name the first axis first"
  `);
  expect(await sentence(() => zeros([2]).cast("int64" as "int32"))).toMatchInlineSnapshot(`
    "DTypeError: cast: there is no dtype int64
      fix: use one of float32, float64, int32, bool"
  `);
  expect(await sentence(() => zeros([2], "float16" as "float32"))).toMatchInlineSnapshot(`
    "DTypeError: full: there is no dtype float16
      fix: use one of float32, float64, int32, bool"
  `);
});

test("indices out of range among values that are known when the graph is built", async () => {
  const table = tensor([
    [1, 2],
    [3, 4],
  ]);
  const ids = tensor([[0, 1, 2]], "int32");
  expect(await sentence(() => table.take(ids.transpose()).data())).toMatchInlineSnapshot(`
    "DataError: take: index 2 at position 2 of the indices (int32[1, 3]) is outside 0 … 1
      fix: give labels and ids below 2, or make the table or the output layer larger"
  `);
  const captured = compile((x: typeof table) => x.take(ids));
  expect(await sentence(() => captured(table))).toMatchInlineSnapshot(`
    "DataError: take: index 2 at position 2 of the indices (int32[1, 3]) is outside 0 … 1
      fix: give labels and ids below 2, or make the table or the output layer larger"
  `);
  // What lies outside of a part that is used may be anything.
  expect(await table.take(ids.slice(null, [0, 2])).array()).toEqual([
    [
      [1, 2],
      [3, 4],
    ],
  ]);
});

test("NaN among the inputs: the step is not made", async () => {
  const { model, step } = trainer();
  const before = await Promise.all(model.parameters().map((parameter) => parameter.data()));
  const bad = tensor([
    [1, 2, 3],
    [4, Number.NaN, 6],
  ]);
  expect(await sentence(() => step(bad, tensor([0, 1], "int32")).item())).toMatchInlineSnapshot(`
    "DataError: compiled function: argument 0 (float32[2, 3]) holds NaN at [1, 1]
      fix: clean the data before training; the update was not made and all parameters keep their values"
  `);
  expect(await Promise.all(model.parameters().map((parameter) => parameter.data()))).toEqual(before);
  expect(await step(images, tensor([0, 1], "int32")).item()).toBeGreaterThan(0);
});

test("an empty dataset", async () => {
  expect(
    await sentence(() => dataset({ shape: [0, 3], dtype: "float32", values: new Float32Array(0) })),
  ).toMatchInlineSnapshot(`
    "DataError: dataset: column 0: it has no examples
      fix: check where the data come from: a filter may have dropped all"
  `);
});

test("a batch larger than the data", async () => {
  const data = dataset({ shape: [4, 1], dtype: "float32", values: new Float32Array(4) });
  expect(await sentence(() => loader(data, { batchSize: 8 }))).toMatchInlineSnapshot(`
    "DataError: loader: a batch of 8 examples is larger than the data, which have 4
      fix: set batchSize to 4 or less"
  `);
});

test("reading a value in a trace", async () => {
  const peek = compile((x: Tensor) => {
    void x.sum().item();
    return x;
  });
  expect(await sentence(() => peek(images))).toMatchInlineSnapshot(`
    "GraphError: item(): reads values inside a function that is being traced, where there are none yet
      fix: return the tensor from the compiled function and read it outside, or decide with where(condition, a, b)"
  `);
});

test("mixing tensors of two traces", async () => {
  let kept: Tensor = images;
  compile((x: Tensor) => {
    kept = x.mul(2);
    return x;
  })(images);
  expect(await sentence(() => compile((x: Tensor) => x.add(kept as typeof images))(images))).toMatchInlineSnapshot(`
    "GraphError: add: mixes a tensor of this trace with one that was made in another trace
      fix: pass the other tensor in as an argument of the compiled function"
  `);
  expect(await sentence(() => kept.add(1))).toMatchInlineSnapshot(`
    "GraphError: add: uses a tensor that was made inside a compiled function, outside of that function
      fix: return it from the compiled function; what comes back holds values and can be used anywhere"
  `);
});

test("weights of another architecture", async () => {
  const bytes = await encodeWeights(linear(3, 4));
  expect(await sentence(() => decodeWeights(linear(3, 5), bytes, "model.safetensors"))).toMatchInlineSnapshot(`
    "FormatError: model.safetensors: holds another architecture: weight is float32[4, 3] in the file and float32[5, 3] in the model, bias is float32[4] in the file and float32[5] in the model
      fix: build the model that the file was saved from"
  `);
});

test("a truncated safetensors file", async () => {
  const bytes = await encodeWeights(linear(3, 4));
  expect(
    await sentence(() => decodeWeights(linear(3, 4), bytes.subarray(0, 40), "model.safetensors")),
  ).toMatchInlineSnapshot(`
    "FormatError: model.safetensors: its first 8 bytes announce a header of 120 bytes, and only 32 follow
      fix: check that this is a safetensors file and was downloaded to its end"
  `);
});

test("a module that contains itself", async () => {
  const children: Record<string, ReturnType<typeof deep>> = {};
  const loop = module("Loop", children, (x: Tensor) => x);
  children.again = loop as unknown as ReturnType<typeof deep>;
  expect(await sentence(() => loop.parameters())).toMatchInlineSnapshot(`
    "GraphError: Loop: the module contains itself: again leads back to it
      in:  again
      fix: build a second module, or call the one you have twice"
  `);
});

test("an asynchronous function given to compile, and one that returns something else", async () => {
  expect(
    await sentence(() => compile((async (x: Tensor) => x) as unknown as (x: Tensor) => Tensor)(images)),
  ).toMatchInlineSnapshot(`
    "GraphError: compile: the function is asynchronous
      fix: make it synchronous: nothing can be awaited while the graph is built; read values from the tensors that come back"
  `);
  expect(await sentence(() => compile((() => 3) as unknown as () => Tensor)())).toMatchInlineSnapshot(`
    "GraphError: compile: the function returns number
      fix: give tensors, or arrays or records of them"
  `);
});

test("a failure that nobody reads comes up at the next call", async () => {
  const { step } = trainer();
  const wrong = tensor([
    [Number.NaN, 0, 0],
    [0, 0, 0],
  ]);
  step(wrong, tensor([0, 1], "int32"));
  expect(await sentence(() => step.finished())).toContain("holds NaN at [0, 0]");
  step(wrong, tensor([0, 1], "int32"));
  await new Promise((resolve) => setTimeout(resolve, 100));
  expect(await sentence(() => step(images, tensor([0, 1], "int32")))).toContain("holds NaN at [0, 0]");
});

test("a shape with a negative size or a fraction", async () => {
  expect(await sentence(() => zeros([-1, 2]))).toMatchInlineSnapshot(`
    "ShapeError: full: the result would be [-1, 2]
      fix: give sizes that are whole numbers from 0 on"
  `);
  expect(await sentence(() => tensor([[1]]).expand([1.5, 1]))).toMatchInlineSnapshot(`
    "ShapeError: expand: the result would be [1.5, 1]
      fix: give sizes that are whole numbers from 0 on"
  `);
});

test("fractions of whole numbers, and dtypes that an op does not take", async () => {
  const counts = tensor([1, 2, 4], "int32");
  expect(await sentence(() => counts.mul(0.5))).toMatchInlineSnapshot(`
    "DTypeError: mul: 0.5 is no int32
      fix: give a number of the tensor's dtype, or .cast("float32") first"
  `);
  expect(await sentence(() => counts.clip(0, 2.5))).toMatchInlineSnapshot(`
    "DTypeError: clip: 2.5 is no int32
      fix: give a number of the tensor's dtype, or .cast("float32") first"
  `);
  expect(await sentence(() => counts.mean())).toMatchInlineSnapshot(`
    "DTypeError: mean: takes float32 or float64, and got int32[3]
      fix: cast it: .cast("float32")"
  `);
  expect(await sentence(() => tensor([true, false]).argmax())).toMatchInlineSnapshot(`
    "DTypeError: argmax: takes float32 or float64 or int32, and got bool[2]
      fix: cast it: .cast("float32")"
  `);
});

test("sizes that no layer can have, and a tensor that no machine can hold", async () => {
  expect(await sentence(() => linear(-1, 3))).toMatchInlineSnapshot(`
    "ConfigError: linear: the sizes are -1, 3
      fix: give whole numbers from 1 on"
  `);
  expect(await sentence(() => linear(2, 2.5))).toMatchInlineSnapshot(`
    "ConfigError: linear: the sizes are 2, 2.5
      fix: give whole numbers from 1 on"
  `);
  expect(await sentence(() => zeros([1_000_000, 1_000_000]).data())).toMatchInlineSnapshot(`
    "EngineError: memory: float32[1000000, 1000000] takes 4.00e+3 GB, which cannot be had
      fix: use a smaller batch or model, or work on parts"
  `);
});
