/** The functions of the public surface, as the sweep of edges calls them. */
import {
  arange,
  binaryCrossEntropy,
  binaryCrossEntropyOfProbabilities,
  broadcast,
  clipByGlobalNorm,
  clipByNorm,
  clipByValue,
  concat,
  cosineDistance,
  cosineSimilarity,
  crossEntropy,
  diagonalMatrix,
  einsum,
  eye,
  fromValues,
  functional,
  geglu,
  globalNorm,
  huber,
  klDivergence,
  linspace,
  meanAbsoluteError,
  meanSquaredError,
  negativeLogLikelihood,
  ones,
  outer,
  reglu,
  scan,
  smoothL1,
  softCrossEntropy,
  stack,
  swiglu,
  type Tensor,
  tensor,
  where,
} from "../../src/index.ts";
import { weights } from "./fixture.ts";

// biome-ignore lint/suspicious/noExplicitAny: one form for functions of every shape and dtype.
export type Any = any;

/** A vector of an x's dtype. */
const like = (x: Tensor, values: readonly number[]): Any =>
  fromValues(x.dtype === "float64" ? Float64Array.from(values) : Float32Array.from(values), [values.length]);
const weighted = (x: Tensor): Any => like(x, weights(x.size));
const positive = (x: Tensor): Any => like(x, positives(x.size));
const positives = (length: number): number[] => Array.from({ length }, (_, i) => (((5 * i) % 7) + 1) / 3);
const shares = (x: Tensor): Any => {
  const total = positives(x.size).reduce((sum, value) => sum + value, 0);
  return like(
    x,
    positives(x.size).map((value) => value / total),
  );
};
const method =
  (name: string, ...args: readonly unknown[]) =>
  (x: Any): Any =>
    x[name](...args);

/** Methods that need more than their tensor. */
const withArguments: Readonly<Record<string, (x: Any) => Any>> = {
  clip: method("clip", -0.5, 1),
  threshold: method("threshold", 0.5, 7),
};

/** A function of one element. */
export const unary = (name: string): ((x: Any) => Any) => withArguments[name] ?? method(name);

const each = { reduction: "none" } as const;

const losses: Readonly<Record<string, (a: Any, b: Any) => Any>> = {
  meanSquaredError: (a, b) => meanSquaredError(a, b, each),
  meanAbsoluteError: (a, b) => meanAbsoluteError(a, b, each),
  huber: (a, b) => huber(a, b, each),
  smoothL1: (a, b) => smoothL1(a, b, each),
  binaryCrossEntropy: (a, b) => binaryCrossEntropy(a, b, each),
  binaryCrossEntropyOfProbabilities: (a, b) => binaryCrossEntropyOfProbabilities(a, b, each),
  klDivergence: (a, b) => klDivergence(a, b, each),
  klDivergenceOfLogs: (a, b) => klDivergence(a, b, { ...each, logTargets: true }),
};

/** A function of two elements. */
export const pair = (name: string): ((a: Any, b: Any) => Any) => losses[name] ?? ((a, b) => a[name](b));
export const isLoss = (name: string): boolean => name in losses;

/** Functions of an array [length], under the names of the fixture. */
export const arrays: Readonly<Record<string, (x: Any) => Any>> = {
  ...Object.fromEntries(
    "sum mean prod max min variance std norm logSumExp softmax logSoftmax softmin cumsum cumprod cummax cummin logCumSumExp argsort argmax argmin any all countNonZero"
      .split(" ")
      .map((name) => [name, method(name)]),
  ),
  norm1: method("norm", undefined, { order: 1 }),
  norm3: method("norm", undefined, { order: 3 }),
  normInfinity: method("norm", undefined, { order: Number.POSITIVE_INFINITY }),
  sort: (x) => x.sort()[0],
  sortDescending: (x) => x.sort(-1, { descending: true })[0],
  topK: (x) => x.topK(Math.min(2, x.size))[0],
  maxPool: (x) =>
    functional.maxPool(x.reshape([1, 1, x.size]), { kernel: Math.min(2, x.size), stride: 1 } as Any).flatten(),
  avgPool: (x) =>
    functional.avgPool(x.reshape([1, 1, x.size]), { kernel: Math.min(2, x.size), stride: 1 } as Any).flatten(),
  layerNorm: (x) => functional.layerNorm(x, positive(x), weighted(x)),
  rmsNorm: (x) => functional.rmsNorm(x, positive(x)),
  groupNorm: (x) => functional.groupNorm(x.reshape([1, 1, x.size]), 1).flatten(),
  batchNormInTraining: (x) => functional.batchNormInTraining(x.reshape([x.size, 1])).y.flatten(),
  crossEntropy: (x) => crossEntropy(x.reshape([1, x.size]), tensor([Math.min(1, x.size - 1)], "int32")),
  softCrossEntropy: (x) => softCrossEntropy(x.reshape([1, x.size]), shares(x).reshape([1, x.size])),
  cosineSimilarity: (x) => cosineSimilarity(x, weighted(x)),
};

const cube = (x: Any): Any => x.reshape([1, 2, 6]);
const plane = (x: Any): Any => x.reshape([1, 1, 3, 4]);
const places = tensor([3, 0, 11, 3], "int32") as Any;
const isChosen = tensor([1, 0, 1, 1, 0, 0, 1, 0, 1, 0, 1, 1], "int32").cast("bool") as Any;
const channels = (x: Any): Any => like(x, [0.5, 2]);

/**
 * Everything else that computes with a tensor's elements: functions of an array of twelve, compared on the engines. Layers with
 * parameters are their functions; optimizers have tests of their own.
 */
export const others: Readonly<Record<string, (x: Any) => Any>> = {
  affine: (x) => functional.linear(x.reshape([3, 4]), like(x, weights(8)).reshape([2, 4]), like(x, [1, -1])),
  arange: (x) => x.add(arange(0, 12, 1, x.dtype)),
  batchNorm: (x) => functional.batchNorm(cube(x), channels(x), channels(x), channels(x), channels(x)),
  broadcast: (x) => broadcast(x.reshape([3, 1, 4]), x.reshape([1, 12, 1]).slice(null, [0, 2])),
  cast: (x) => x.cast("bool"),
  clipByGlobalNorm: (x) => clipByGlobalNorm([x], 1).gradients,
  clipByNorm: (x) => clipByNorm([x], 1).gradients,
  clipByValue: (x) => clipByValue([x], 1),
  conv: (x) => functional.conv(cube(x), like(x, weights(8)).reshape([2, 2, 2]) as Any),
  convTranspose: (x) => functional.convTranspose(cube(x), like(x, weights(8)).reshape([2, 2, 2]) as Any),
  cosineDistance: (x) => cosineDistance(x, weighted(x)),
  diagonal: (x) => x.reshape([3, 4]).diagonal(1),
  diagonalMatrix: (x) => diagonalMatrix(x),
  dot: (x) => x.dot(weighted(x)),
  einsum: (x) => einsum("ij,kj->ik", x.reshape([3, 4]), x.reshape([3, 4])),
  embed: (x) => functional.embedding(x.reshape([4, 3]), tensor([3, 0, 3], "int32")),
  expand: (x) => x.expand([2, 12]),
  eye: (x) =>
    eye(3, 4)
      .cast(x.dtype)
      .mul(x.reshape([3, 4])),
  flatten: (x) => x.reshape([3, 4]).flatten(),
  flip: (x) => x.flip(0),
  take: (x) => x.take(places),
  gather: (x) => x.gather(places, 0),
  globalAvgPool: (x) => functional.globalAvgPool(plane(x)),
  globalNorm: (x) => globalNorm([x]),
  glu: (x) => x.glu(),
  geglu: (x) => (x.dtype === "float32" ? geglu(x) : x),
  reglu: (x) => (x.dtype === "float32" ? reglu(x) : x),
  swiglu: (x) => (x.dtype === "float32" ? swiglu(x) : x),
  lerp: (x) => x.lerp(weighted(x), 0.25),
  linspace: (x) => x.mul(linspace(0, 1, 12, x.dtype)),
  mT: (x) => x.reshape([3, 4]).mT(),
  maskedFill: (x) => x.maskedFill(isChosen, 7),
  matmul: (x) => x.reshape([3, 4]).matmul(weighted(x).reshape([4, 3])),
  maxPool: (x) => functional.maxPool(plane(x), { kernel: 2, stride: 1 } as Any),
  negativeLogLikelihood: (x) => negativeLogLikelihood(x.reshape([3, 4]), tensor([0, 3, 1], "int32")),
  ones: (x) => x.mul(ones([12], x.dtype)),
  outer: (x) => outer(x, like(x, [1, -2, 0])),
  pad: (x) => x.pad([[2, 1]], { mode: "reflect" }),
  pick: (x) => x.reshape([3, 4]).pick(tensor([0, 3, 1], "int32")),
  repeat: (x) => x.repeat(2, 0),
  reshape: (x) => x.reshape([2, 6]),
  roll: (x) => x.roll(5, 0),
  scan: (x) => scan((s: Any, y: Any) => [s.add(y), s.mul(y)], { init: x.sum().mul(0), xs: x }).outputs,
  scatter: (x) => x.scatter(places.slice([0, 3]), like(x, [1, 2, 3]), 0, { reduction: "add" }),
  slice: (x) => x.slice([1, 11, 3]),
  split: (x) => x.split([5, 7]),
  squeeze: (x) => x.reshape([1, 12]).squeeze(0),
  stack: (x) => stack([x, x]),
  concat: (x) => concat([x, x]),
  sumTo: (x) => x.reshape([3, 4]).sumTo([4]),
  swapAxes: (x) => x.reshape([3, 4]).swapAxes(0, 1),
  tile: (x) => x.tile([2]),
  trace: (x) => x.reshape([3, 4]).trace(),
  transpose: (x) => x.reshape([3, 4]).transpose(),
  tril: (x) => x.reshape([3, 4]).tril(),
  triu: (x) => x.reshape([3, 4]).triu(),
  unsqueeze: (x) => x.unsqueeze(0),
  where: (x) => where(isChosen, x, weighted(x)),
  detach: (x) => x.detach().mul(x),
};
