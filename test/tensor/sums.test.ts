/**
 * Sums keep their digits: every door that adds, by length and by layout, against sums in float64. `npm run digits` goes on to 10⁷
 * elements and prints how far off each door is.
 */
import { afterAll, describe, expect, test } from "vitest";
import type { Engine } from "../../src/engine/engine.ts";
import { nodeEngine } from "../../src/engine/node/index.ts";
import type { AnyOp, Data } from "../../src/graph/op.ts";
import {
  crossEntropy,
  einsum,
  fromValues,
  functional,
  gradients,
  meanAbsoluteError,
  meanSquaredError,
  ones,
  plainEngine,
  type Shape,
  scan,
  softCrossEntropy,
  type Tensor,
  useEngine,
  zeros,
} from "../../src/index.ts";
import { gemm, product } from "../../src/ops/matmul.ts";
import { sum } from "../../src/ops/reduce.ts";
import { expectSameOnEngines } from "../support/conformance.ts";

const isLong = process.env.LONG_SUMS === "1";

/** The promise, for elements of one sign. */
const bound = 2e-6;

/** What is added up: float32 values above 0. */
type Line = Float32Array<ArrayBuffer>;

const lines: Record<string, (n: number) => Line> = {
  "0.1": (n) => new Float32Array(n).fill(0.1),
  "0.7": (n) => new Float32Array(n).fill(0.7),
  "1": (n) => new Float32Array(n).fill(1),
  random: (n) => {
    let state = 1;
    return Float32Array.from({ length: n }, () => {
      state = (state * 48271) % 0x7fffffff;
      return state / 0x7fffffff + 1e-3;
    });
  },
  falling: (n) => Float32Array.from({ length: n }, (_, i) => 1 / (i + 1)),
};

/** The line as the axis in the middle of [before, n, after]. */
function laid(line: Line, before: number, after: number, shape: Shape): Tensor {
  const values = new Float32Array(before * line.length * after);
  for (let i = 0; i < values.length; i++) values[i] = line[Math.floor(i / after) % line.length]!;
  return fromValues(values, shape) as Tensor;
}

const vector = (line: Line): Tensor => fromValues(line.slice(), [line.length]) as Tensor;
const total = (line: Line, f: (x: number) => number = (x) => x): number => line.reduce((sum, x) => sum + f(x), 0);
const meanOf = (line: Line, f: (x: number) => number = (x) => x): number => total(line, f) / line.length;
const deviation = (line: Line): number => {
  const mean = meanOf(line);
  return meanOf(line, (x) => (x - mean) ** 2);
};
/** The line with every second element negative: its deviations are as large as itself. */
const signed = (line: Line): Line => line.map((x, i) => (i % 2 ? -x : x)) as Line;
const slopeOf = (loss: Tensor, x: Tensor): Tensor => gradients(loss, [x])[0] as Tensor;

interface Door {
  readonly compute: (line: Line) => Tensor;
  /** What each element is, or the first of those that are not 0. */
  readonly expected: (line: Line) => number | ArrayLike<number>;
  /** Elements for each of the line, where memory sets a limit. */
  readonly width?: number;
}

const layouts: readonly (readonly [
  name: string,
  before: number,
  after: number,
  shape: (n: number) => Shape,
  axes: number[],
  times: number,
])[] = [
  ["[n] over 0", 1, 1, (n) => [n], [0], 1],
  ["[n, 1] over 0", 1, 1, (n) => [n, 1], [0], 1],
  ["[n, 2] over 0", 1, 2, (n) => [n, 2], [0], 1],
  ["[n, 40] over 0", 1, 40, (n) => [n, 40], [0], 1],
  ["[3, n] over 1", 3, 1, (n) => [3, n], [1], 1],
  ["[3, n, 2] over 1", 3, 2, (n) => [3, n, 2], [1], 1],
  ["[n, 2, 5] over 0, 2", 1, 10, (n) => [n, 2, 5], [0, 2], 5],
  ["[5, 2, n] over 0, 2", 10, 1, (n) => [5, 2, n], [0, 2], 5],
  ["[2, 3, n] over 0, 1, 2", 6, 1, (n) => [2, 3, n], [0, 1, 2], 6],
  ["[4, n, 2, 3] over 0, 1, 3", 4, 6, (n) => [4, n, 2, 3], [0, 1, 3], 12],
];

const doors: Record<string, Door> = {
  ...Object.fromEntries(
    layouts.map(([name, before, after, shape, axes, times]): [string, Door] => [
      `sum of ${name}`,
      {
        width: before * after,
        compute: (line) => laid(line, before, after, shape(line.length)).sum(axes),
        expected: (line) => times * total(line),
      },
    ]),
  ),
  mean: { compute: (line) => vector(line).mean() as Tensor, expected: (line) => meanOf(line) },
  "mean of a square, its first axis": {
    width: 2,
    compute: (line) => laid(line, 1, 2, [line.length, 2]).square().mean(0) as Tensor,
    expected: (line) => meanOf(line, (x) => x * x),
  },
  variance: {
    compute: (line) => vector(signed(line)).variance() as Tensor,
    expected: (line) => deviation(signed(line)),
  },
  "standard deviation of [n, 3]": {
    width: 3,
    compute: (line) => laid(signed(line), 1, 3, [line.length, 3]).std(0) as Tensor,
    expected: (line) => Math.sqrt(deviation(signed(line))),
  },
  "norm, order 1": {
    compute: (line) => vector(line).norm(undefined, { order: 1 }) as Tensor,
    expected: (line) => total(line),
  },
  "norm, order 2": {
    compute: (line) => vector(line).norm() as Tensor,
    expected: (line) => Math.sqrt(total(line, (x) => x * x)),
  },
  "sum of squares": {
    compute: (line) => vector(line).square().sum() as Tensor,
    expected: (line) => total(line, (x) => x * x),
  },
  logSumExp: {
    compute: (line) => vector(line).logSumExp() as Tensor,
    expected: (line) => Math.log(total(line, Math.exp)),
  },
  softmax: {
    compute: (line) => vector(line).softmax().sum() as Tensor,
    expected: () => 1,
  },
  "softmax, an element": {
    compute: (line) => vector(line).softmax().slice([0, 1]) as Tensor,
    expected: (line) => Math.exp(line[0]!) / total(line, Math.exp),
  },
  "softmax of the first axis": {
    width: 2,
    compute: (line) => laid(line, 1, 2, [line.length, 2]).softmax(0).slice([0, 1]) as Tensor,
    expected: (line) => Math.exp(line[0]!) / total(line, Math.exp),
  },
  logSoftmax: {
    compute: (line) => vector(line).logSoftmax().slice([0, 1]) as Tensor,
    expected: (line) => line[0]! - Math.log(total(line, Math.exp)),
  },
  cumsum: {
    compute: (line) => vector(line).cumsum() as Tensor,
    expected: (line) => {
      let sum = 0;
      return Float64Array.from(line, (x) => (sum += x));
    },
  },
  "cumsum of [n, 2], reverse": {
    width: 2,
    compute: (line) => laid(line, 1, 2, [line.length, 2]).cumsum(0, { reverse: true }).slice([0, 1]) as Tensor,
    expected: (line) => total(line),
  },
  dot: { compute: (line) => vector(line).dot(vector(line)) as Tensor, expected: (line) => total(line, (x) => x * x) },
  "[1, n] of ones @ [n, 3]": {
    width: 3,
    compute: (line) => ones([1, line.length]).matmul(laid(line, 1, 3, [line.length, 3])) as Tensor,
    expected: (line) => total(line),
  },
  "[2, n] @ [n, 1] of ones": {
    width: 2,
    compute: (line) => laid(line, 2, 1, [2, line.length]).matmul(ones([line.length, 1]) as Tensor),
    expected: (line) => total(line),
  },
  "[2, n] @ [n, 3] of ones": {
    width: 5,
    compute: (line) => laid(line, 2, 1, [2, line.length]).matmul(ones([line.length, 3]) as Tensor),
    expected: (line) => total(line),
  },
  "[n, 2]ᵀ @ [n, 3] of ones, plus a bias": {
    width: 5,
    compute: (line) =>
      laid(line, 1, 2, [line.length, 2])
        .mT()
        .matmul(ones([line.length, 3]) as Tensor)
        .add(ones([3])),
    expected: (line) => total(line) + 1,
  },
  einsum: {
    width: 2,
    compute: (line) => einsum("nk,n->k", laid(line, 1, 2, [line.length, 2]), ones([line.length])) as Tensor,
    expected: (line) => total(line),
  },
  "gradient of what is broadcast": {
    width: 6,
    compute: (line) => {
      const b = zeros([3]) as Tensor;
      return slopeOf(laid(line, 2, 3, [2, line.length, 3]).mul(b).sum() as Tensor, b);
    },
    expected: (line) => 2 * total(line),
  },
  "gradients of a linear layer": {
    width: 5,
    compute: (line) => {
      const [w, b] = [zeros([2, 3]) as Tensor, zeros([3]) as Tensor];
      const y = (ones([line.length, 2]) as Tensor).matmul(w).add(b);
      const [dw, db] = gradients(y.mul(laid(line, 1, 3, [line.length, 3])).sum(), [w, b]);
      return (dw as Tensor).add(db as Tensor);
    },
    expected: (line) => 2 * total(line),
  },
  "gradient of an embedding": {
    width: 2,
    compute: (line) => {
      const table = zeros([5, 2]) as Tensor;
      const picked = table.take(fromValues(new Int32Array(line.length).fill(3), [line.length]));
      return slopeOf(picked.mul(laid(line, 1, 2, [line.length, 2])).sum() as Tensor, table).slice([3, 4]) as Tensor;
    },
    expected: (line) => total(line),
  },
  "gradient of a large embedding": {
    compute: (line) => {
      const table = zeros([4 * line.length, 1]) as Tensor;
      const picked = table.take(fromValues(new Int32Array(line.length).fill(3), [line.length]));
      return slopeOf(picked.mul(laid(line, 1, 1, [line.length, 1])).sum() as Tensor, table).slice([3, 4]) as Tensor;
    },
    expected: (line) => total(line),
  },
  "gradient added up by a loop": {
    width: 100,
    compute: (line) => {
      const scale = fromValues(new Float32Array([1]), [1]) as Tensor;
      const { outputs } = scan((state: Tensor, x: Tensor) => [state, x.mul(scale)], {
        init: zeros([1]) as Tensor,
        xs: laid(line, 1, 1, [line.length, 1]),
      });
      return slopeOf((outputs as Tensor).sum() as Tensor, scale);
    },
    expected: (line) => total(line),
  },
  "scatter, add": {
    compute: (line) =>
      (zeros([2]) as Tensor)
        .scatter(fromValues(new Int32Array(line.length), [line.length]), vector(line), 0, { reduction: "add" })
        .slice([0, 1]) as Tensor,
    expected: (line) => total(line),
  },
  meanSquaredError: {
    compute: (line) => meanSquaredError(vector(line), zeros([line.length])) as Tensor,
    expected: (line) => meanOf(line, (x) => x * x),
  },
  meanAbsoluteError: {
    compute: (line) => meanAbsoluteError(vector(line), zeros([line.length])) as Tensor,
    expected: (line) => meanOf(line),
  },
  crossEntropy: {
    width: 2,
    compute: (line) => {
      const logits = laid(line, 1, 2, [line.length, 2]);
      return crossEntropy(
        logits as Tensor<[number, number]>,
        fromValues(new Int32Array(line.length), [line.length]),
      ) as Tensor;
    },
    expected: () => Math.LN2,
  },
  softCrossEntropy: {
    compute: (line) => {
      const flat = fromValues(new Float32Array(line.length).fill(1 / line.length), [1, line.length]) as Tensor;
      return softCrossEntropy(zeros([1, line.length]) as Tensor, flat) as Tensor;
    },
    expected: (line) => Math.log(line.length) * line.length * Math.fround(1 / line.length),
  },
  avgPool: {
    compute: (line) => functional.avgPool(laid(line, 1, 1, [1, 1, line.length]), { kernel: line.length }) as Tensor,
    expected: (line) => meanOf(line),
  },
  globalAvgPool: {
    compute: (line) => functional.globalAvgPool(laid(line, 1, 1, [1, 1, line.length])) as Tensor,
    expected: (line) => meanOf(line),
  },
  "batch norm's mean": {
    width: 2,
    compute: (line) => functional.batchNormInTraining(laid(line, 1, 2, [line.length, 2])).mean as Tensor,
    expected: (line) => meanOf(line),
  },
  "batch norm's variance over images": {
    width: 2,
    compute: (line) =>
      functional.batchNormInTraining(laid(signed(line), 2, 1, [1, 2, 1, line.length])).variance as Tensor,
    expected: (line) => deviation(signed(line)),
  },
  layerNorm: {
    compute: (line) =>
      functional.layerNorm(vector(signed(line)), ones([line.length]), zeros([line.length]), 0).slice([0, 1]) as Tensor,
    expected: (line) => (line[0]! - meanOf(signed(line))) / Math.sqrt(deviation(signed(line))),
  },
  groupNorm: {
    compute: (line) =>
      functional
        .groupNorm(laid(signed(line), 1, 1, [1, 1, line.length]), 1, undefined, undefined, 0)
        .slice(null, null, [0, 1]) as Tensor,
    expected: (line) => (line[0]! - meanOf(signed(line))) / Math.sqrt(deviation(signed(line))),
  },
  rmsNorm: {
    compute: (line) => functional.rmsNorm(vector(line), ones([line.length]), 0).slice([0, 1]) as Tensor,
    expected: (line) => line[0]! / Math.sqrt(meanOf(line, (x) => x * x)),
  },
};

/** The largest relative error of a door. */
async function errorOf({ compute, expected }: Door, line: Line): Promise<number> {
  const values = await compute(line).data();
  const wanted = expected(line);
  let worst = 0;
  for (let i = 0; i < values.length; i++) {
    const want = typeof wanted === "number" ? wanted : wanted[i]!;
    const error = Math.abs(values[i]! - want) / Math.abs(want);
    if (!(error <= worst)) worst = error;
  }
  return worst;
}

const native = nodeEngine({ threads: 1 });
const engines: readonly Engine[] = [
  native,
  nodeEngine({ threads: 2 }),
  // Also without ONNX Runtime's own ops, as every other runtime will see the graph.
  { ...native, name: "portable", target: { contrib: false } },
];

/** By door: how far off it was at most. */
const ledger = new Map<string, number>();
afterAll(() => {
  if (isLong) for (const [name, error] of ledger) console.log(`${name.padEnd(44)} ${error.toExponential(1)}`);
});

async function expectDigits(
  name: string,
  door: Door,
  engine: Engine,
  n: number,
  kinds = Object.keys(lines),
): Promise<void> {
  useEngine(engine);
  for (const kind of kinds) {
    const error = await errorOf(door, lines[kind]!(n));
    ledger.set(name, Math.max(ledger.get(name) ?? 0, error));
    expect(error, `${name}, ${n} elements of ${kind}, ${engine.name}: off by ${error.toExponential(1)}`).toBeLessThan(
      bound,
    );
  }
}

describe.each(Object.entries(doors))("%s", (name, door) => {
  test("short, long and prime lengths", { timeout: 60_000 }, async () => {
    // A thousand elements may be one node; the others are more.
    for (const n of [1000, 1009, 20_000]) await expectDigits(name, door, engines[0]!, n);
    for (const engine of engines) await expectDigits(name, door, engine, 10_007, ["0.1", "random"]);
    await expectDigits(name, door, plainEngine(), 1009, ["0.1"]);
  });

  test.runIf(isLong)("up to 10⁷ elements", { timeout: 600_000 }, async () => {
    for (const n of [10 ** 5, 10 ** 6, 10 ** 6 + 3, 10 ** 7])
      if (n * (door.width ?? 1) <= 2e7) await expectDigits(name, door, engines[0]!, n);
  });
});

test("as many as there are: ten million and twenty", { timeout: 60_000 }, async () => {
  useEngine(engines[0]!);
  expect(await ones([20e6, 1]).sum(0).item()).toBe(20e6);
  const [tenth] = [Math.fround(0.1)];
  const x = fromValues(new Float32Array(10 ** 7).fill(0.1), [10 ** 7]);
  expect(Math.abs((await x.sum().item()) / (tenth * 10 ** 7) - 1)).toBeLessThan(bound);
  expect(
    Math.abs(
      (await x
        .reshape([10 ** 7, 1])
        .mean(0)
        .item()) /
        tenth -
        1,
    ),
  ).toBeLessThan(bound);
});

test("variance of numbers that are large and close", async () => {
  for (const n of [10, 3000, 100_000])
    for (const away of [100, 1e4, 1e6]) {
      const line = Float32Array.from({ length: n }, (_, i) => away + (i % 3)) as Line;
      for (const engine of engines) {
        useEngine(engine);
        const variance = await vector(line).variance().item();
        expect(Math.abs(variance / deviation(line) - 1), `${n} near ${away}`).toBeLessThan(bound);
      }
    }
});

test("equal numbers have no variance, and no root of less than nothing", async () => {
  useEngine(engines[0]!);
  for (const value of [0.1, 7, 1e6 / 3])
    for (const n of [3, 1000, 20_000])
      expect(await vector(new Float32Array(n).fill(value)).std().item()).toBeLessThan(1e-6 * value);
});

/** Numbers of both signs in (−1, 1), all different. */
const numbers = (...shape: number[]): Data => {
  const values = Float64Array.from(lines.random!(shape.reduce((a, b) => a * b, 1)), (x) => Math.fround(2 * x - 1));
  return { shape, dtype: "float32", values };
};

test.each<[number[], number[]]>([
  [[700], [0]],
  [[701, 5], [0]],
  [[3, 701], [1]],
  [[3, 640, 4], [1]],
  [[2, 1031, 3], [1]],
  [
    [90, 2, 90],
    [0, 2],
  ],
  [
    [131, 3, 2, 257],
    [0, 3],
  ],
  [
    [40, 2, 40, 3, 40],
    [0, 2, 4],
  ],
  [[1, 300, 1, 4, 1], [1]],
  [
    [6, 257, 1, 257],
    [1, 2, 3],
  ],
])("each element of a sum of %j over %j is made of its own", async (shape, axes) => {
  for (const keepDims of [false, true])
    await expectSameOnEngines(sum as AnyOp, { inputs: [numbers(...shape)], params: { axes, keepDims } }, engines);
});

test.each<[number[], number[], boolean, boolean]>([
  [[1, 700], [700, 5], false, false],
  [[701, 1], [5, 701], true, true],
  [[4, 1031], [1031, 1], false, false],
  [[1031, 4], [1, 1031], true, true],
  [[3, 1031], [1031, 2], false, false],
  [[640, 3], [640, 2], true, false],
  [[3, 640], [2, 640], false, true],
  [[2, 1, 700], [700, 3], false, false],
  [[2, 3, 701], [2, 5, 701], false, true],
  [[2, 4, 700, 2], [4, 700, 3], true, false],
  [[40, 5000], [5000, 35], false, false],
  [[4099, 40], [35, 4099], true, true],
])("a long product of %j and %j in parts", async (a, b, transposeA, transposeB) => {
  const params = { transposeA, transposeB, alpha: 0.3 };
  const inputs = [numbers(...a), numbers(...b)];
  await expectSameOnEngines(product as AnyOp, { inputs, params }, engines);
  if (a.length > 2) return;
  const columns = b[transposeB ? 0 : 1]!;
  await expectSameOnEngines(
    gemm as AnyOp,
    { inputs: [...inputs, numbers(columns)], params: { ...params, beta: -2 } },
    engines,
  );
});

test("NaN and infinities pass through long sums, and only where they are", async () => {
  const n = 3001;
  const build = (bad: number): Tensor => {
    const values = new Float32Array(2 * n).fill(0.5);
    values[2 * 1234] = bad;
    return fromValues(values, [n, 2]) as Tensor;
  };
  const half = n / 2;
  for (const engine of engines)
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      useEngine(engine);
      const x = build(bad);
      expect(await x.sum(0).array()).toEqual([bad, half]);
      expect(await x.transpose().sum(1).array()).toEqual([bad, half]);
      expect(await x.sum().item()).toEqual(bad);
      expect(await x.square().sum().item()).toEqual(Math.abs(bad));
      const running = x.cumsum(0);
      expect(await running.slice([n - 1, n]).array()).toEqual([[bad, half]]);
      expect(await running.slice([1233, 1234]).array()).toEqual([[617, 617]]);
      expect(await (ones([1, n]) as Tensor).matmul(x).array()).toEqual([[bad, half]]);
    }
  useEngine(engines[0]!);
  expect(await build(Number.POSITIVE_INFINITY).sub(build(Number.POSITIVE_INFINITY)).sum(0).array()).toEqual([
    Number.NaN,
    0,
  ]);
});
