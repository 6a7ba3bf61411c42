/** Long sums against the one ONNX node that each would be: how long they take, and how far off they are. `npm run sums` */
import { Command } from "commander";
import { compile, defineOp, fromValues, nodeEngine, type Op, type Shape, type Tensor, useEngine } from "glissade";
import { median, positiveInteger } from "./shared.ts";

const rounds = 41;

/** Σ over axes by ReduceSum alone. */
const reduceSum: Op<readonly number[]> = defineOp<readonly number[]>({
  name: "one ReduceSum",
  shape: ([x], axes) => x!.shape.filter((_, axis) => !axes.includes(axis)),
  onnx: (graph, [x], { params: axes }) => graph.node("ReduceSum", [x, graph.integers(axes)], { keepdims: 0 }),
  evaluate: () => {},
  samples: () => [],
});

/** Σ over the first axis of a matrix as one product with a row of ones. */
const gemm: Op<undefined> = defineOp<undefined>({
  name: "one Gemm",
  shape: ([x]) => [1, x!.shape[1]!],
  onnx(graph, [x], { inputTypes: [type] }) {
    const ones = graph.node("Expand", [graph.constant("float32", [], [1]), graph.integers([1, type!.shape[0]!])]);
    return graph.node("Gemm", [ones, x]);
  },
  evaluate: () => {},
  samples: () => [],
});

/** A node that takes a tensor and gives one of the same shape, or a scalar. */
const oneNode = (type: string, isScalar: boolean, ...constants: (readonly [number])[]): Op<undefined> =>
  defineOp<undefined>({
    name: `one ${type}`,
    shape: ([x]) => (isScalar ? [] : x!.shape),
    onnx: (graph, [x]) =>
      graph.node(
        type,
        [x, ...constants.map((values) => graph.constant("int32", [], values))],
        isScalar ? { keepdims: 0 } : {},
      ),
    evaluate: () => {},
    samples: () => [],
  });

const [squares, running, softmax] = [
  oneNode("ReduceSumSquare", true),
  oneNode("CumSum", false, [0]),
  oneNode("Softmax", false),
];

interface Case {
  readonly shape: Shape;
  readonly ours: (x: Tensor) => Tensor;
  readonly node: (x: Tensor) => Tensor;
  /** The last element of the result, for elements of 0.1. */
  readonly expected: number;
}

const tenth = Math.fround(0.1);

const sumOver = (shape: Shape, ...axes: number[]): Case => ({
  shape,
  ours: (x) => x.sum(axes),
  node: (x) => x.apply(reduceSum, [], axes),
  expected: tenth * axes.reduce((count, axis) => count * shape[axis]!, 1),
});

const columns = (rows: number, width: number): Case => ({
  ...sumOver([rows, width], 0),
  node: (x) => x.apply(gemm, [], undefined),
});

const many = 2 ** 20;

const cases: Readonly<Record<string, Case>> = {
  "sum of 1,000": sumOver([1000], 0),
  "sum of 1,048,576": sumOver([many], 0),
  "sum of 10,000,019, a prime": sumOver([10_000_019], 0),
  "[1,048,576, 1] over 0": sumOver([many, 1], 0),
  "[1,048,576, 3] over 0": sumOver([many, 3], 0),
  "[2,048, 1,024] over 0, by Gemm": columns(2048, 1024),
  "[65,536, 64] over 0, by Gemm": columns(65_536, 64),
  "[65,537, 64] over 0, by Gemm": columns(65_537, 64),
  "[64, 32, 784] over 0 and 2": sumOver([64, 32, 784], 0, 2),
  "[64, 784, 32] over 1": sumOver([64, 784, 32], 1),
  "sum of squares of 1,048,576": {
    shape: [many],
    ours: (x) => x.square().sum() as Tensor,
    node: (x) => x.apply(squares, [], undefined),
    expected: tenth ** 2 * many,
  },
  "running sums of 1,048,576": {
    shape: [many],
    ours: (x) => x.cumsum() as Tensor,
    node: (x) => x.apply(running, [], undefined),
    expected: tenth * many,
  },
  "softmax of [64, 8,192]": {
    shape: [64, 8192],
    ours: (x) => x.softmax() as Tensor,
    node: (x) => x.apply(softmax, [], undefined),
    expected: 1 / 8192,
  },
};

/** Runs each case both ways in turn and prints medians and errors. */
export async function main(): Promise<number> {
  const program = new Command("npm run sums --").option("--threads <n>", "threads inside an op", positiveInteger, 1);
  program.parse();
  useEngine(nodeEngine(program.opts<{ threads: number }>()));
  console.log("sum                               ours, ms   one node, ms   ratio   ours off by   one node off by");
  for (const [name, { shape, ours, node, expected }] of Object.entries(cases)) {
    const x = fromValues(new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(0.1), shape) as Tensor;
    const sides = [ours, node].map((f) => ({
      run: compile((given: Tensor) => f(given)),
      times: [] as number[],
      off: 0,
    }));
    for (const side of sides) {
      const values = await side.run(x).data();
      side.off = Math.abs(values.at(-1)! / expected - 1);
    }
    for (let round = 0; round < rounds; round++)
      for (const { run, times } of round % 2 ? sides : sides.toReversed()) {
        const started = performance.now();
        await run(x).data();
        times.push(performance.now() - started);
      }
    const [our, one] = sides.map(({ times }) => median(times)) as [number, number];
    const cells = [our.toFixed(3).padStart(8), one.toFixed(3).padStart(12), (our / one).toFixed(2).padStart(5)];
    const errors = sides.map(({ off }) => off.toExponential(1).padStart(11));
    console.log(`${name.padEnd(32)}  ${[...cells, ...errors].join("   ")}`);
  }
  return 0;
}
