/** Gradients of micro-batches, added up, are those of the large batch. */
import { beforeEach, expect, test } from "vitest";
import { nodeEngine } from "../../src/engine/node/index.ts";
import {
  adam,
  compile,
  crossEntropy,
  decodeWeights,
  encodeWeights,
  fromValues,
  gradientAccumulator,
  linear,
  plainEngine,
  relu,
  type Shape,
  seed,
  sequential,
  sgd,
  type Tensor,
  tensor,
  useEngine,
} from "../../src/index.ts";
import { PhiloxStream } from "../../src/random/stream.ts";
import { Parameter } from "../../src/tensor/state.ts";

const native = nodeEngine({ threads: 1 });
beforeEach(() => useEngine(plainEngine()));

type Images = Tensor<[number, 6], "float32">;
type Labels = Tensor<[number], "int32">;

const stream = new PhiloxStream(5);
const images = fromValues(
  Float32Array.from({ length: 128 * 6 }, () => stream.normal()),
  [128, 6],
);
const labels = fromValues(
  Int32Array.from({ length: 128 }, () => stream.next() % 4),
  [128],
);

const batch = (from: number, to: number): [Images, Labels] => [
  images.slice([from, to]) as Images,
  labels.slice([from, to]) as Labels,
];

/** What a network has learnt after five updates by batches of 128, each seen in parts of these sizes. */
async function learnt(
  parts: readonly number[],
  options: { readonly clipNorm?: number; readonly weighted?: "number" | "tensor" } = {},
): Promise<{ readonly weights: number[]; readonly norms: number[] }> {
  seed(3);
  const model = sequential(linear(6, 16), relu, linear(16, 4));
  const sums = gradientAccumulator(adam(model, { learningRate: 0.05, weightDecay: 0.01 }));
  const micro = compile((x: Images, y: Labels) => {
    const loss = crossEntropy(model(x), y);
    const size = x.shape[0];
    if (options.weighted === "number") sums.add(loss, size);
    else if (options.weighted === "tensor") sums.add(loss, y.greaterEqual(0).cast("float32").sum() as Tensor);
    else sums.add(loss);
    return loss;
  });
  const { clipNorm } = options;
  const update = compile(() => sums.apply(clipNorm === undefined ? {} : { clipNorm }).norm);
  const norms: number[] = [];
  for (let step = 0; step < 5; step++) {
    let at = 0;
    for (const size of parts) {
      micro(...batch(at, at + size));
      at += size;
    }
    norms.push(await (update() as Tensor<[]>).item());
  }
  const weights = await Promise.all(model.parameters().map((parameter) => parameter.data()));
  return { weights: weights.flatMap((values) => [...values]), norms };
}

function expectSame(a: readonly number[], b: readonly number[]): void {
  expect(a.length).toBe(b.length);
  a.forEach((value, i) => expect(Math.abs(value - b[i]!), `weight ${i}`).toBeLessThan(1e-6));
}

test.each(["plain", "native"])("gradient accumulation 4 × 32 equals batch 128 to 1e-6, %s", async (engine) => {
  if (engine === "native") useEngine(native);
  const [parts, whole] = [await learnt([32, 32, 32, 32]), await learnt([128])];
  expectSame(parts.weights, whole.weights);
  // It is a comparison of something: the weights have moved, and half a batch leads elsewhere.
  const other = await learnt([64]);
  expect(Math.max(...whole.weights.map((value, i) => Math.abs(value - other.weights[i]!)))).toBeGreaterThan(1e-2);
});

test("with clipping at the end too: it is the averaged gradient that is clipped, and its norm that is reported", async () => {
  const [parts, whole] = [await learnt([32, 32, 32, 32], { clipNorm: 0.05 }), await learnt([128], { clipNorm: 0.05 })];
  expectSame(parts.weights, whole.weights);
  expectSame(parts.norms, whole.norms);
  expect(Math.min(...whole.norms)).toBeGreaterThan(0.05);
  expect(whole.weights).not.toEqual((await learnt([128])).weights);
});

test.each(["number", "tensor"] as const)(
  "batches of different sizes, weighted by them as a %s, are the mean over all examples",
  async (weighted) => {
    const whole = await learnt([128]);
    expectSame((await learnt([50, 40, 30, 8], { weighted })).weights, whole.weights);
    const unweighted = await learnt([50, 40, 30, 8]);
    expect(Math.max(...whole.weights.map((value, i) => Math.abs(value - unweighted.weights[i]!)))).toBeGreaterThan(
      1e-4,
    );
  },
);

test("in float64 the average is as exact as the gradients, whatever the number of parts", async () => {
  const x = new Parameter({ shape: [], dtype: "float64" }, Float64Array.of(1));
  const sums = gradientAccumulator(sgd([x], { learningRate: 1 }));
  const micro = compile(() => void sums.add(x.mul(0.3)));
  const update = compile(() => void sums.apply());
  for (let i = 0; i < 3; i++) micro();
  update();
  await update.finished();
  expect(await x.item()).toBeCloseTo(0.7, 15);
});

test("a round that was interrupted goes on from its variables", async () => {
  const build = () => {
    seed(4);
    const model = linear(6, 4);
    const optimizer = adam(model, { learningRate: 0.1 });
    const sums = gradientAccumulator(optimizer);
    const micro = compile((x: Images, y: Labels) => sums.add(crossEntropy(model(x), y)));
    const update = compile(() => void sums.apply());
    return { model, optimizer, sums, micro, update };
  };
  const first = build();
  first.micro(...batch(0, 64));
  await first.micro.finished();
  expect([...first.sums.namedStates().keys()]).toEqual(["weightSum", "weight.gradientSum", "bias.gradientSum"]);
  const saved = await encodeWeights(first.sums);
  const second = build();
  decodeWeights(second.sums, saved);
  for (const { micro, update } of [first, second]) {
    micro(...batch(64, 128));
    update();
    await update.finished();
  }
  expect(await second.model.weight.data()).toEqual(await first.model.weight.data());
});

test("an update before anything was added is refused and changes nothing", async () => {
  const x = new Parameter({ shape: [1], dtype: "float32" }, Float32Array.of(1));
  const optimizer = adam([x]);
  const sums = gradientAccumulator(optimizer);
  const update = compile(() => sums.apply().norm);
  await expect((update() as Tensor<[]>).item()).rejects.toThrow(
    "Accumulator.apply: no gradients were added since the last update",
  );
  expect(await x.array()).toEqual([1]);
  expect(await (optimizer.namedStates().get("step") as Tensor<[]>).item()).toBe(0);
});

test("gradients that are not finite are not added: the round goes on with those that were", async () => {
  const x = new Parameter({ shape: [1], dtype: "float32" }, Float32Array.of(0), { name: "x" });
  const sums = gradientAccumulator(sgd([x], { learningRate: 1 }));
  const infinite = compile(() => void sums.add(x.abs().add(0).sqrt().sum()));
  const finite = compile(() => void sums.add(x.mul(2).sum()));
  const update = compile(() => void sums.apply());
  finite();
  infinite();
  await expect(infinite.finished()).rejects.toThrow("Accumulator.add: the gradient of x is NaN at [0]");
  update();
  await update.finished();
  expect(await x.array()).toEqual([-2]);
});

test.each(["plain", "native"])("a batch of weight 0 adds nothing, though its loss is NaN, %s", async (engine) => {
  if (engine === "native") useEngine(native);
  const x = new Parameter({ shape: [2], dtype: "float32" }, Float32Array.of(1, 2));
  const sums = gradientAccumulator(sgd([x], { learningRate: 1 }));
  const add = compile((mask: Tensor) => {
    const count = mask.sum() as Tensor;
    sums.add(x.square().mul(mask).sum().div(count), count);
  });
  const update = compile(() => void sums.apply());
  for (const mask of [
    [0, 0],
    [1, 0],
    [0, 0],
    [1, 1],
  ])
    add(tensor(mask) as Tensor);
  update();
  await update.finished();
  expect(await x.array()).toEqual([1 - 4 / 3, 2 - 4 / 3].map((value) => expect.closeTo(value, 6)));
  add(tensor([0, 0]) as Tensor);
  update();
  await expect(update.finished()).rejects.toThrow("or all with the weight 0");
});

test("a weight that is not finite is refused before anything is added", async () => {
  const x = new Parameter({ shape: [1], dtype: "float32" }, Float32Array.of(1));
  const sums = gradientAccumulator(sgd([x], { learningRate: 1 }));
  const add = compile((total: Tensor<[]>) => void sums.add(x.sum(), total.reciprocal()));
  add(tensor(0));
  await expect(add.finished()).rejects.toThrow("Accumulator.add: the weight is Infinity, so nothing was added");
  expect(await sums.states()[0]!.data()).toEqual(Float64Array.of(0));
});

test("frozen parameters stay; those that were frozen at first need a new accumulator; weights must be positive", async () => {
  seed(1);
  const model = linear(6, 4);
  const optimizer = sgd(model, { learningRate: 0.1 });
  const sums = gradientAccumulator(optimizer);
  const micro = compile((x: Images, y: Labels) => sums.add(crossEntropy(model(x), y)));
  const update = compile(() => void sums.apply());
  const run = async (): Promise<void> => {
    micro(...batch(0, 32));
    update();
    await update.finished();
  };
  await run();
  model.weight.trainable = false;
  const [weight, bias] = [await model.weight.data(), await model.bias.data()];
  await run();
  expect(await model.weight.data()).toEqual(weight);
  expect(await model.bias.data()).not.toEqual(bias);
  const late = gradientAccumulator(optimizer);
  model.unfreeze();
  expect(() => late.apply()).toThrow("weight was frozen when the accumulator was made");
  const loss = tensor(1) as Tensor<Shape, "float32">;
  expect(() => sums.add(loss, 0)).toThrow("the weight is 0");
  expect(() => sums.add(loss, tensor([1, 2]) as Tensor)).toThrow("the weight is [2]");
});
