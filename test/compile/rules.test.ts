/** The rules change how much is computed, never what. */
import { beforeEach, describe, expect, test } from "vitest";
import {
  adam,
  compile,
  crossEntropy,
  embedding,
  functional,
  gradients,
  layerNorm,
  linear,
  module,
  plainEngine,
  relu,
  seed,
  sequential,
  type Tensor,
  tensor,
  useEngine,
  where,
  zeros,
} from "../../src/index.ts";
import { unpick } from "../../src/ops/indexing.ts";
import { adopt } from "../../src/tensor/create.ts";
import { bothWays, normal } from "../support/both-ways.ts";

beforeEach(() => {
  useEngine(plainEngine());
  seed(5);
});

describe("products take their neighbours in", () => {
  test("transposes on either side", async () => {
    expect(await bothWays((a, b) => a.mT().matmul(b.mT()), normal(3, 2), normal(4, 3))).toEqual({ product: 1 });
  });
  test("but no scale: 1 / n in a product's attribute would make another model of each batch size", async () => {
    const behind = await bothWays((a, b) => a.matmul(b).mul(2), normal(2, 3), normal(3, 2));
    expect(behind).toEqual({ product: 1, full: 1, mul: 1 });
    const before = await bothWays((a, b) => a.mul(0.5).matmul(b), normal(2, 3), normal(3, 2));
    expect(before).toEqual({ product: 1, full: 1, mul: 1 });
  });
  test("a bias, and a residual through the reshape of a flattened product", async () => {
    const w = normal(4, 4);
    const flat = (x: Tensor): Tensor => x.reshape([6, 4]).matmul(w).reshape([2, 3, 4]);
    expect(await bothWays((x, b) => x.matmul(w).add(b), normal(3, 4), normal(4))).toEqual({ gemm: 1 });
    expect(await bothWays((x) => x.add(flat(x)), normal(2, 3, 4))).toEqual({ reshape: 2, gemm: 1 });
  });
  test("what is added to a very large product stays outside, and a scale goes to both", async () => {
    const [x, w, b] = [normal(1024, 1), normal(1, 1024), normal(1024)];
    const large = (x: Tensor, w: Tensor, b: Tensor): Tensor => x.matmul(w).add(b).reshape([4, 256, 1024]).mul(0.5);
    expect(await bothWays(large, x, w, b)).toEqual({ product: 1, full: 1, mul: 1, add: 1, reshape: 1 });
  });
  test("but not when somebody else needs the product itself", async () => {
    const ops = await bothWays(
      (a, b, c) => {
        const y = a.matmul(b);
        return [y, y.add(c), y.mul(2)];
      },
      normal(2, 3),
      normal(3, 2),
      normal(2),
    );
    expect(ops).toEqual({ product: 1, add: 1, mul: 1, full: 1 });
  });
  test("the transpose of a product", async () => {
    expect(await bothWays((a, b) => a.matmul(b).mT(), normal(2, 3), normal(3, 4))).toEqual({ product: 1 });
    const batched = await bothWays((a, b) => a.matmul(b).mT(), normal(2, 3, 4), normal(2, 4, 2));
    expect(batched).toEqual({ product: 1 });
    await bothWays((a, b) => a.matmul(b).transpose(0, 2, 1, 3), normal(2, 2, 3, 4), normal(2, 2, 4, 2));
  });
});

describe("passes over memory are saved", () => {
  test("what is equal is computed once", async () => {
    expect(await bothWays((x) => x.exp().add(x.exp()), normal(3))).toEqual({ exp: 1, add: 1 });
  });
  test("a scale goes to the smaller factor, and a square has one slope", async () => {
    // v·1.5 is there already.
    const scaled = await bothWays((x, v) => [x.mul(v).mul(1.5), v.mul(1.5)], normal(8, 3), normal(3));
    expect(scaled).toEqual({ full: 1, mul: 2 });
    // The gradient of a mean square by column: one pass over x.
    const square = (x: Tensor): Tensor => gradients(x.square().mean(0).exp().sum(), [x])[0]!;
    expect((await bothWays(square, normal(8, 3))).add).toBeUndefined();
  });
  test("moves that cancel, neutral elements, signs", async () => {
    expect(
      await bothWays((x) => x.mT().mT().reshape([6]).reshape([2, 3]).mul(1).add(-0).neg().neg(), normal(2, 3)),
    ).toEqual({});
    expect(await bothWays((x, y) => x.add(y.neg()), normal(3), normal(3))).toEqual({ sub: 1 });
    expect(await bothWays((x, y) => x.sub(y).neg(), normal(3), normal(3))).toEqual({ sub: 1 });
  });
  test("a choice between a tensor and itself: a row without a gradient is read as all others are", async () => {
    const ids = tensor([2, 0, 1], "int32");
    const rows = (x: Tensor): Tensor => functional.embedding(x as never, ids, { paddingIdx: 1 });
    expect(await bothWays(rows, normal(3, 2))).toEqual({ take: 1 });
    const slope = (x: Tensor): Tensor => gradients(rows(x).square().sum(), [x])[0]!;
    expect(await bothWays(slope, normal(3, 2))).toMatchObject({ take: 1, where: 1, scatterAdd: 1 });
    const [is, x, y] = [tensor([true, false, true]), normal(3), normal(3)];
    expect(await bothWays((x, y) => where(is, x, y) as Tensor, x, y)).toEqual({ where: 1 });
  });
  test("constants are folded, and widened late", async () => {
    expect(await bothWays((x) => x.mul(x.scalar(2).add(1).expand([2, 3])), normal(2, 3))).toEqual({
      full: 1,
      mul: 1,
    });
  });
  test("squares are added up as they are made, unless somebody needs them", async () => {
    expect(await bothWays((x) => x.mul(x).sum(), normal(2, 3))).toEqual({ sumOfSquares: 1 });
    expect(await bothWays((x) => x.mul(x).sum(1), normal(2, 3))).toEqual({ mul: 1, sum: 1 });
    expect(await bothWays((x, y) => x.mul(y).sum(), normal(3), normal(3))).toEqual({ mul: 1, sum: 1 });
    const both = (x: Tensor): Tensor[] => [x.mul(x), x.mul(x).sum()];
    expect(await bothWays(both, normal(2, 3))).toEqual({ mul: 1, sum: 1 });
  });
  test("what is the same along a sum's axes is a factor of the sum", async () => {
    const [x, v] = [normal(2, 4, 3), normal(1, 3)];
    const total = (y: Tensor): Tensor => y.sum(1, { keepDims: true });
    expect(await bothWays((x) => total(x.mul(v)), x)).toEqual({ sum: 1, mul: 1 });
    expect(await bothWays((x) => [total(x), x.mul(v), total(x.mul(v))], x)).toEqual({ sum: 1, mul: 2 });
  });
  test("but not when that is one pass more, or it is not the same there", async () => {
    const [x, v] = [normal(2, 4, 3), normal(2, 1, 3)];
    expect(await bothWays((x) => [x.mul(v), x.mul(v).sum(1)], x)).toEqual({ mul: 1, sum: 1 });
    expect(await bothWays((x) => x.mul(v).sum([1, 2]).tanh(), x)).toEqual({ mul: 1, sum: 1, tanh: 1 });
  });
  test("the gradient of batch normalisation goes over the batch five times, three of them for the statistics", async () => {
    const slopes = (x: Tensor, scale: Tensor, shift: Tensor): Tensor[] => {
      const { y } = functional.batchNormInTraining(x as never, scale as never, shift as never);
      return gradients((y as Tensor).mul(x.tanh().detach()).sum(), [x, scale, shift]);
    };
    // The deviations are taken twice, for their digits' sake.
    expect(await bothWays(slopes, normal(60, 300), normal(300), normal(300))).toMatchObject({ product: 5 });
    expect(await bothWays(slopes, normal(6, 3), normal(3), normal(3))).toMatchObject({ product: 5 });
  });
  test.each([
    ["plain", {}],
    ["with ignored labels", { ignore: 0 }],
    ["smoothed", { labelSmoothing: 0.1 }],
    ["smoothed, with ignored labels", { labelSmoothing: 0.1, ignore: 0 }],
    ["weighted", { weights: tensor([1, 2, 3]) }],
    ["smoothed and weighted", { labelSmoothing: 0.1, weights: tensor([1, 2, 3]), ignore: 2 }],
    ["of each example", { reduction: "none", labelSmoothing: 0.1 }],
  ] as const)("cross-entropy's gradient touches the labels' places alone: %s", async (_, options) => {
    const labels = tensor([2, 0], "int32");
    const ops = await bothWays(
      (x) => gradients(crossEntropy(x as Tensor<[number, number], "float32">, labels, options).sum(), [x])[0],
      normal(2, 3),
    );
    expect(ops.addAt).toBe(1);
    expect(ops.unpick).toBeUndefined();
  });
  test("but a single picked column that is widened stays one", async () => {
    const at = tensor([0, 0], "int32");
    const put = (x: Tensor): Tensor => x.apply(unpick, [at], { depth: 1 });
    for (const f of [(x: Tensor, z: Tensor) => z.add(put(x)), (x: Tensor, z: Tensor) => z.sub(put(x))]) {
      const ops = await bothWays(f, normal(2), normal(2, 3));
      expect(ops.addAt).toBeUndefined();
    }
  });
  test("what is added at places is added last", async () => {
    const at = tensor([1, 2], "int32");
    const put = (x: Tensor): Tensor => x.apply(unpick, [at], { depth: 3 });
    const sums: ((x: Tensor, z: Tensor, row: Tensor) => Tensor)[] = [
      (x, z, row) => put(x).add(row).add(z),
      (x, z, row) => z.add(put(x)).sub(row),
      (x, z, row) => row.sub(put(x).sub(z)),
      (x, z) => z.mul(2).sub(put(x)).add(z),
      (x, z) => put(x).add(z).sum(-1, { keepDims: true }),
      (x) => put(x).sum(-1),
    ];
    for (const f of sums) {
      const ops = await bothWays(f, normal(2), normal(2, 3), normal(2, 1));
      expect(ops.unpick).toBeUndefined();
    }
  });
  test("gelu shares erf with its gradient, and stays whole without one", async () => {
    expect(await bothWays((x) => x.gelu(), normal(5))).toEqual({ gelu: 1 });
    const ops = await bothWays((x) => [x.gelu(), gradients(x.gelu().sum(), [x])[0]], normal(5));
    expect([ops.gelu, ops.halfErf]).toEqual([undefined, 1]);
  });
  test("rows that are scattered as a whole are put as a whole, and others element by element", async () => {
    const places = tensor([[[1]], [[4]]], "int32");
    const put = (repeated: Tensor<[2, number, number], "int32">) => (x: Tensor, rows: Tensor) =>
      (x as Tensor<[2, 5, 8], "float32">).scatter(repeated, rows as never, 1) as Tensor;
    const whole = await bothWays(put(places.expand([2, 1, 8])), normal(2, 5, 8), normal(2, 1, 8));
    expect(whole.putRows).toBe(1);
    expect(whole.scatter).toBeUndefined();
    const short = await bothWays(put(places.expand([2, 1, 3])), normal(2, 5, 3), normal(2, 1, 3));
    expect([short.putRows, short.scatter]).toEqual([undefined, 1]);
    const part = await bothWays(put(places.expand([2, 1, 8])), normal(2, 5, 9), normal(2, 1, 8));
    expect([part.putRows, part.scatter]).toEqual([undefined, 1]);
  });
  test("attention's row sums go over the values", async () => {
    const attend = (q: Tensor, k: Tensor, v: Tensor): Tensor => q.matmul(k.mT()).mul(0.5).softmax().matmul(v);
    const loss = (q: Tensor, k: Tensor, v: Tensor): Tensor =>
      attend(q, k, v)
        .mul(attend(q, k, v))
        .sum();
    const ops = await bothWays(
      (q, k, v) => gradients(loss(q, k, v), [q, k, v]),
      normal(2, 5, 3),
      normal(2, 5, 3),
      normal(2, 5, 3),
    );
    expect(ops.softmax).toBe(1);
  });
});

test("a whole training step of a pre-norm transformer block, Adam and all", async () => {
  const [tokens, norm, query, key, value] = [embedding(7, 4), layerNorm(4), linear(4, 4), linear(4, 4), linear(4, 4)];
  const [up, down, head] = [linear(4, 8), linear(8, 4), linear(4, 7)];
  const model = module("Tiny", { tokens, norm, query, key, value, up, down, head }, (ids: Tensor<[2, 3], "int32">) => {
    const h = tokens(ids);
    const x = norm(h);
    const split = (y: Tensor): Tensor => y.reshape([2, 3, 2, 2]).transpose(0, 2, 1, 3);
    const weights = split(query(x))
      .matmul(split(key(x)).mT())
      .mul(Math.SQRT1_2)
      .softmax();
    const mixed = weights
      .matmul(split(value(x)))
      .transpose(0, 2, 1, 3)
      .reshape([2, 3, 4]);
    const h1 = h.add(mixed);
    return head(h1.add(down(up(norm(h1 as typeof h)).gelu())) as typeof h);
  });
  const ids = tensor(
    [
      [0, 3, 3],
      [6, 1, 2],
    ],
    "int32",
  );
  const labels = tensor(
    [
      [1, 2, 3],
      [4, 5, 6],
    ],
    "int32",
  );
  await bothWays(
    (x, y) => {
      const loss = crossEntropy(model(x as typeof ids), y as typeof labels);
      return [loss, ...gradients(loss, model.parameters())];
    },
    ids,
    labels,
  );
});

test("the native engine runs what the plain one runs: ten steps of a perceptron", async () => {
  const { nodeEngine } = await import("../../src/engine/node/index.ts");
  const train = async (): Promise<number[]> => {
    seed(2);
    const model = sequential(linear(6, 16), relu, linear(16, 3));
    const optimizer = adam(model, { learningRate: 0.05 });
    const x = adopt(
      { shape: [8, 6], dtype: "float32" },
      Float32Array.from({ length: 48 }, (_, i) => Math.sin(i)),
    ) as Tensor<[8, 6], "float32">;
    const step = compile(() => {
      const loss = crossEntropy(model(x), zeros([8], "int32").add(1));
      optimizer.minimize(loss);
      return loss;
    });
    const losses: number[] = [];
    for (let i = 0; i < 10; i++) losses.push(await step().item());
    return losses;
  };
  const plain = await train();
  useEngine(nodeEngine({ threads: 2 }));
  const native = await train();
  native.forEach((loss, i) => expect(loss).toBeCloseTo(plain[i]!, 4));
});
