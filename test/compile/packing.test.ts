/** Packing changes the order of memory and the ops, never the values; on an engine with blocks nothing is unpacked on the way. */
import { beforeEach, describe, expect, test } from "vitest";
import { nodeEngine } from "../../src/engine/node/index.ts";
import {
  adam,
  batchNorm,
  compile,
  conv1d,
  conv2d,
  crossEntropy,
  fromValues,
  functional,
  gradients,
  linear,
  module,
  plainEngine,
  seed,
  type Tensor,
  tensor,
  useEngine,
} from "../../src/index.ts";
import { bothWaysInBlocks, normal } from "../support/both-ways.ts";

beforeEach(() => {
  useEngine(plainEngine());
  seed(5);
});

type Images = Tensor<[number, number, number, number], "float32">;

/** Σ y², so that gradients depend on the values. */
const squared = (y: Tensor): Tensor => y.square().sum();

/** What was left for plain tensors, or made plain. */
const plain = (ops: Record<string, number>): string[] =>
  ["convolution", "convolutionInput", "convolutionKernel", "maxPool", "maxPoolInput", "unpack"].filter(
    (name) => ops[name],
  );

describe("convolutions", () => {
  const [x, w, b] = [normal(4, 2, 5, 6), normal(4, 2, 3, 2), normal(4)];

  test("with their gradients, from one pack of x and one of dy", async () => {
    const ops = await bothWaysInBlocks(
      2,
      (x, w, b) => gradients(squared(functional.conv(x as Images, w as Images, { bias: b, padding: 1 })), [x, w, b]),
      x,
      w,
      b,
    );
    expect(ops).toMatchObject({ packedConvolution: 1, packedConvolutionInput: 1, packedConvolutionKernel: 1, pack: 1 });
    expect(plain(ops)).toEqual(["unpack"]); //  dx itself
  });

  test.each([
    ["a stride", { stride: 2 }],
    ["strides wider than the kernel", { stride: [4, 3] }],
    ["dilation along the rows", { dilation: [2, 1], padding: [[2, 0], 1] }],
  ] as const)("with %s", async (_, options) => {
    const ops = await bothWaysInBlocks(
      2,
      (x, w) => gradients(squared(functional.conv(x as Images, w as Images, options as object)), [x, w]),
      x,
      w,
    );
    expect(plain(ops)).toEqual(["unpack"]);
  });

  test.each([
    ["dilation along the columns: the kernel's gradient", 2, [4, 2, 5, 6], [4, 2, 3, 2], { dilation: [1, 2] }],
    ["dilation with a stride", 2, [4, 2, 5, 6], [4, 2, 2, 2], { dilation: 2, stride: 2 }],
    ["groups", 2, [4, 4, 5, 5], [4, 2, 3, 3], { groups: 2 }],
    ["channels that are no blocks", 2, [4, 3, 5, 5], [4, 3, 3, 3], {}],
    ["outputs that are no blocks", 2, [4, 2, 5, 5], [3, 2, 3, 3], {}],
    ["three axes of space", 2, [4, 2, 3, 3, 3], [2, 2, 2, 2, 2], {}],
    ["one tap", 2, [4, 2, 5, 5], [2, 2, 1, 1], {}],
    ["few images", 2, [2, 2, 5, 5], [2, 2, 3, 3], {}],
    ["few images for a block: the kernel's gradient", 16, [4, 16, 3, 3], [16, 16, 2, 2], {}],
    ["no elements", 2, [0, 2, 5, 5], [2, 2, 3, 3], {}],
  ] as const)("but not with %s", async (what, block, shape, kernel, options) => {
    const ops = await bothWaysInBlocks(
      block,
      (x, w) => gradients(squared(functional.conv(x as Images, w as Images, options as object)), [x, w]),
      normal(...shape),
      normal(...kernel),
    );
    expect(ops.convolutionKernel).toBe(1);
    expect(ops.packedConvolutionKernel).toBeUndefined();
    if (!what.endsWith("the kernel's gradient")) expect(ops.packedConvolution).toBeUndefined();
  });

  test("a stem of few channels, and batches that are no whole tiles", async () => {
    const ops = await bothWaysInBlocks(
      4,
      (x, w) => gradients(squared(functional.conv(x as Images, w as Images)), [w]),
      normal(6, 3, 4, 4),
      normal(4, 3, 3, 3),
    );
    expect(plain(ops)).toEqual([]);
  });

  test("one axis of space", async () => {
    const ops = await bothWaysInBlocks(
      2,
      (x, w) => gradients(squared(functional.conv(x as never, w as never, { stride: 2, padding: 1 })), [x, w]),
      normal(4, 4, 7),
      normal(2, 4, 3),
    );
    expect(plain(ops)).toEqual(["unpack"]);
  });

  test("take in the relu behind them, unless somebody else needs their result", async () => {
    const fused = await bothWaysInBlocks(
      2,
      (x, w) => (functional.conv(x as Images, w as Images) as Tensor).relu(),
      x,
      w,
    );
    expect([fused.relu, fused.packedConvolution]).toEqual([undefined, 1]);
    const apart = await bothWaysInBlocks(
      2,
      (x, w) => {
        const y = functional.conv(x as Images, w as Images) as Tensor;
        return y.relu().mul(y.sigmoid());
      },
      x,
      w,
    );
    expect([apart.relu, apart.packedConvolution]).toEqual([1, 1]);
  });

  test("and sums of their results, for each channel or otherwise", async () => {
    const sums = (...axes: number[]): Promise<Record<string, number>> =>
      bothWaysInBlocks(2, (x, w) => (functional.conv(x as Images, w as Images) as Tensor).exp().sum(axes), x, w);
    expect(plain(await sums(0, 1, 2, 3))).toEqual([]);
    expect(plain(await sums(0, 2, 3))).toEqual([]);
    expect(plain(await sums(1, 2, 3))).toEqual(["unpack"]);
    expect(plain(await sums(2, 3))).toEqual(["unpack"]);
  });

  test("and an engine without blocks sees none of this", async () => {
    const { convolution, packedConvolution } = await bothWaysInBlocks(
      undefined,
      (x, w) => functional.conv(x as Images, w as Images),
      x,
      w,
    );
    expect([convolution, packedConvolution]).toEqual([1, undefined]);
  });
});

test("a whole network stays packed from its images to its last pool", async () => {
  const [first, second, head] = [conv2d(1, 4, 3, { padding: 1 }), conv2d(4, 4, 3, { padding: 1 }), linear(16, 3)];
  const model = module("Net", { first, second, head }, (x: Images) => {
    const h = functional.maxPool(first(x as never).relu(), { kernel: 2 });
    return head(functional.maxPool(second(h as never).relu(), { kernel: 2 }).reshape([4, 16]) as never) as Tensor<
      [number, 3]
    >;
  });
  const labels = tensor([0, 1, 2, 0], "int32");
  const ops = await bothWaysInBlocks(
    4,
    (x) => {
      const loss = crossEntropy(model(x as Images) as never, labels);
      return [loss, ...gradients(loss, model.parameters())];
    },
    normal(4, 1, 8, 8),
  );
  expect(plain(ops)).toEqual(["unpack"]);
  // The images, what comes back from the head; and what goes into it.
  expect([ops.pack, ops.unpack]).toEqual([2, 1]);
  expect([ops.packedConvolution, ops.packedConvolutionInput, ops.packedConvolutionKernel]).toEqual([2, 1, 2]);
  // The convolutions take relu in; its gradient is on the pools' results.
  expect([ops.relu, ops.gate]).toEqual([undefined, 2]);
});

test("batch normalisation, residuals, scalars and factors for each channel in between", async () => {
  const [conv, norm] = [conv2d(2, 2, 3, { padding: 1 }), batchNorm(2)];
  const scale = normal(2, 1, 1);
  const ops = await bothWaysInBlocks(
    2,
    (x) => {
      const y = norm(conv(x as never) as never) as Tensor;
      const z = conv(y.relu().add(x).mul(0.5).mul(scale) as never) as Tensor;
      return gradients(squared(z.leakyRelu(0.1)), [x, conv.weight as Tensor, norm.weight as Tensor]);
    },
    normal(4, 2, 3, 3),
  );
  expect(plain(ops)).toEqual(["unpack"]);
  expect([ops.pack, ops.unpack]).toEqual([1, 1]); //  x, and its gradient
});

describe("pools", () => {
  /** Of small integers, so that most windows have several maxima. */
  const tied = (...shape: number[]): Tensor => {
    const size = shape.reduce((a, b) => a * b);
    return fromValues(
      Float32Array.from({ length: size }, (_, i) => ((i * i * 7) % 31) % 3),
      shape,
    );
  };

  test.each([
    ["pairs", { kernel: 2 }],
    ["tiles of three by two", { kernel: [3, 2] }],
    ["single rows", { kernel: [1, 4] }],
  ] as const)("over %s give the gradient to the first maximum", async (_, options) => {
    const weights = normal(8, 4, 6, 12);
    const through = (x: Tensor): Tensor => {
      const y = functional.maxPool(x as Images, options as { kernel: number }) as Tensor;
      return y.mul(weights.slice(null, null, [0, y.shape[2]], [0, y.shape[3]])).sum();
    };
    const x = tied(8, 4, 6, 12);
    const lanes = await bothWaysInBlocks(undefined, (x) => gradients(through(x), [x]), x);
    expect(lanes.maxPoolInput).toBeUndefined();
    const ops = await bothWaysInBlocks(
      4,
      (x, w) => gradients(through(functional.conv(x as Images, w as Images)), [x]),
      x,
      fromValues(
        Float32Array.from({ length: 16 }, (_, i) => Number(i % 5 === 0)),
        [4, 4, 1, 1],
      ),
    );
    expect(ops.maxPoolInput).toBeUndefined();
  });

  test("that overlap or leave something out keep their op", async () => {
    for (const options of [{ kernel: 3, stride: 2 }, { kernel: 2, padding: 1 }, { kernel: 4 }]) {
      const ops = await bothWaysInBlocks(
        4,
        (x) => gradients(squared(functional.maxPool(x as Images, options) as Tensor), [x]),
        tied(8, 4, 6, 6),
      );
      expect(ops.maxPoolInput, JSON.stringify(options)).toBe(1);
    }
  });

  test("of means between packed convolutions", async () => {
    const w = normal(2, 2, 2, 2);
    await bothWaysInBlocks(
      2,
      (x) => {
        const y = functional.avgPool(functional.conv(x as Images, w as Images), { kernel: 2 });
        return gradients(squared(functional.conv(y as Images, w as Images) as Tensor), [x]);
      },
      normal(4, 2, 7, 7),
    );
  });
});

test("the native engine trains what the plain one trains: strides, ties, normalisation, an odd batch", async () => {
  const train = async (): Promise<number[]> => {
    seed(2);
    const [stem, norm, down, last] = [
      conv2d(3, 16, 3, { padding: 1 }),
      batchNorm(16),
      conv2d(16, 32, 3, { padding: 1, stride: 2 }),
      conv2d(32, 16, 3, { padding: 1 }),
    ];
    const [along, head] = [conv1d(16, 16, 3, { padding: 1 }), linear(32, 3)];
    const model = module("Net", { stem, norm, down, last, along, head }, (x: Images) => {
      const h = functional.maxPool((norm(stem(x as never) as never) as Images).relu(), { kernel: 2 });
      const g = functional.maxPool((last(down(h as never).relu() as never) as Images).relu(), { kernel: 2 }) as Tensor;
      const line = along(g.reshape([6, 16, 4]) as never) as Tensor<[number, number, number], "float32">;
      return head(functional.maxPool(line, { kernel: 2 }).reshape([6, 32]) as never);
    });
    const optimizer = adam(model, { learningRate: 0.01 });
    // Flat pictures with a few dots: most windows have equal maxima.
    const x = fromValues(
      Float32Array.from({ length: 6 * 3 * 256 }, (_, i) => Number(i % 37 === 0) + Number(i % 101 === 0)),
      [6, 3, 16, 16],
    ) as Images;
    const labels = tensor([0, 1, 2, 0, 1, 2], "int32");
    const step = compile(() => {
      const loss = crossEntropy(model(x) as never, labels);
      optimizer.minimize(loss);
      return loss;
    });
    const losses: number[] = [];
    for (let i = 0; i < 4; i++) losses.push(await step().item());
    return losses;
  };
  const expected = await train();
  for (const implementation of ["direct", "binding"] as const) {
    useEngine(nodeEngine({ threads: 2, implementation }));
    const native = await train();
    native.forEach((loss, i) => expect(loss).toBeCloseTo(expected[i]!, 3));
  }
}, 60_000);
